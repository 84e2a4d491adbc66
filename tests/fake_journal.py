"""Journal events as a study writes them, for tests of what reads a journal. Each builder gives a list of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from aar_ray.seeds import stream

Event = dict[str, Any]

CLASSES = ("grazing", "resting", "walking")
ANIMALS = ("Bella", "Clara", "Doris")
SEARCH = {
    "tfc.contrastive_weight": {"uniform": [0.1, 0.9]},
    "tfc.margin": {"uniform": [0.05, 1.0]},
    "patchtst.patch_length": {"integer": [4, 16], "step": 2},
    "patchtst.patch_stride": {"choice": [2, 4, 8]},
}
SETTINGS = {
    "tfc.contrastive_weight": 0.5,
    "tfc.margin": 0.5,
    "patchtst.patch_length": 8,
    "patchtst.patch_stride": 4,
}
LOSSES = (
    "loss",
    "loss_time",
    "loss_frequency",
    "loss_consistency",
    "off_diagonal_cosine_z",
    "effective_rank_z",
    "effective_rank_h",
    "alignment",
    "uniformity",
    "learning_rate",
    "seconds",
)


def noon(minutes: int) -> str:
    """A time so many minutes after noon."""
    return (datetime(2025, 6, 1, 12, tzinfo=UTC) + timedelta(minutes=minutes)).isoformat()


def started(
    search: Mapping[str, Any] = SEARCH, *, simulated: bool = True, trials: int = 4, animals: Sequence[str] = ANIMALS
) -> list[Event]:
    """The study starts."""
    folds = [
        {"name": animal, "train": [other for other in animals if other != animal], "validation": [animal], "test": []}
        for animal in animals
    ]
    return [
        {
            "event": "study_started",
            "at": noon(0),
            "name": "herd",
            "seed": 7,
            "simulated": simulated,
            "search": dict(search),
            "classes": list(CLASSES),
            "folds": folds,
            "corpus": {"windows": 1013, "seconds": 3.5, "key": "c" * 20, "cached": False},
            "trials": trials,
        }
    ]


def trial_started(number: int, settings: Mapping[str, Any] = SETTINGS, **about: Any) -> list[Event]:
    """A trial starts; `about` may hold origin, seed, repeat_of and arm."""
    origin = "reference" if number == 0 else "sampled"
    about = {"origin": origin, "seed": 7, "repeat_of": None, "arm": None, **about}
    return [
        {"event": "trial_started", "trial": number, "at": noon(2 * number + 1), "settings": dict(settings), **about}
    ]


def pretrained(number: int, *, epochs: int = 2, key: str = "a" * 20, seconds: float = 13.0) -> list[Event]:
    """The trial's encoder is pre-trained; 0 epochs: it was there already. Loss `name` of epoch e is e + 0.01 index."""
    lines: list[Event] = [
        {
            "event": "pretrain_epoch",
            "trial": number,
            "key": key,
            "epoch": epoch,
            "metrics": {name: epoch + 0.01 * index for index, name in enumerate(LOSSES)},
        }
        for epoch in range(1, epochs + 1)
    ]
    cached = epochs == 0
    return [*lines, {"event": "pretrained", "trial": number, "key": key, "seconds": seconds, "cached": cached}]


def result(macro_f1: float) -> dict[str, Any]:
    """A fold's result. The confusion matrix is one of 11 windows, whose scores need not be the given one."""
    return {
        "macro_f1": macro_f1,
        "accuracy": 0.75,
        "macro_precision": 0.7,
        "macro_recall": 0.6,
        "weighted_f1": 0.65,
        "kappa": 0.5,
        "absent": [],
        "per_class": {name: {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 3} for name in CLASSES},
        "confusion": [[5, 0, 1], [0, 3, 0], [0, 2, 0]],
        "best_epoch": 2,
        "epochs": [
            {"train_loss": 1.1, "validation_loss": 1.3, "macro_f1": macro_f1 / 2, "accuracy": 0.5},
            {"train_loss": 0.7, "validation_loss": 0.9, "macro_f1": macro_f1, "accuracy": 0.75},
        ],
    }


def folds(number: int, scores: Mapping[str, float], *, seconds: float = 5.0) -> list[Event]:
    """The trial's folds are scored, `scores` by validation animal."""
    return [
        {
            "event": "fold_finished",
            "trial": number,
            "fold": animal,
            "validation": [animal],
            "key": f"{number}{animal}",
            "cached": False,
            "seconds": seconds,
            "result": result(score),
        }
        for animal, score in scores.items()
    ]


