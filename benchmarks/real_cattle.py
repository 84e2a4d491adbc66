"""Real animals: does pre-training help, and does the network earn its keep against a random forest?

Pre-trains without labels on people (waist, 50 Hz), white storks (10.54 Hz) and cattle mounts (10 Hz), then fine-tunes
leave-one-cow-out on the four main behaviours of ten grazing cows (10 Hz collars). A study of one trial does it all;
the table is read from its journal.

    python benchmarks/real_cattle.py --data DIR [--seed N]

DIR holds the four folders named in `SOURCES` and `COWS`. They are not part of this project; without them the
benchmark says so and ends with status 0.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from aar_ray import study
from aar_ray.config import Study
from aar_ray.search.journal import read_events

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
    "patchtst.model_size": 64,
    "patchtst.layers": 1,
    "patchtst.heads": 4,
    "patchtst.feedforward_size": 128,
    "pretrain.epochs": 20,
    "finetune.learning_rate": 1e-3,
    "finetune.batch_size": 128,
    "finetune.epochs": 15,
    "finetune.patience": 5,
}
"""A network small enough for two processors; all else is the default."""


def main() -> int:
    """Run the study and print its table."""
    options = _options()
    missing = [one["path"] for one in (*SOURCES, COWS) if not (options.data / one["path"]).exists()]
    if missing:
        print(f"skipped: {options.data} does not hold {', '.join(missing)}")
        return 0
    status = study.run(_study(options), options.results)
    Console(width=110).print(_table(options.results / "real_cattle"))
    return status


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--seed", type=int, default=0)
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
            # one trial: the first of the two
            "search": {"finetune.encoder": {"choice": ["trained", "frozen"]}},
            "budget": {"trials": 1},
            "confirm": {"best": 0},
            "store": str(options.results / ".store"),
        }
    )


def _table(folder: Path) -> Table:
    """Accuracy and macro-F1 of each cow, and their means."""
    events = list(read_events(folder / "journal.jsonl"))
    baselines = {event["name"]: event["folds"] for event in events if event["event"] == "baseline_finished"}
    columns = {
        "random forest": baselines["random forest"],
        "scratch": baselines["scratch, trial 0"],
        "pre-trained": [event for event in events if event["event"] == "fold_finished"],
    }
    results = {name: {fold["fold"]: fold["result"] for fold in folds} for name, folds in columns.items()}
    table = Table("cow", title="Ten cows, leave one out: accuracy / macro-F1 over the behaviours that a cow has")
    for name in columns:
        table.add_column(name, justify="right")
    cows = sorted(results["random forest"])
    for cow in cows:
        table.add_row(cow, *(_both([result[cow]]) for result in results.values()))
    table.add_section()
    table.add_row("mean", *(_both([result[cow] for cow in cows]) for result in results.values()))
    return table


def _both(folds: list[dict[str, Any]]) -> str:
    accuracy, macro_f1 = (sum(fold[name] for fold in folds) / len(folds) for name in ("accuracy", "macro_f1"))
    return f"{accuracy:.3f} / {macro_f1:.3f}"


if __name__ == "__main__":
    sys.exit(main())
