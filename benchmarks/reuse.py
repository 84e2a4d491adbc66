"""What paying for each stage once saves: a study against a plain Ray Tune `Tuner` with `OptunaSearch`.

    python benchmarks/reuse.py [--sampler tpe stage_aware] [--trials 16]

A study of a tiny network runs by its usual command. Then a `Tuner` whose `OptunaSearch` is given the same settings, one
trial after another (`points_to_evaluate`), runs on as many processors, and as many trials at once, with a trainable
that calls the same functions for the same stages: pre-train, then fine-tune on every fold. Counted are seconds inside
these stages, on both sides. With tpe every trial of the study has all folds too; with stage_aware, the default, a trial
that promises less is left after some of them, which is said. Pre-training is some ten times a fine-tuning on all folds,
as in a small study of the paper's kind; it is far more over a large corpus.

    SIMULATED animals: it is about time, not about behaviour.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_stages import PlainStages, command, finished, of, tiny_study
from rich.console import Console
from rich.table import Table

from aar_ray.config import dotted, settings_from
from aar_ray.search import cluster  # noqa: F401  (Ray's environment)
from aar_ray.search.space import Space
from aar_ray.study_file.loader import save_study

GOAL = 3.0

SHAPE = {"pretrain.epochs": 90, "finetune.epochs": 3}


@dataclass
class Side:
    """What one side spent on a list of trials."""

    pretrains: int
    encoders: int
    """Distinct ones."""
    folds: int
    seconds_pretrain: float
    seconds_finetune: float
    scores: dict[int, float]
    """Macro-F1 of the trials that had all folds."""

    @property
    def seconds(self) -> float:
        return self.seconds_pretrain + self.seconds_finetune


def ours(folder: Path, sampler: str, trials: int) -> Side:
    """Run the study."""
    study = tiny_study(
        folder, sampler={"name": sampler, "trials_per_encoder": 4}, budget={"trials": trials}, fixed=SHAPE
    )
    save_study(study, folder / "study.yaml")
    command(folder, "-m", "aar_ray.study", "study.yaml", "--results", "results")
    _, events = finished(folder)
    made = [event for event in of(events, "pretrained") if not event["cached"]]
    # trials that waited for one pre-train together both say so: it was made once, as its artifact was
    seconds = {event["key"]: event["seconds"] for event in made}
    artifacts = list((folder / "store" / "pretrain").glob("*/made_from.json"))
    folds = [event for event in of(events, "fold_finished") if not event["cached"]]
    return Side(
        pretrains=len(artifacts),
        encoders=len({event["key"] for event in of(events, "pretrained")}),
        folds=len(folds),
        seconds_pretrain=sum(seconds.values()),
        seconds_finetune=sum(event["seconds"] for event in folds),
        scores={e["trial"]: e["macro_f1"] for e in of(events, "trial_finished") if e["state"] == "complete"},
    )


def plain(folder: Path) -> Side:
    """Run the same settings by a plain Tuner, in a process of its own."""
    return Side(**json.loads(command(folder, __file__, "--plain", str(folder)).splitlines()[-1]))


def trainable(config: dict[str, Any], *, stages: PlainStages, reference: dict[str, Any], seed: int) -> None:
    """A trial of the plain Tuner: both stages, from the beginning."""
    from ray import tune

    torch.set_num_threads(1)
    stages.seconds.update(pretrain=0.0, finetune=0.0)
    settings = settings_from({**reference, **config})
    encoder = stages.pretrained(settings, seed)
    scores = stages.finetuned(settings, stages.prepared.folds, seed, encoder)
    key = stages.prepared.stage.key(settings, seed)
    tune.report({"macro_f1": float(np.mean(scores)), "folds": len(scores), "key": key, **stages.seconds})


def run_plain(folder: Path) -> dict[str, Any]:
    """The Tuner over the settings of a finished study."""
    import ray
    from ray import tune
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    study, events = finished(folder)
    trials = [event["settings"] for event in of(events, "trial_started")]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    search = OptunaSearch(
        dict(Space(study).distributions), metric="macro_f1", mode="max", points_to_evaluate=trials, seed=study.seed
    )
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(
                trainable, stages=PlainStages.of(study), reference=dotted(study.reference()), seed=study.seed
            ),
            {"cpu": 1},
        ),
        tune_config=tune.TuneConfig(
            search_alg=ConcurrencyLimiter(search, max_concurrent=2), num_samples=len(trials), reuse_actors=True
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "plain"), verbose=0),
    )
    found = list(tuner.fit())
    results = [result.metrics or {} for result in found]
    ray.shutdown()
    ran = [{name: (result.config or {})[name] for name in trials[0]} for result in found]
    assert sorted(map(repr, ran)) == sorted(map(repr, trials)), "both sides must run the same trials"
    return {
        "pretrains": len(results),
        "encoders": len({result["key"] for result in results}),
        "folds": sum(result["folds"] for result in results),
        "seconds_pretrain": sum(result["pretrain"] for result in results),
        "seconds_finetune": sum(result["finetune"] for result in results),
        "scores": {trials.index(one): result["macro_f1"] for one, result in zip(ran, results, strict=True)},
    }


def main() -> int:
    """Run the benchmark and print its table; the exit status is 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sampler", nargs="+", default=["tpe", "stage_aware"])
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--folder", type=Path, help="keep the studies here (default: a temporary folder)")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        print(json.dumps(run_plain(options.plain)))
        return 0
    table = Table(
        "sampler", "side", "trials", "pre-trains", "again", "folds", "s pre-train", "s fine-tune", "s", "scores differ",
        title="Seconds inside of stages at the same trials (SIMULATED)",
    )  # fmt: skip
    missed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="aar") as temporary:
        for sampler in options.sampler:
            folder = (options.folder or Path(temporary)) / sampler
            folder.mkdir(parents=True, exist_ok=True)
            study, tuner = ours(folder, sampler, options.trials), plain(folder)
            theirs = {int(number): score for number, score in tuner.scores.items()}
            differ = max(abs(score - theirs[number]) for number, score in study.scores.items())
            for name, side, said in (("study", study, f"{differ:.1g}"), ("Tuner", tuner, "")):
                again = side.pretrains - side.encoders
                table.add_row(
                    sampler, name, str(options.trials), str(side.pretrains), str(again), str(side.folds),
                    f"{side.seconds_pretrain:.1f}", f"{side.seconds_finetune:.1f}", f"{side.seconds:.1f}", said,
                )  # fmt: skip
            times = tuner.seconds / study.seconds
            table.add_row("", f"{times:.2f} times fewer (goal {GOAL:g})", end_section=True)
            missed["again"] += study.pretrains - study.encoders
            missed["seconds"] += times < GOAL
    Console(width=120).print(table)
    return int(any(missed.values()))


if __name__ == "__main__":
    sys.exit(main())
