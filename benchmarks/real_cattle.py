"""Real animals: does pre-training help, and does the network earn its keep against a random forest?

Pre-trains without labels on people (waist, 50 Hz), white storks (10.54 Hz) and cattle mounts (10 Hz), then fine-tunes
leave-one-cow-out on the four main behaviours of ten grazing cows (10 Hz collars), from pre-trained and from random
weights, with all labels, a tenth and a hundredth of them. A study of arms does it all; the tables are read from its
journal.

    python benchmarks/real_cattle.py --data DIR [--seed N] [--seeds N]

DIR holds the four folders named in `SOURCES` and `COWS`. They are not part of this project; without them the
benchmark says so and ends with status 0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from aar_ray import commands
from aar_ray.config import Study
from aar_ray.search.evidence import Scored, interval, seed_spread
from aar_ray.search.journal import Event, read_events
from aar_ray.search.ranking import baseline_scores, gain, scored_settings, trial_records, validation_animals

COLLAR = {"x": "ax", "y": "ay", "z": "az", "subject": "cow", "segment": "segment", "time": "time"}

SOURCES: list[dict[str, Any]] = [
    {
        "name": "human_waist",
        "reader": "parquet",
        "path": "human_waist_50hz",
        "species": "human",
        "rate_hz": 50.0,
        "unit": "g",
        "columns": {"subject": "subject", "segment": "experiment"},
    },
    {
        "name": "white_stork",
        "reader": "csv",
        "path": "whitestork_10hz",
        "species": "stork",
        "rate_hz": 10.54,
        "unit": "m/s^2",
        "subject": "storks",
        "columns": {"segment": "bout"},
    },
    {
        "name": "cattle_mounts",
        "reader": "csv",
        "path": "cattle_mounts_10hz",
        "species": "cattle",
        "rate_hz": 10.0,
        "unit": "m/s^2",
        "columns": COLLAR,
    },
]

COWS: dict[str, Any] = {
    "name": "grazing_cows",
    "reader": "csv",
    "path": "cattle_grazing_10hz",
    "species": "cattle",
    "rate_hz": 10.0,
    "unit": "m/s^2",
    "columns": {**COLLAR, "label": "label"},
    "behaviours": {"Grazing": "grazing", "Resting": "resting", "Standing": "standing", "Walking": "walking"},
}

SETTINGS: dict[str, Any] = {
    # a network small enough for two processors
    "patchtst.model_size": 64,
    "patchtst.layers": 1,
    "patchtst.heads": 4,
    "patchtst.feedforward_size": 128,
    "patchtst.patch_stride": 8,
    # a collar may be put on either way round: every augmented view is turned about the vertical, in g; and what tells a
    # cow that rests from one that stands is smaller than the default jitter
    "augment.rotate_first": True,
    "augment.rotation_degrees": 180.0,
    "augment.rotation_axis": "z",
    "augment.jitter_deviation": 0.02,
    "pretrain.learning_rate": 1e-3,
    "pretrain.epochs": 6,
    "pretrain.probe_every": 3,
    "finetune.rotation_degrees": 180.0,
    "finetune.rotation_axis": "z",
    "finetune.learning_rate": 1e-3,
    # the L2 of 0.01 inside Adam holds a training of few epochs near naming one behaviour
    "finetune.optimiser": "adamw",
}
"""Of both arms; all else is the default."""

SHARES: dict[str, dict[str, Any]] = {
    "100 %": {"finetune.batch_size": 64, "finetune.epochs": 3},
    "10 %": {"finetune.label_share": 0.1, "finetune.batch_size": 16, "finetune.epochs": 5},
    "1 %": {"finetune.label_share": 0.01, "finetune.batch_size": 4, "finetune.epochs": 6},
}
"""Labels used, of each cow and behaviour; smaller batches, so that few labels still make some hundred steps."""

WEIGHTS = {"scratch": "random", "pre-trained": "pretrained"}
FOREST = "random forest"


def main() -> int:
    """Run the study and print its tables."""
    options = _options()
    missing = [one["path"] for one in (*SOURCES, COWS) if not (options.data / one["path"]).exists()]
    if missing:
        print(f"skipped: {options.data} does not hold {', '.join(missing)}")
        return 0
    status = commands.run(_study(options), options.results)
    events = list(read_events(options.results / "real_cattle" / "journal.jsonl"))
    console = Console(width=120)
    console.print(_by_cow(events), _differences(events))
    return status


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


def _study(options: argparse.Namespace) -> Study:
    unlabelled, cows = [{**one, "path": str(options.data / one["path"])} for one in SOURCES], dict(COWS)
    cows["path"] = str(options.data / cows["path"])
    return Study.model_validate(
        {
            "name": "real_cattle",
            "seed": options.seed,
            "data": {"unlabelled": unlabelled, "labelled": cows},
            "protocol": {"split": "leave_one_subject_out"},
            "fixed": SETTINGS,
            "arms": {
                f"{weights}, {share}": {"finetune.initial_weights": kind, **labels}
                for share, labels in SHARES.items()
                for weights, kind in WEIGHTS.items()
            },
            "seeds": options.seeds,
            "store": str(options.results / ".store"),
        }
    )


def _settings(events: Sequence[Event]) -> dict[str, Scored]:
    """Scores of each arm and of the forest, cow by cow."""
    trials = trial_records(events)
    scored = {str(trials[one.number].arm): one for one in scored_settings(trials)}
    (forest,) = [event for event in events if event["event"] == "baseline_finished" and event["name"] == FOREST]
    cows = np.array([[baseline_scores(forest)[cow] for cow in validation_animals(trials.values())]])
    return {FOREST: Scored(-1, cows, np.array([False])), **scored}


def _by_cow(events: Sequence[Event]) -> Table:
    """Macro-F1 of each cow, mean over the seeds, and the means over cows."""
    settings = _settings(events)
    table = Table("cow", title="Ten cows, leave one out: macro-F1 over the behaviours that a cow has, mean over seeds")
    for name in settings:
        table.add_column(name, justify="right")
    columns = [one.by_animal() for one in settings.values()]
    for place, cow in enumerate(validation_animals(trial_records(events).values())):
        table.add_row(cow, *(f"{column[place]:.3f}" for column in columns))
    table.add_section()
    table.add_row("mean", *(f"{one.mean():.3f}" for one in settings.values()))
    return table


def _differences(events: Sequence[Event]) -> Table:
    """In points of macro-F1: pre-trained minus scratch, seed by seed, and each of them minus the forest."""
    trials, settings = trial_records(events), _settings(events)
    forest = settings.pop(FOREST)
    pairs = [(f"pre-trained, {share}", f"scratch, {share}") for share in SHARES]
    gains = {f"{ours} minus {theirs}": gain(trials, settings[ours], settings[theirs]) for ours, theirs in pairs}
    for name, one in settings.items():
        gains[f"{name} minus {FOREST}"] = Scored(one.number, one.scores - forest.scores, one.sought)
    table = Table("difference", "points", "95 % over cows and seeds", title="Paired over the cows and seeds")
    for kind in ("scratch", FOREST):  # differences of one kind vary alike from seed to seed
        alike = {name: one for name, one in gains.items() if f"minus {kind}" in name}
        seeds = seed_spread(alike.values())
        for name, one in alike.items():
            mean, low, high = (100 * value for value in interval(one, seeds))
            table.add_row(name, f"{mean:+.1f}", f"{low:+.1f} to {high:+.1f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
