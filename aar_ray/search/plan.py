"""What a study would do and cost, before it does it: trials, encoders, time and disk, from a short probe of each shape.

Trials are proposed as the study would propose them, each as if it had come to the same score; which settings a sampler
takes later is thereby a guess, how many encoders and folds there are is not. The time is that of the probes times the
steps that the trials take at most: fine-tuning may end early.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch

from aar_ray.config import PRETRAIN_SECTIONS, Settings, Study, dotted, settings_from
from aar_ray.corpus.labelled import LabelledWindows, normalised_for
from aar_ray.corpus.splits import Fold
from aar_ray.search.journal import Event
from aar_ray.search.placement import DoesNotFit, Placement
from aar_ray.search.prepared import Prepared
from aar_ray.search.searcher import JournalSearcher
from aar_ray.seeds import torch_stream
from aar_ray.store import Store
from aar_ray.training.finetune import finetune
from aar_ray.training.pretrain import pretrain
from aar_ray.training.processors import use_processors

STEPS = 4
"""Optimiser steps that are timed."""

PROBES = 3
"""Shapes that are timed, of pre-training and of fine-tuning each; those between are interpolated by their tokens."""

TUNED_WINDOWS = 256
"""Labelled windows that a probe of fine-tuning takes."""

START_SECONDS = 20.0
"""Until the first worker group trains."""

MOST_TRIALS = 1000
"""Trials of a plan for a study that only time ends."""


@dataclass(frozen=True)
class Cost:
    """Of a probe, by what it grows with."""

    seconds: float
    """A pre-training step, or an epoch of fine-tuning over one window."""
    bytes: int
    """Of the artifact."""


def make_plan(prepared: Prepared, events: Sequence[Event], store: Store, say: Callable[[str], None]) -> dict[str, Any]:
    """The fields of a `planned` event.

    Returns:
        trials (to come), encoders (distinct), encoders_cached (in the store), folds (fine-tunings), groups, workers,
        fold_tasks (at once), shapes (of pre-training), seconds, seconds_pretrain and seconds_finetune (of one worker
        group and of one task), disk_bytes (to come), disk_free_bytes.

    Raises:
        DoesNotFit: the artifacts need more disk than there is, or than the study allows.
    """
    say("proposing the trials")
    trials = proposed(prepared.study, events, len(prepared.folds))
    encoders: dict[str, Settings] = {}
    for trial in trials:
        settings = settings_from(trial["settings"])
        if settings.finetune.initial_weights != "random":
            encoders[prepared.stage.key(settings, trial["seed"])] = settings
    cached = {key for key in encoders if store.find("pretrain", key) is not None}
    made = [settings for key, settings in encoders.items() if key not in cached]
    say("timing a few steps of each shape")
    pretraining = _costs(made, prepared, _time_pretrain, PRETRAIN_SECTIONS, prepared.placement.worker_cpus)
    tuned = [settings_from(trial["settings"]) for trial in trials]
    finetuning = _costs(tuned, prepared, _time_finetune, ("patchtst", "classifier"), prepared.placement.fold_cpus)
    steps = [math.ceil(prepared.corpus.windows / one.pretrain.batch_size) * one.pretrain.epochs for one in made]
    pretrain_seconds = sum(number * cost.seconds for number, cost in zip(steps, pretraining, strict=True))
    windows = sum(len(prepared.labelled.of(fold.train)) for fold in prepared.folds)
    finetune_seconds = sum(
        one.finetune.epochs * windows * cost.seconds for one, cost in zip(tuned, finetuning, strict=True)
    )
    disk = sum(cost.bytes for cost in pretraining) + len(prepared.folds) * sum(cost.bytes for cost in finetuning)
    plan = {
        "trials": len(trials),
        "encoders": len(encoders),
        "encoders_cached": len(cached),
        "folds": len(trials) * len(prepared.folds),
        "groups": prepared.placement.groups,
        "workers": prepared.placement.workers,
        "fold_tasks": _fold_tasks(prepared.placement),
        "shapes": len({_shape(one, PRETRAIN_SECTIONS) for one in made}),
        "seconds": _seconds(prepared.placement, pretrain_seconds, finetune_seconds),
        "seconds_pretrain": pretrain_seconds,
        "seconds_finetune": finetune_seconds,
        "disk_bytes": disk,
        "disk_free_bytes": shutil.disk_usage(store.root).free,
    }
    _check_disk(prepared.study, plan)
    return plan


def proposed(study: Study, events: Sequence[Event], folds: int) -> list[dict[str, Any]]:
    """The trials to come, as the study's searcher hands them out when every fold comes to the same score.

    Where trials pause and the better ones go on, one that was not promoted stands with all its folds: an upper bound.
    """
    imagined = list(events)

    def emit(event: str, **fields: Any) -> Event:
        imagined.append({"event": event, **fields})
        return imagined[-1]

    if not any(event["event"] == "study_started" for event in events):
        emit("study_started", folds=[{"name": str(number)} for number in range(folds)])
    searcher = JournalSearcher(study, imagined, emit, None)
    trials: dict[int, dict[str, Any]] = {}
    while len(trials) < MOST_TRIALS:
        config = searcher.suggest("planned")
        if not isinstance(config, dict):
            break
        searcher.on_trial_complete("planned")  # what it reports follows at once
        number, rung = config["trial"], config["rungs"][-1]
        trials[number] = config
        if rung == 0:
            emit("trial_paused", trial=number, folds=0, probe=0.5)
            continue
        emit("pretrained", trial=number, key=str(number), cached=False, seconds=1.0)
        for fold in range(folds if rung is None else rung):
            made = {"fold": str(fold), "validation": [str(fold)], "key": f"{number}-{fold}", "cached": False}
            emit("fold_finished", trial=number, seconds=1.0, result={"macro_f1": 0.5}, **made)
        if rung is None or rung >= folds:
            emit("trial_finished", trial=number, state="complete", macro_f1=0.5, reason=None)
        else:
            emit("trial_paused", trial=number, folds=rung)
    return [trials[number] for number in sorted(trials)]


def _costs(
    wanted: Sequence[Settings], prepared: Prepared, measure: Callable[..., Cost], sections: Sequence[str], cpus: float
) -> list[Cost]:
    """Of each of the settings: measured at some shapes, and between them in proportion to the tokens."""
    length = prepared.study.data.window_samples
    shapes = {_shape(one, sections): one for one in wanted}
    ordered = sorted(shapes.values(), key=lambda one: _tokens(one, length))
    chosen = [ordered[round(at)] for at in np.linspace(0, len(ordered) - 1, min(PROBES, len(ordered)))]
    task = _probe.options(num_cpus=cpus)
    labelled = ray.put(prepared.labelled)
    measured = [
        ray.get(task.remote(measure, one, labelled, prepared.folds[0], prepared.study, int(cpus))) for one in chosen
    ]
    tokens = [_tokens(one, length) for one in chosen]
    return [
        Cost(
            float(np.interp(_tokens(one, length), tokens, [cost.seconds for cost in measured])),
            int(np.interp(_tokens(one, length), tokens, [cost.bytes for cost in measured])),
        )
        for one in wanted
    ]


def _shape(settings: Settings, sections: Sequence[str]) -> tuple[Any, ...]:
    """What decides how long a step takes: numbers that are no sizes, such as λ, do not."""
    precisions = ("pretrain.precision", "finetune.precision")
    sizes = ("patchtst.", "classifier.", "tfc.pro", "tfc.pooling", "pretrain.batch_size", *precisions)
    return tuple(
        (name, value)
        for name, value in dotted(settings).items()
        if name.split(".")[0] in sections and name.startswith(sizes) and not name.endswith("dropout")
    )


def _tokens(settings: Settings, length: int) -> int:
    """Of a batch and an axis: what the encoder's time grows with."""
    patches = (length - settings.patchtst.patch_length) // settings.patchtst.patch_stride + 2
    return patches * settings.patchtst.model_size * settings.patchtst.layers


