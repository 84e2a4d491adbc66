"""End to end: a study by its usual command against a plain loop of OptunaSearch, ASHA and one Ray Train group a trial.

    python benchmarks/sweep.py [--study studies/tfc_sweep.yaml] [--set NAME=VALUE ...]

The study runs into a fresh folder, with a store of its own. Its journal says which trials it chose, with which seeds.
The plain loop (`plain_sweep.py`) then runs the same trials: the search in a `Tuner` whose `OptunaSearch` is given them
in their order, with ASHA over the folds; then the study's confirmations on their fresh seeds; then the baselines. Each
trial pre-trains in a Ray Train group of its own. Both sides are timed as whole commands, from Python's start and its
imports to its exit, with Ray's start and end. Keys and scores say that both did the same.

What favours the loop: it finds the corpus made; it is told what to try, and which trials to confirm; it reports nothing
while it pre-trains, and writes no journal, no models, no TensorBoard files and no report.

    With SIMULATED animals it is about time, not about behaviour.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plain_stages import ROOT, command, finished, of
from rich.console import Console
from rich.table import Table

from aar_ray.search.journal import Event, known_trials
from aar_ray.study_file.loader import load_study, save_study

GOAL = 2.0


@dataclass(frozen=True)
class Side:
    """What one side did."""

    seconds: float
    """Of its whole command."""
    trials: int
    encoders: int
    """Distinct ones."""
    pretrains: int
    groups: int
    """Ray Train groups started."""
    left: int
    """Trials that did not get all folds."""
    seconds_pretrain: float
    seconds_finetune: float
    """Inside of the stages of trials, without the baselines."""
    keys: Mapping[int, str]
    """Of each trial's encoder: made from its settings of pre-training and its seed."""
    scores: Mapping[tuple[int, str], float]
    """Macro-F1 by trial and fold."""
    baselines: Mapping[str, Sequence[float]]
    """Macro-F1 by fold."""


def ours(folder: Path) -> Side:
    """Run the study whose file is in `folder` by its usual command."""
    began = time.perf_counter()
    command(folder, "-m", "aar_ray.study", "study.yaml", "--results", "results")
    seconds = time.perf_counter() - began
    study, events = finished(folder)
    return study_side(seconds, Path(study.store), events)


def study_side(seconds: float, store: Path, events: list[Event]) -> Side:
    """What the journal of a study says."""
    served, folds = of(events, "pretrained"), of(events, "fold_finished")
    # trials that waited for one pre-train together all say so: it was made once, as its artifact was
    made = {event["key"]: event["seconds"] for event in served if not event["cached"]}
    states = [trial.state for trial in known_trials(events)]
    return Side(
        seconds=seconds,
        trials=len(states),
        encoders=len({event["key"] for event in served}),
        pretrains=len(list((store / "pretrain").glob("*/made_from.json"))),
        groups=of(events, "study_finished")[0]["groups_started"],
        left=len(states) - states.count("complete"),
        seconds_pretrain=sum(made.values()),
        seconds_finetune=sum(event["seconds"] for event in folds if not event["cached"]),
        keys={event["trial"]: event["key"] for event in served},
        scores={(event["trial"], event["fold"]): event["result"]["macro_f1"] for event in folds},
        baselines={
            event["name"]: [fold["result"]["macro_f1"] for fold in in_order(event["folds"], events)]
            for event in of(events, "baseline_finished")
        },
    )


def in_order(folds: Sequence[Event], events: list[Event]) -> list[Event]:
    """Folds of a baseline, which stand as they ended: seed by seed, and in the study's order."""
    names = [fold["name"] for fold in of(events, "study_started")[0]["folds"]]
    seeds = list(dict.fromkeys(fold["seed"] for fold in folds))
    return sorted(folds, key=lambda fold: (seeds.index(fold["seed"]), names.index(fold["fold"])))


