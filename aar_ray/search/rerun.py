"""One trial of a study once more, with nothing taken from the store but its data, against what the journal holds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import ray
import safetensors.numpy

from aar_ray.config import Study
from aar_ray.search.journal import Event, known_trials
from aar_ray.search.placement import Placement
from aar_ray.search.precision import settle_precision
from aar_ray.search.prepared import prepare
from aar_ray.search.searcher import trial_config
from aar_ray.search.trial import trial_events
from aar_ray.store import Store
from aar_ray.training.checkpoint import CHECKPOINT, Checkpoint

TIMES = ("seconds", "waiting_seconds")
"""Names of measured values, which no two runs share."""


def rerun_trial(
    study: Study, placement: Placement, events: Sequence[Event], number: int, say: Callable[[str], None]
) -> list[str]:
    """Run a trial again; returns how it differs from its first run, one difference a line: none on a CPU.

    Pre-training and fine-tuning are done anew, in a store of their own that is removed afterwards. Compared are every
    epoch's losses and diagnostics, every score, and, where the study's store still has them, the weights.

    Raises:
        ValueError: there is no such trial, or it is not complete.
    """
    known = known_trials(events)
    if number >= len(known) or known[number].state != "complete":
        states = f"it is {known[number].state}" if number < len(known) else f"the study has {len(known)} trials"
        raise ValueError(f"--trial must be the number of a complete trial, got {number}: {states}")
    store = Store(study.store)
    study = settle_precision(study, placement, say)
    say("building the corpus")
    prepared = prepare(study, placement, store)
    with (
        tempfile.TemporaryDirectory(prefix="aar-") as scratch,
        prepared.service(own := Store(Path(scratch) / "store")) as service,
        ThreadPoolExecutor() as threads,
    ):
        over: list[bool] = []
        served = threads.submit(prepared.groups(service, scratch).serve, lambda: bool(over), lambda: False)
        try:
            config = trial_config(study, events, number)
            say(f"running trial {number} again")
            again = list(trial_events(config, prepared.tasks(service)))
            ray.get(service.drain.remote())
            served.result()
        finally:
            over.append(True)
        return [
            *_event_differences([event for event in events if event.get("trial") == number], again),
            *_artifact_differences(store, own, again),
        ]


def _event_differences(first: Sequence[Event], again: Sequence[Event]) -> Iterator[str]:
    """Of all epochs, folds and scores."""
    before = {_place(event): event for event in first}
    for event in again:
        place = _place(event)
        if place not in before:
            yield f"{place}: only now"
            continue
        if event.get("key") != before[place].get("key"):
            yield f"{place}: made from something else, by code, data or resources of another version"
        for name in ("metrics", "result", "macro_f1"):
            if name in event:
                yield from _differences(f"{place}: {name}", before[place].get(name), event[name])


def _place(event: Event) -> str:
    parts = [event["event"], *(f"{name} {event[name]}" for name in ("epoch", "fold") if name in event)]
    return ", ".join(parts)


def _differences(path: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in before.keys() | now.keys():
            if name not in TIMES:
                yield from _differences(f"{path}.{name}", before.get(name), now.get(name))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _differences(f"{path}[{index}]", one, other)
    elif before != now and not (before != before and now != now):  # NaN is what it was
        yield f"{path} was {before}, is {now}"


def _artifact_differences(store: Store, own: Store, again: Sequence[Event]) -> Iterator[str]:
    """Of weights and probabilities, where the study's store still has them."""
    for event in again:
        stage = {"pretrained": "pretrain", "fold_finished": "finetune"}.get(event["event"])
        if stage is None:
            continue
        before, now = (each.find(stage, event["key"]) for each in (store, own))
        if before is None or now is None:
            continue
        for name, (one, other) in _weights(stage, before, now).items():
            if not np.array_equal(one, other, equal_nan=True):
                yield f"{_place(event)}: {name} differs by at most {np.abs(one - other).max():g}"


def _weights(stage: str, *folders: Path) -> dict[str, list[Any]]:
    """Arrays by name, one of each folder."""
    found: list[dict[str, Any]] = []
    for folder in folders:
        if stage == "pretrain":
            model = Checkpoint.from_bytes((folder / CHECKPOINT).read_bytes()).model
            found.append({name: value.numpy() for name, value in model.items()})
        else:
            arrays = safetensors.numpy.load_file(folder / "model.safetensors")
            found.append({**arrays, "probabilities": np.load(folder / "probabilities.npy")})
    return {name: [arrays[name] for arrays in found] for name in found[0]}