@ray.remote(max_retries=0)
def _probe(
    measure: Callable[..., Cost], settings: Settings, labelled: LabelledWindows, fold: Fold, study: Study, threads: int
) -> Cost:
    return measure(settings, labelled, fold, study, threads)


def _time_pretrain(settings: Settings, labelled: LabelledWindows, fold: Fold, study: Study, threads: int) -> Cost:
    use_processors(max(1, threads))
    batch = settings.pretrain.batch_size
    shape = (STEPS * batch, labelled.windows.shape[1], study.data.window_samples)
    # what the windows hold does not change how long a step takes
    windows = torch.randn(shape, generator=torch_stream(study.seed, "plan"))
    short = settings_from({**dotted(settings), "pretrain.epochs": 2, "pretrain.probe_every": 0})
    done = pretrain(windows, short, seed=study.seed)
    # the first epoch also pays for what happens once
    return Cost(done.history[-1]["seconds"] / STEPS, len(done.to_bytes()))


def _time_finetune(settings: Settings, labelled: LabelledWindows, fold: Fold, study: Study, threads: int) -> Cost:
    use_processors(max(1, threads))
    train, validation = normalised_for(labelled, fold, settings.normalise.scope)
    share = min(1.0, TUNED_WINDOWS / len(train))
    train, validation = (
        part.at(np.linspace(0, len(part) - 1, max(1, round(share * len(part)))).astype(np.int64))
        for part in (train, validation)
    )
    trained = {**dotted(settings), "finetune.encoder": "trained", "finetune.patience": 100}
    seconds = {}
    for epochs in (1, 3):
        began = time.perf_counter()
        done = finetune(train, validation, settings_from({**trained, "finetune.epochs": epochs}), seed=study.seed)
        seconds[epochs] = time.perf_counter() - began
    size = sum(value.numel() * value.element_size() for value in done.model.values())
    probabilities = len(labelled.of(fold.validation)) * len(labelled.classes) * 4
    return Cost(max(0.0, seconds[3] - seconds[1]) / 2 / len(train), size + probabilities)


