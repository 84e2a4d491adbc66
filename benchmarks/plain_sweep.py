"""The trials of a finished study as a plain loop: Ray Tune's OptunaSearch and ASHA, one Ray Train group a trial.

As Ray's documentation has it: a trial is a function that calls `TorchTrainer.fit()` and then reports to Tune. It asks
for no processor, since a trial that held one while its group waits for another would wait for ever; how many trials run
at once is capped instead: each is at one of its stages, so that as many as there are processors fill them.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
import ray.train.torch
import torch
from plain_stages import PlainStages, finetuned, finished, of
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from aar_ray.config import Settings, Study, dotted, settings_from
from aar_ray.corpus.splits import Fold
from aar_ray.search import cluster  # noqa: F401  (Ray's environment)
from aar_ray.search.agenda import runs_of, winner
from aar_ray.search.engine import SCRATCH
from aar_ray.search.journal import Event, known_trials
from aar_ray.search.placement import processors_of
from aar_ray.search.prepared import Prepared
from aar_ray.search.space import Space, hashable
from aar_ray.training.features import in_context
from aar_ray.training.forest import forest_scores
from aar_ray.training.processors import use_processors

GRACE = 1
"""Folds that ASHA leaves every trial."""

REDUCTION = 4
"""ASHA's default: on a rung it goes on with a trial in the best quarter of those that came there."""

GOAL = {"metric": "macro_f1", "mode": "max"}
"""Of the searcher and of ASHA; `macro_f1` is the mean over the folds so far."""


@dataclass(frozen=True)
class Trial:
    """One trial of the study."""

    searched: dict[str, Any]
    settings: Settings
    seed: int
    confirms: bool
    """Whether it runs settings again on a fresh seed."""


@dataclass(frozen=True)
class Plain:
    """What the trials of the loop need."""

    study: Study
    prepared: Prepared
    trials: tuple[Trial, ...]

    @classmethod
    def of(cls, folder: Path) -> Plain:
        """Of a study that has run in a folder; the corpus is in its store."""
        study, events = finished(folder)
        prepared = PlainStages.of(study).prepared
        if prepared.placement.workers != 1:
            raise ValueError(f"the plain loop pre-trains with one worker a group, got {prepared.placement.workers}")
        return cls(study, prepared, tuple(trials_of(events)))

    @property
    def at_once(self) -> int:
        """Trials that fill the processors: each pre-trains or fine-tunes."""
        placement = self.prepared.placement
        return max(1, processors_of(self.study.resources) // int(max(placement.worker_cpus, placement.fold_cpus)))

    def number(self, config: dict[str, Any]) -> int:
        """Of the trial that Tune's config stands for: a number, or a point of the search space."""
        if "trial" in config:
            return int(config["trial"])
        searched = Space(self.study).settings(config, {})
        return next(n for n, trial in enumerate(self.trials) if trial.searched == searched and not trial.confirms)


def trials_of(events: list[Event]) -> list[Trial]:
    """The trials that the journal of a study began, by number."""
    reference = {name: hashable(value) for name, value in of(events, "study_started")[0]["settings"].items()}
    trials = []
    for event in of(events, "trial_started"):
        searched = {name: hashable(value) for name, value in event["settings"].items()}
        settings = settings_from({**reference, **searched})
        trials.append(Trial(searched, settings, event["seed"], event["repeat_of"] is not None))
    return trials


def asha(folds: int) -> dict[str, Any]:
    """Arguments of ASHA over so many folds."""
    return {"time_attr": "folds", "max_t": folds, "grace_period": GRACE, "reduction_factor": REDUCTION}


def bundles_between_rungs(folds: tuple[Fold, ...]) -> list[tuple[Fold, ...]]:
    """The folds that are fine-tuned together: ASHA hears of the folds on each of its rungs."""
    rungs = [GRACE]
    while rungs[-1] * REDUCTION < len(folds):
        rungs.append(rungs[-1] * REDUCTION)
    return [folds[start:end] for start, end in pairwise([0, *rungs, len(folds)]) if start < end]


def pretrain_in_group(config: dict[str, Any]) -> None:
    """Loop of the worker of a trial's Ray Train group."""
    use_processors(config["threads"])
    stages = PlainStages.reading(config["prepared"])
    encoder = stages.pretrained(config["settings"], config["seed"])
    with tempfile.TemporaryDirectory() as folder:
        torch.save(encoder, Path(folder) / "encoder.pt")
        ray.train.report({"seconds": stages.seconds["pretrain"]}, ray.train.Checkpoint.from_directory(folder))


def encoder_of_own_group(trial: Trial, prepared: Prepared, name: str, storage: str) -> tuple[dict[str, Any], float]:
    """Start a Ray Train group, pre-train in it; returns the encoder and the seconds inside of pre-training."""
    placement = prepared.placement
    result = ray.train.torch.TorchTrainer(
        pretrain_in_group,
        train_loop_config={
            "prepared": prepared,
            "settings": trial.settings,
            "seed": trial.seed,
            "threads": int(placement.worker_cpus),
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=placement.workers, resources_per_worker={"CPU": placement.worker_cpus}
        ),
        run_config=ray.train.RunConfig(name=name, storage_path=storage),
    ).fit()
    assert result.checkpoint is not None
    assert result.metrics is not None
    with result.checkpoint.as_directory() as folder:
        return torch.load(Path(folder) / "encoder.pt", weights_only=True), result.metrics["seconds"]


def run_trial(config: dict[str, Any], *, plain: Plain, storage: str) -> None:
    """A trial of Tune: both stages from the beginning; reports after each bundle of folds."""
    number = plain.number(config)
    trial, prepared = plain.trials[number], plain.prepared
    use_processors(int(prepared.placement.fold_cpus))
    encoder, seconds = encoder_of_own_group(trial, prepared, f"trial-{number}", storage)
    bundles = [prepared.folds] if trial.confirms else bundles_between_rungs(prepared.folds)
    scores: dict[str, float] = {}
    finetune = 0.0
    for folds in bundles:
        began = time.perf_counter()
        found = finetuned(prepared, trial.settings, folds, trial.seed, encoder)
        finetune += time.perf_counter() - began
        scores |= {fold.name: score for fold, score in zip(folds, found, strict=True)}
        tune.report(
            {
                "macro_f1": float(np.mean(list(scores.values()))),
                "folds": len(scores),
                "trial": number,
                "key": prepared.stage.key(trial.settings, trial.seed),
                "scores": dict(scores),
                "seconds_pretrain": seconds,
                "seconds_finetune": finetune,
            }
        )


def run_plain(folder: Path) -> dict[str, Any]:
    """The loop over the trials of the study in `folder`: the search, its confirmation, the baselines."""
    plain = Plain.of(folder)
    storage = str(folder / "plain")
    # as the study's own start of Ray has it
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "16")
    ray.init(
        address="local",
        num_cpus=processors_of(plain.study.resources),
        resources={"trial": plain.at_once},
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    search = [trial for trial in plain.trials if not trial.confirms]
    space = Space(plain.study)
    ran = tuned(
        plain,
        storage,
        "search",
        search_alg=OptunaSearch(
            dict(space.distributions),
            **GOAL,
            points_to_evaluate=[space.params(trial.searched) for trial in search],
            seed=plain.study.seed,
        ),
        scheduler=ASHAScheduler(**GOAL, **asha(len(plain.prepared.folds))),
        num_samples=len(search),
    )
    if again := [number for number, trial in enumerate(plain.trials) if trial.confirms]:
        ran += tuned(plain, storage, "confirmation", param_space={"trial": tune.grid_search(again)})
    baselines = baselines_of(plain, finished(folder)[1])
    ray.shutdown()
    return {"trials": sorted(ran, key=lambda trial: trial["trial"]), "baselines": baselines}


def tuned(
    plain: Plain, storage: str, name: str, param_space: dict[str, Any] | None = None, **how: Any
) -> list[dict[str, Any]]:
    """Run trials by a Tuner; returns the last report of each."""
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(run_trial, plain=plain, storage=storage), tune.PlacementGroupFactory([{"trial": 1}])
        ),
        param_space=param_space,
        tune_config=tune.TuneConfig(max_concurrent_trials=plain.at_once, reuse_actors=True, **how),
        run_config=tune.RunConfig(name=name, storage_path=storage, verbose=0),
    )
    results = tuner.fit()
    if results.errors:
        raise RuntimeError(f"{len(results.errors)} trials failed, the first one: {results.errors[0]}")
    told = ("trial", "key", "folds", "scores", "seconds_pretrain", "seconds_finetune")
    return [{value: (result.metrics or {})[value] for value in told} for result in results]


