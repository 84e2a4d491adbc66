"""What the study engine costs: a study against a plain Python loop that does the same stages by the same functions.

    python benchmarks/overhead.py [--trials 20 100] [--rounds 3]

A study of a tiny network runs by its usual command. Its journal says which encoders were pre-trained, and which folds
of which trials were fine-tuned; a loop in one process, without Ray, then does the same in the same order, with the same
baselines. Both are timed as whole commands, from Python's start and its imports to its exit; the study also starts and
ends its Ray, makes the corpus, which the loop finds made, and writes TensorBoard's files and the report. It has two
processors where the loop uses one, so at two sizes of study the times of the stages are told as well: the difference
between the sizes is what a trial costs, the rest is what a study does. No machine is equally fast all the time, so all
is done several times, one after another, and medians are printed.

    SIMULATED animals: it is about time, not about behaviour.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from plain_stages import PlainStages, command, finished, of, tiny_study
from rich.console import Console
from rich.table import Table

from aar_ray.config import dotted, settings_from
from aar_ray.search.agenda import winner
from aar_ray.search.engine import SCRATCH
from aar_ray.search.journal import Event, known_trials
from aar_ray.search.searcher import trial_config
from aar_ray.study_file.loader import save_study
from aar_ray.training.forest import forest_scores
from aar_ray.training.processors import use_processors

MOST_FIXED, MOST_A_TRIAL, PRETRAINS_A_GROUP = 15.0, 0.3, 8


@dataclass
class Measured:
    """A study and the loop that did the same."""

    trials: int
    study: float
    """Seconds of its command."""
    loop: float
    over: float
    """Seconds of the study over those of the loop that ran after it."""
    encoders: int
    folds: int
    groups: int
    phases: dict[str, float]
    """Seconds of the study's command, one after another."""
    differs: float
    """The most by which a fold's macro-F1 differs: other bundles round otherwise."""

    @classmethod
    def middle(cls, rounds: Sequence[Measured]) -> Measured:
        """The median of each number."""
        names = [name for name in (one.name for one in fields(cls)) if name != "phases"]
        phases = {name: median(one.phases[name] for one in rounds) for name in rounds[0].phases}
        return cls(**{name: median(getattr(one, name) for one in rounds) for name in names}, phases=phases)


def measure(folder: Path, trials: int) -> Measured:
    """Run a study and then its loop."""
    folder.mkdir(parents=True, exist_ok=True)
    save_study(tiny_study(folder, budget={"trials": trials}), folder / "study.yaml")
    began = time.time()
    command(folder, "-m", "aar_ray.study", "study.yaml", "--results", "results")
    ended = time.time()
    _, events = finished(folder)
    loop_began = time.time()
    looped: dict[str, Any] = json.loads(command(folder, __file__, "--loop", str(folder)).splitlines()[-1])
    loop_ended = time.time()
    scores = {f"{event['trial']} {event['fold']}": event["result"]["macro_f1"] for event in of(events, "fold_finished")}
    assert looped["macro_f1"].keys() == scores.keys(), "the loop must do what the study did"
    return Measured(
        trials=len(of(events, "trial_started")),
        study=ended - began,
        loop=loop_ended - loop_began,
        over=(ended - began) - (loop_ended - loop_began),
        encoders=looped["encoders"],
        folds=len(scores),
        groups=of(events, "study_finished")[0]["groups_started"],
        phases=phases(events, began, ended),
        differs=max(abs(looped["macro_f1"][name] - score) for name, score in scores.items()),
    )


def phases(events: list[Event], began: float, ended: float) -> dict[str, float]:
    """Seconds of a study's command: each phase from the end of the one before it."""

    def at(kind: str, which: int) -> float:
        return datetime.fromisoformat(of(events, kind)[which]["at"]).timestamp()

    moments = {
        "imports, Ray, corpus": at("study_started", -1),
        "until the first trial": at("trial_started", 0),
        "worker group, first epoch": at("pretrain_epoch", 0),
        "trials": at("trial_finished", -1),
        "baselines": at("study_finished", 0),
        "report, end of Ray": ended,
    }
    starts = [began, *moments.values()]
    return {name: moment - start for (name, moment), start in zip(moments.items(), starts, strict=False)}