def plain(folder: Path) -> Side:
    """Run the same trials by the plain loop, in a process of its own."""
    began = time.perf_counter()
    printed = command(folder, __file__, "--plain", str(folder))
    seconds = time.perf_counter() - began
    done: dict[str, Any] = json.loads(printed.splitlines()[-1])
    trials = done["trials"]
    folds = max(trial["folds"] for trial in trials)
    return Side(
        seconds=seconds,
        trials=len(trials),
        encoders=len({trial["key"] for trial in trials}),
        pretrains=len(trials),
        groups=len(trials),
        left=sum(trial["folds"] < folds for trial in trials),
        seconds_pretrain=sum(trial["seconds_pretrain"] for trial in trials),
        seconds_finetune=sum(trial["seconds_finetune"] for trial in trials),
        keys={trial["trial"]: trial["key"] for trial in trials},
        scores={(trial["trial"], name): score for trial in trials for name, score in trial["scores"].items()},
        baselines=done["baselines"],
    )


def measure(file: Path, overrides: Sequence[str], folder: Path) -> tuple[Side, Side]:
    """Both sides, the study first.

    Raises:
        FileExistsError: the folder is there.
        AssertionError: they did not run the same trials and baselines.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True)
    study = load_study(file, overrides).model_copy(update={"store": str(folder / "store")})
    save_study(study, folder / "study.yaml")
    study_did = ours(folder)
    loop_did = plain(folder)
    check_same(study_did, loop_did)
    return study_did, loop_did


def check_same(study: Side, loop: Side) -> None:
    """Both did the same trials and baselines, whatever folds they left out.

    Raises:
        AssertionError: they did not.
    """
    assert study.keys == loop.keys, "both sides must pre-train with the same settings and seeds"
    assert study.baselines.keys() == loop.baselines.keys(), "both sides must train the same baselines"


def differ(study: Side, loop: Side) -> float:
    """The most by which a macro-F1 differs that both have: folds that are trained with others round otherwise."""
    both = [(study.scores[fold], loop.scores[fold]) for fold in study.scores.keys() & loop.scores.keys()]
    for name, scores in study.baselines.items():
        both += zip(scores, loop.baselines[name], strict=True)
    return max(abs(one - other) for one, other in both)


def main() -> int:
    """Run the benchmark and print its table; the exit status is 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=ROOT / "studies" / "tfc_sweep.yaml")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="as of aar_ray.study")
    parser.add_argument("--folder", type=Path, help="a new folder that keeps both runs (default: a temporary one)")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        from plain_sweep import run_plain

        print(json.dumps(run_plain(options.plain)))
        return 0
    with tempfile.TemporaryDirectory(prefix="aar") as temporary:
        study, loop = measure(options.study, options.set, options.folder or Path(temporary) / "sweep")
    table = Table("", "study", "plain loop", title=f"{options.study.stem}: the same trials, end to end")
    rows = {
        "whole command, s": "seconds",
        "  inside of pre-training, s": "seconds_pretrain",
        "  inside of fine-tuning, s": "seconds_finetune",
        "trials": "trials",
        "  without all folds": "left",
        "encoders": "encoders",
        "  pre-trains": "pretrains",
        "  Ray Train groups": "groups",
    }
    for said, name in rows.items():
        values = (getattr(study, name), getattr(loop, name))
        table.add_row(said, *(f"{value:.1f}" if isinstance(value, float) else str(value) for value in values))
    table.add_row("folds of trials", str(len(study.scores)), str(len(loop.scores)))
    shared = study.scores.keys() & loop.scores.keys()
    table.add_row(f"scores differ by at most, {len(shared)} folds", f"{differ(study, loop):.1g}", "")
    console = Console(width=100)
    console.print(table)
    times = loop.seconds / study.seconds
    console.print(f"the plain loop takes {times:.2f} times as long (goal {GOAL:g})")
    return int(times < GOAL)


if __name__ == "__main__":
    sys.exit(main())