def baselines_of(plain: Plain, events: list[Event]) -> dict[str, list[float]]:
    """Macro-F1 of the forest, and of scratch with the settings of trial 0 and of the study's winner, by fold."""
    known = known_trials(events)
    best = winner(known)
    assert best is not None
    prepared, cpus = ray.put(plain.prepared), plain.prepared.placement.fold_cpus
    trained = scratch.options(num_cpus=cpus)
    reference, seed = plain.trials[0].settings, plain.study.seed
    # the longest ones first, so that no processor is left waiting
    winners = [
        trained.remote(prepared, plain.trials[best].settings, plain.trials[number].seed)
        for number in runs_of(known, best)
    ]
    first = trained.remote(prepared, reference, seed)
    forest = random_forest.options(num_cpus=cpus).remote(prepared, reference, seed)
    return {
        "random forest": ray.get(forest),
        "scratch, trial 0": ray.get(first),
        "scratch, winner": [score for scores in ray.get(winners) for score in scores],
    }


@ray.remote
def scratch(prepared: Prepared, settings: Settings, seed: int) -> list[float]:
    """Every fold from random weights."""
    use_processors(int(prepared.placement.fold_cpus))
    trained = settings_from({**dotted(settings), **SCRATCH})
    return finetuned(prepared, trained, prepared.folds, seed, None)


@ray.remote
def random_forest(prepared: Prepared, settings: Settings, seed: int) -> list[float]:
    """Every fold by the forest."""
    labelled, context = prepared.labelled, settings.finetune.context
    scores = []
    for fold in prepared.folds:
        sides = (in_context(labelled.of(side), **context) for side in (fold.train, fold.validation))
        scores.append(forest_scores(*sides, seed=seed, jobs=int(prepared.placement.fold_cpus))["macro_f1"])
    return scores