def finished(number: int, macro_f1: float | None, state: str = "complete", reason: str | None = None) -> list[Event]:
    """A trial ends."""
    at = noon(2 * number + 3)
    return [
        {"event": "trial_finished", "trial": number, "at": at, "state": state, "macro_f1": macro_f1, "reason": reason}
    ]


def trial(number: int, scores: Sequence[float], settings: Mapping[str, Any] = SETTINGS, **about: Any) -> list[Event]:
    """A complete trial; `scores` are those of the first animals, `about` as in `trial_started`."""
    return [
        *trial_started(number, settings, **about),
        *pretrained(number),
        *folds(number, dict(zip(ANIMALS, scores, strict=False))),
        *finished(number, sum(scores) / len(scores)),
    ]


def baseline(name: str, scores: Sequence[float], seconds: float = 2.0) -> list[Event]:
    """A baseline is scored on the first animals."""
    scored = [
        {"fold": animal, "validation": [animal], "result": result(score)}
        for animal, score in zip(ANIMALS, scores, strict=False)
    ]
    mean = sum(scores) / len(scores)
    return [{"event": "baseline_finished", "name": name, "macro_f1": mean, "seconds": seconds, "folds": scored}]


def study_finished() -> list[Event]:
    """The study ends, its budget spent."""
    return [{"event": "study_finished", "at": noon(59), "stopped_by": "budget"}]


def searched_study(
    trials: int = 24, animals: int = 6, *, simulated: bool = False, epochs: int = 4, confirmed: int = 3, seed: int = 0
) -> list[Event]:
    """A whole study: λ raises macro-F1, δ, P and S do nothing; the best few run again on two seeds; three baselines."""
    draw = stream(seed, "test", "searched study")
    names = [f"goat-{number}" for number in range(animals)]
    hardness = dict(zip(names, draw.normal(0, 0.08, animals), strict=True))

    def run(number: int, settings: Mapping[str, Any], **about: Any) -> list[Event]:
        mean = 0.45 + 0.25 * settings["tfc.contrastive_weight"] + draw.normal(0, 0.015)
        scores = {name: float(np.clip(mean + hardness[name] + draw.normal(0, 0.02), 0, 1)) for name in names}
        return [
            *trial_started(number, settings, **about),
            *pretrained(number, epochs=epochs, key=f"{number:020d}"),
            *folds(number, scores),
            *finished(number, float(np.mean(list(scores.values())))),
        ]

    tried = [SETTINGS] + [
        {
            "tfc.contrastive_weight": float(draw.uniform(0.1, 0.9)),
            "tfc.margin": float(draw.uniform(0.05, 1)),
            "patchtst.patch_length": int(draw.integers(2, 9)) * 2,
            "patchtst.patch_stride": int(draw.choice([2, 4, 8])),
        }
        for _ in range(trials - 1)
    ]
    events = started(simulated=simulated, trials=trials + 2 * confirmed, animals=names)
    goats = {"species": "goat", "animals": animals, "windows": 1009, "dropped": {}, "constant_axes": {}}
    events[0]["labelled"] = {"key": "l" * 20, "windows": 1009, "summary": {"goats": goats}}
    for number, settings in enumerate(tried):
        events += run(number, settings)
    scores = {event["trial"]: event["macro_f1"] for event in events if event["event"] == "trial_finished"}
    best = sorted(scores, key=lambda number: -scores[number])[:confirmed]
    for repeat in (1, 2):
        for place, first in enumerate(best):
            about = {"origin": "confirmation", "repeat_of": first, "seed": 100 + repeat}
            events += run(trials + (repeat - 1) * confirmed + place, tried[first], **about)
    for name, mean in (("random forest", 0.55), ("scratch, trial 0", 0.5), ("scratch, winner", 0.58)):
        scored = [
            {"fold": animal, "validation": [animal], "result": result(mean + hardness[animal]), "seconds": 2.0}
            for animal in names
        ]
        about = {"name": name, "macro_f1": mean, "seconds": 12.0, "folds": scored}
        events.append({"event": "baseline_finished", "at": noon(2 * len(scores) + 9), **about})
    return [*events, {"event": "study_finished", "at": noon(2 * len(scores) + 9), "stopped_by": "budget"}]
