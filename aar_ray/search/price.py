"""What a new encoder costs, in folds of fine-tuning: counted in windows, and weighed by what trial 0 took for each.

A search that weighs costs must not decide otherwise because a machine was busy for a minute. So most of a price is
arithmetic: how many windows pass through an encoder in a pre-train, and in a fold. Measured is only how much longer a
window takes in the one than in the other, a number near 1, and that is rounded to a power of `COARSE`: times that are
off by less than some 2.8 round alike. The price is written into the journal once, and is never asked again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

STEP_WINDOWS = 128
"""Windows whose passes take as long as what a step costs besides: in small networks it is most of the time."""

VIEWS = 4
"""Passes of a window in a pre-training step: it and its augmentation, in time and frequency."""

VALIDATED = 1 / 3
"""Passes of a window that is only scored: there is no way back."""

COARSE = 8.0
"""Between two measured prices that are told apart."""


def price_of(events: Sequence[Mapping[str, Any]]) -> float:
    """Time of a pre-train in times of one fold: as the journal has it, or before it has, as counted."""
    for event in events:
        if event["event"] == "priced":
            return float(event["price"])
    counted = _passes(events, _started(events).get("settings", {}).get("finetune.epochs", 1))
    return counted[0] / counted[1] if counted else 1.0


def measured_price(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Fields of the `priced` event, by trial 0; where that one came to nothing the price is the counted one.

    The quickest epoch and the quickest fold are taken: what slows others down, such as a kill beside them, is no cost
    of theirs.
    """
    first = [event for event in events if event.get("trial") == 0]
    epochs = {event["epoch"]: event["metrics"]["seconds"] for event in first if event["event"] == "pretrain_epoch"}
    folds = [event for event in first if event["event"] == "fold_finished"]
    price = price_of(events)
    if not epochs or not folds:
        return {"price": price, "epoch_seconds": None, "fold_seconds": None}
    epoch_seconds, fold_seconds = min(epochs.values()), min(fold["seconds"] for fold in folds)
    tuned = sum(len(fold["result"]["epochs"]) for fold in folds) / len(folds)
    counted = _passes(events, tuned)
    if counted and min(epoch_seconds, fold_seconds) > 0:
        price = counted[0] / counted[1]
        longer = len(epochs) * epoch_seconds / fold_seconds / price
        price *= COARSE ** round(math.log(longer, COARSE))
    return {"price": price, "epoch_seconds": epoch_seconds, "fold_seconds": fold_seconds}


def _started(events: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next((event for event in events if event["event"] == "study_started"), {})


def _passes(events: Sequence[Mapping[str, Any]], tuned_epochs: float) -> tuple[float, float] | None:
    """Windows that pass through an encoder in a pre-train of trial 0, and in a fold of so many epochs.

    None where the journal does not say, as an old one.
    """
    started = _started(events)
    settings, windows = started.get("settings", {}), started.get("corpus", {}).get("windows")
    labelled, folds = started.get("labelled", {}).get("windows"), started.get("folds")
    if not (settings and windows and labelled and folds):
        return None
    sides = [[len(fold[side]) for side in ("train", "validation", "test")] for fold in folds]
    animals = sum(map(sum, sides))
    trained, validated = (labelled * sum(side[index] for side in sides) / animals for index in (0, 1))
    pretrain = settings["pretrain.epochs"] * VIEWS * windows * (1 + STEP_WINDOWS / settings["pretrain.batch_size"])
    tune = tuned_epochs * (trained * (1 + STEP_WINDOWS / settings["finetune.batch_size"]) + VALIDATED * validated)
    return (pretrain, tune) if tune > 0 else None