def loop(folder: Path) -> dict[str, Any]:
    """The stages of a finished study, one after another in this process."""
    use_processors(1)
    study, events = finished(folder)
    stages = PlainStages.of(study)
    every_fold = stages.prepared.folds
    encoders: dict[str, Any] = {}
    done: dict[int, int] = {}
    scores: dict[str, float] = {}
    for event in events:
        if event["event"] not in ("trial_started", "trial_promoted"):
            continue
        number = event["trial"]
        config = trial_config(study, events, number)
        settings, seed = settings_from(config["settings"]), config["seed"]
        key = stages.prepared.stage.key(settings, seed)
        if key not in encoders:
            encoders[key] = stages.pretrained(settings, seed)
        until = len(every_fold) if event.get("folds") is None else event["folds"]
        folds = every_fold[done.get(number, 0) : until]
        for fold, score in zip(folds, stages.finetuned(settings, folds, seed, encoders[key]), strict=True):
            scores[f"{number} {fold.name}"] = score
        done[number] = until
    labelled = stages.prepared.labelled
    for fold in every_fold:
        forest_scores(labelled.of(fold.train), labelled.of(fold.validation), seed=study.seed, jobs=1)
    reference, known = dotted(study.reference()), known_trials(events)
    best = winner(known)
    assert best is not None
    for settings_of in (reference, {**reference, **known[best].settings}):
        stages.finetuned(settings_from({**settings_of, **SCRATCH}), every_fold, study.seed, None)
    return {"encoders": len(encoders), "macro_f1": scores}


def main() -> int:
    """Run the benchmark and print its table; the exit status is 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs=2, default=[20, 100], metavar=("FEW", "MANY"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the studies here (default: a temporary folder)")
    parser.add_argument("--loop", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        print(json.dumps(loop(options.loop)))
        return 0
    with tempfile.TemporaryDirectory(prefix="aar") as temporary:
        folder = options.folder or Path(temporary)
        rounds = [
            [measure(folder / str(number) / str(trials), trials) for trials in options.trials]
            for number in range(options.rounds)
        ]
    few, many = both = [Measured.middle(of_size) for of_size in zip(*rounds, strict=True)]
    table = Table("", *(f"{one.trials} trials" for one in both), title="The engine's cost (SIMULATED), seconds")
    table.add_row("study, the whole command", *(f"{one.study:.1f}" for one in both))
    for name in few.phases:
        table.add_row(f"  {name}", *(f"{one.phases[name]:.1f}" for one in both))
    table.add_row("plain loop, the whole command", *(f"{one.loop:.1f}" for one in both))
    table.add_row("study over loop", *(f"{one.over:.1f}" for one in both))
    for number, of_both in enumerate(rounds, start=1):
        table.add_row(f"  in round {number}", *(f"{one.over:.1f}" for one in of_both))
    for name in ("encoders", "folds", "groups"):
        table.add_row(name, *(f"{getattr(one, name):g}" for one in both))
    table.add_row("scores differ by at most", *(f"{one.differs:.1g}" for one in both))
    a_trial = (many.over - few.over) / (many.trials - few.trials)
    fixed = few.over - a_trial * few.trials
    console = Console(width=100)
    console.print(table)
    console.print(f"{fixed:.1f} s a study (goal {MOST_FIXED:g}), {a_trial:.2f} s a trial (goal {MOST_A_TRIAL:g})")
    console.print(f"{many.encoders / many.groups:g} pre-trains a worker group (goal {PRETRAINS_A_GROUP})")
    return int(fixed > MOST_FIXED or a_trial > MOST_A_TRIAL or many.encoders < PRETRAINS_A_GROUP * many.groups)


if __name__ == "__main__":
    sys.exit(main())
