"""The classifiers that a finished study left in its store, to be put to work again. No Ray."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch

from aar_ray.config import Settings, settings_from
from aar_ray.corpus.splits import Fold
from aar_ray.search.evidence import Winner, report_winner
from aar_ray.search.journal import Event, Refused
from aar_ray.search.ranking import TrialRecord, scored_settings
from aar_ray.store import Store

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Model:
    """What is scored or asked: fold by fold, the key of a kept classifier; None is trained where it is needed."""

    name: str
    keys: tuple[tuple[Fold, str | None], ...]
    context: Mapping[str, Any] = field(default_factory=dict)
    """Of a random forest: what it sees around a window."""


def beginning(events: Sequence[Event]) -> Event:
    """The latest start of a study.

    Raises:
        Refused: it never began.
    """
    found = [event for event in events if event["event"] == "study_started"]
    if not found:
        raise Refused("the study has not begun, so there is no classifier; run it first")
    return found[-1]


def folds_of(started: Event) -> dict[str, Fold]:
    """The folds of a study by name."""
    return {
        fold["name"]: Fold(fold["name"], *(tuple(fold[side]) for side in ("train", "validation", "test")))
        for fold in started["folds"]
    }


def winning_setting(trials: Mapping[int, TrialRecord]) -> Winner:
    """The setting that the report calls the winner.

    Raises:
        Refused: no trial is complete.
    """
    winner = report_winner(scored_settings(trials))
    if winner is None:
        raise Refused("no trial of the study is complete, so there is no winner; run it to its end first")
    return winner


def complete_runs(trials: Mapping[int, TrialRecord], number: int) -> list[TrialRecord]:
    """Complete runs of a setting, by the number of its first trial: one a seed."""
    return [trial for n, trial in trials.items() if number in (n, trial.repeat_of) and trial.state == "complete"]


def models_of(runs: Sequence[TrialRecord], folds: Mapping[str, Fold]) -> tuple[tuple[Fold, str], ...]:
    """Folds and keys of the classifiers of some runs; `folds` are the study's, by name."""
    return tuple((folds[fold["fold"]], fold["key"]) for run in runs for fold in run.folds.values())


def require_kept(store: Store, models: Sequence[Model], started: Event) -> None:
    """All classifiers, and the labelled windows that their z-scores come from, must be in the store.

    Raises:
        Refused: names what is gone.
    """
    gone = sorted(
        f"{model.name}, fold {fold.name}"
        for model in models
        for fold, key in model.keys
        if key is not None and not (store.root / "finetune" / key / "model.safetensors").is_file()
    )
    if store.find("labelled", started["labelled"]["key"]) is None:
        gone.append("the labelled windows")
    if gone:
        raise Refused(
            f"the store {store.root} must hold what the study made, it lacks {'; '.join(gone)}; "
            "run the study again, which makes what is missing, and nothing else"
        )


def classifier(folder: Path) -> tuple[dict[str, Tensor], Settings]:
    """Weights and settings of a kept classifier, from its artifact's folder."""
    settings = settings_from(json.loads((folder / "result.json").read_text())["applied"])
    return safetensors.torch.load_file(folder / "model.safetensors"), settings


def learned_sketches(store: Store, started: Event) -> dict[str, dict[str, set[int]]]:
    """By source and recording, what the recordings that a study learned from are known again by."""
    found: dict[str, dict[str, set[int]]] = {}
    for stage in ("corpus", "labelled"):
        file = store.root / stage / str((started.get(stage) or {}).get("key")) / "sketches.json"
        if file.is_file():
            for source, own in json.loads(file.read_text()).items():
                found.setdefault(source, {}).update({name: set(one) for name, one in own.items()})
    return found