def _fold_tasks(placement: Placement) -> int:
    """Fine-tuning tasks that run at once."""
    there = ray.cluster_resources()
    tasks = [there.get("CPU", 0) // placement.fold_cpus if placement.fold_cpus else math.inf]
    if placement.fold_gpus:
        tasks.append(there.get("GPU", 0) // placement.fold_gpus)
    return max(1, int(min(tasks)))


def _seconds(placement: Placement, pretrain: float, finetune: float) -> float:
    """Both stages run side by side; the longer one decides, or the processors that they share."""
    processors = _processors()
    shared = (pretrain * placement.workers * placement.worker_cpus + finetune * placement.fold_cpus) / processors
    alone = max(pretrain / placement.groups, finetune / _fold_tasks(placement))
    return START_SECONDS + max(alone, shared if not placement.worker_gpus else 0.0)


def _processors() -> float:
    """Of the cluster; a study's own Ray on one machine counts those of the groups twice."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    there = sum(node.get("CPU", 0) for node in alive)
    return min(there, len(os.sched_getaffinity(0))) if len(alive) == 1 else there


def _check_disk(study: Study, plan: dict[str, Any]) -> None:
    needed, free = plan["disk_bytes"], plan["disk_free_bytes"]
    if needed > free:
        raise DoesNotFit(f"the artifacts need {needed / 1e9:.2f} GB, and {study.store} has {free / 1e9:.2f} GB free")
    allowed = study.resources.store_gigabytes
    if allowed is not None and needed > allowed * 1e9:
        raise DoesNotFit(
            f"the artifacts need {needed / 1e9:.2f} GB, more than resources.store_gigabytes, which is {allowed:g}"
        )


def plan_lines(plan: dict[str, Any], name: str) -> Iterable[str]:
    """The plan in words."""
    to_make = plan["encoders"] - plan["encoders_cached"]
    rows = {
        "trials to come": f"{plan['trials']}",
        "encoders": f"{plan['encoders']} distinct, {plan['encoders_cached']} in the store, {to_make} to make",
        "fine-tunings": f"{plan['folds']} folds",
        "at once": f"{plan['groups']} groups of {plan['workers']} workers, {plan['fold_tasks']} fine-tuning tasks",
        "time at most": f"{plan['seconds'] / 60:.1f} min: {plan['seconds_pretrain']:.0f} s of a worker group, "
        f"{plan['seconds_finetune']:.0f} s of a fine-tuning task",
        "disk": f"{plan['disk_bytes'] / 1e9:.3f} GB, {plan['disk_free_bytes'] / 1e9:.1f} GB are free",
    }
    yield f"plan of {name}"
    yield from (f"  {what:<16}{said}" for what, said in rows.items())
