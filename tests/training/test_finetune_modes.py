"""Layer-wise rates, gradual unfreezing, few labels, turned windows; and settings of fine-tuning that come back."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from training.test_finetune import TRAIN, VALIDATION, some_encoder
from training.toy import CLASSES, applied_of, herd, tiny

from aar_ray.config import dotted
from aar_ray.corpus.labelled import LabelledWindows, normalised
from aar_ray.corpus.normalise import Scope
from aar_ray.method.classifier import Head
from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.training import finetune as finetuning
from aar_ray.training.arrived import NotApplied, check_applied
from aar_ray.training.bundle import Turn
from aar_ray.training.finetune import Job, _turn, finetune, finetune_bundle
from aar_ray.training.labels import chosen_labels
from aar_ray.training.rates import Rates
from aar_ray.training.stack import Place
from aar_ray.training.stopping import Stopping

NAMES = {
    "encoder.positions": 0,
    "encoder.patch_projection.weight": 0,
    "encoder.layers.0.attention.output.bias": 1,
    "encoder.layers.1.feedforward_norm.weight": 2,
    "encoder.final_norm.weight": 2,
    "head.fusion.0.weight": 3,
    "head.linear.bias": 3,
}
"""Weights of a classifier of two layers, and their part, counted from the embedding."""
PLACES = [Place(name, slice(2 * n, 2 * n + 2), torch.Size([2])) for n, name in enumerate(NAMES)]


def test_each_part_has_a_rate_smaller_by_one_factor_than_the_part_above() -> None:
    rates = Rates(layers=2, learning_rate=0.4, layer_decay=0.5)(PLACES, 1)
    expected = [0.4 * 0.5 ** (3 - part) for part in NAMES.values() for _ in range(2)]
    torch.testing.assert_close(rates, torch.tensor(expected))


def test_parts_are_unfrozen_from_the_head_down() -> None:
    rates = Rates(layers=2, learning_rate=0.4, unfreeze_every=3)
    for epoch in range(1, 12):
        trained = (rates(PLACES, epoch) > 0).view(-1, 2).all(dim=1).tolist()
        # the head from epoch 1, the last layer from 4, the first from 7, the embedding from 10
        assert trained == [epoch > 3 * (3 - part) for part in NAMES.values()]


def test_without_either_all_weights_share_one_rate() -> None:
    assert Rates(layers=2, learning_rate=0.25)(PLACES, 1).tolist() == [0.25]


def moved(settings: dict[str, Any]) -> dict[str, float]:
    """By how much each weight has moved from where it began, after the first epoch's steps."""
    encoder = some_encoder()
    tuned = finetune(TRAIN, VALIDATION, tiny(finetune__epochs=1, **settings), seed=1, encoder=encoder)
    return {name: float((tuned.model[f"encoder.{name}"] - weight).abs().max()) for name, weight in encoder.items()}


def test_what_is_frozen_at_first_has_not_moved_then_and_moves_later() -> None:
    assert set(moved({"finetune__unfreeze_every": 1}).values()) == {0.0}
    plain, lowered = (
        moved({"finetune__weight_decay": 0.0}),
        moved({"finetune__weight_decay": 0.0, "finetune__layer_decay": 0.1}),
    )
    # Adam's first steps are of the rate's size whatever the gradient's
    assert lowered["layers.0.attention.output.weight"] < 0.3 * plain["layers.0.attention.output.weight"]
    assert lowered["patch_projection.weight"] < 0.03 * plain["patch_projection.weight"]
    two = finetune(
        TRAIN, VALIDATION, tiny(finetune__epochs=2, finetune__unfreeze_every=1, finetune__patience=9), seed=1
    )
    assert len(two.result["epochs"]) == 2


def three_animals() -> LabelledWindows:
    parts = [herd({0: 31, 1: 17, 2: 3 if number < 3 else 0}, seed=number) for number in (1, 2, 3)]
    arrays = ("windows", "labels", "subjects", "recordings", "starts")
    return LabelledWindows(
        classes=CLASSES, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
    )


def counts(labelled: LabelledWindows) -> dict[str, list[int]]:
    return {
        name: np.bincount(labelled.labels[labelled.subjects == name], minlength=3).tolist()
        for name in sorted(set(labelled.subjects))
    }


def test_a_share_of_the_labels_is_the_same_share_of_each_animal_and_behaviour_at_least_one() -> None:
    few = chosen_labels(three_animals(), label_share=0.1, label_animals=None, seed=4)
    assert counts(few) == {"animal 1": [3, 2, 1], "animal 2": [3, 2, 1], "animal 3": [3, 2, 0]}


def test_fewer_labels_are_among_more_and_another_seed_draws_others() -> None:
    def drawn(share: float, animals: int | None = None, seed: int = 4) -> set[tuple[str, float]]:
        part = chosen_labels(three_animals(), label_share=share, label_animals=animals, seed=seed)
        return set(zip(part.subjects, part.starts, strict=True))

    assert drawn(0.1) < drawn(0.25) < drawn(0.5) < drawn(1.0)
    assert drawn(1.0, 1) < drawn(1.0, 2) < drawn(1.0, 3) == drawn(1.0)
    assert drawn(0.1) != drawn(0.1, seed=5)
    assert len({frozenset(name for name, _ in drawn(1.0, 1, seed)) for seed in range(9)}) == 3


def test_all_labels_are_all_windows_and_more_animals_than_there_are_is_refused() -> None:
    labelled = three_animals()
    assert chosen_labels(labelled, label_share=1.0, label_animals=None, seed=4) is labelled
    with pytest.raises(ValueError, match="at most the 3 training animals, got 4"):
        chosen_labels(labelled, label_share=1.0, label_animals=4, seed=4)


def test_a_fine_tuning_sees_the_chosen_labels_alone() -> None:
    settings = tiny(finetune__label_share=0.2, finetune__label_animals=2)
    few = chosen_labels(three_animals(), label_share=0.2, label_animals=2, seed=1)
    ours = finetune(three_animals(), VALIDATION, settings, seed=1)
    theirs = finetune(few, VALIDATION, tiny(), seed=1)
    assert ours.result["epochs"] == theirs.result["epochs"]


def in_g() -> LabelledWindows:
    raw = herd({0: 13, 1: 11, 2: 7}, seed=5)
    return LabelledWindows(
        **{
            **{name: getattr(raw, name) for name in ("labels", "classes", "subjects", "recordings", "starts")},
            "windows": (0.3 * raw.windows + np.array([0.1, 0.2, -0.9])[:, None]).astype(np.float32),
        }
    )


def turn_of(scope: Scope, **settings: Any) -> tuple[Turn, Tensor]:
    scored = normalised(in_g(), scope)
    job = Job(scored, scored, tiny(normalise__scope=scope, finetune__rotation_degrees=180.0, **settings), seed=1)
    return _turn(job, torch.device("cpu")), torch.from_numpy(scored.windows)


@pytest.mark.parametrize("scope", ["source", "recording", "window"])
def test_training_windows_are_turned_in_g_and_scored_again(scope: Scope) -> None:
    turn, scored = turn_of(scope, finetune__rotation_axis="z")
    rows = torch.tensor([3, 17, 5])
    turned = turn(scored[rows], rows, torch.Generator().manual_seed(1))
    if scope == "window":
        torch.testing.assert_close(turned.mean(dim=-1), torch.zeros(3, 3), atol=1e-5, rtol=0)
        return
    raw, before = turn.scale.of(rows).unscored(turned), torch.from_numpy(in_g().windows)[rows]
    torch.testing.assert_close(raw.norm(dim=1), before.norm(dim=1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(raw[:, 2], before[:, 2], rtol=1e-4, atol=1e-5)
    assert ((raw - before).abs().amax(dim=(1, 2)) > 0.05).all()


def test_turned_windows_are_drawn_by_the_jobs_own_seed_whoever_is_beside_it() -> None:
    scored = normalised(in_g(), "source")
    validation = normalised(in_g(), "source")
    turned = tiny(finetune__rotation_degrees=90.0)
    job, other = Job(scored, validation, turned, seed=1), Job(scored, validation, tiny(), seed=2)
    (alone,) = finetune_bundle([job])
    beside = finetune_bundle([other, job, Job(scored, validation, turned, seed=3)])
    assert not isinstance(alone, ArithmeticError)
    assert [epoch["train_loss"] for epoch in alone.result["epochs"]] == pytest.approx(
        [epoch["train_loss"] for epoch in beside[1].result["epochs"]], rel=1e-5
    )
    unturned = finetune(scored, validation, tiny(), seed=1)
    about_z = finetune(scored, validation, tiny(finetune__rotation_degrees=90.0, finetune__rotation_axis="z"), seed=1)
    losses = {run.result["epochs"][0]["train_loss"] for run in (alone, unturned, about_z)}
    assert len(losses) == 3


def test_turning_needs_a_trained_encoder_and_windows_that_say_how_they_were_scored() -> None:
    with pytest.raises(ValidationError, match=r"rotation_degrees must be 0 where finetune\.encoder is frozen"):
        tiny(finetune__encoder="frozen", finetune__rotation_degrees=20.0)
    with pytest.raises(ValidationError, match=r"must be trained where finetune\.initial_weights is random"):
        tiny(finetune__encoder="frozen", finetune__initial_weights="random")
    with pytest.raises(ValueError, match="need the statistics of their z-score"):
        finetune(TRAIN, VALIDATION, tiny(finetune__rotation_degrees=20.0), seed=1)


MODES: list[dict[str, Any]] = [
    {},
    {"finetune__encoder": "frozen"},
    {"finetune__encoder": "frozen", "classifier__convolution": "none"},
    {"finetune__layer_decay": 0.7, "finetune__unfreeze_every": 2, "finetune__rotation_degrees": 30.0},
    {"finetune__optimiser": "adamw", "finetune__learning_rate": 3.14e-4, "finetune__batch_size": 7},
    {"finetune__context_seconds": 4.0},
    {"finetune__context_seconds": 4.0, "finetune__context_form": "own_mean_spread"},
    {"patchtst__layers": 2, "patchtst__positions": "sincos", "finetune__dropout": 0.3},
]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_settings_that_come_back_are_those_that_were_asked(mode: dict[str, Any]) -> None:
    settings = tiny(finetune__epochs=1, **mode)
    scored = normalised(in_g(), "source")
    encoder = PatchTSTEncoder(scored.windows.shape[2], **dict(settings.patchtst)).state_dict()
    applied = finetune(scored, scored, settings, seed=1, encoder=encoder).result["applied"]
    assert applied == {**applied_of(settings), "normalise.scope": "source"}
    check_applied(dotted(settings), applied, stage="fine-tuning")


LOST: dict[str, tuple[dict[str, Any], str, Any]] = {
    "finetune.epochs": ({}, "Stopping", lambda selection, patience, epochs: Stopping(selection, patience, 1)),
    "finetune.patience": ({}, "Stopping", lambda selection, patience, epochs: Stopping(selection, 1, epochs)),
    "finetune.selection": ({}, "Stopping", lambda selection, patience, epochs: Stopping("last", patience, epochs)),
    "finetune.class_weights": ({}, "class_weights", None),
    "finetune.label_share": ({"finetune__label_share": 0.5}, "chosen_labels", None),
    "finetune.context_seconds": ({"finetune__context_seconds": 4.0}, "in_context", None),
    "finetune.context_form": (
        {"finetune__context_seconds": 4.0, "finetune__context_form": "own_mean_spread"},
        "in_context",
        None,
    ),
    "classifier.convolution": (
        {},
        "Head",
        lambda *sizes, **settings: Head(*sizes, **{**settings, "convolution": "none"}),
    ),
    "finetune.rotation_axis": (
        {"finetune__rotation_degrees": 30.0},
        "Turn",
        lambda scale, degrees, axis: Turn(scale, degrees, "z"),
    ),
}
DEFAULTS: dict[str, Any] = {
    "finetune.class_weights": "none",
    "finetune.label_share": 1.0,
    "finetune.context_seconds": 0.0,
    "finetune.context_form": "mean",
}


@pytest.mark.parametrize("name", LOST)
def test_what_comes_back_is_read_from_what_uses_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    changes, part, slip = LOST[name]
    if slip is None:
        # the function that a `partial` holds is called with another value than was asked
        setting = name.split(".")[1]

        def slipping(function: Any, *given: Any, **named: Any) -> partial[Any]:
            return partial(function, *given, **(named | ({setting: DEFAULTS[name]} if setting in named else {})))

        monkeypatch.setattr(finetuning, "partial", slipping)
    else:
        monkeypatch.setattr(finetuning, part, slip)
    settings = tiny(finetune__epochs=2, finetune__initial_weights="random", **changes)
    scored = normalised(in_g(), "source")
    applied = finetune(scored, scored, settings, seed=1).result["applied"]
    with pytest.raises(NotApplied, match=rf"{name} must reach fine-tuning"):
        check_applied(dotted(settings), applied, stage="fine-tuning")


def test_the_scope_of_the_windows_comes_back() -> None:
    settings = tiny(finetune__epochs=1, finetune__initial_weights="random")
    scored = normalised(in_g(), "recording")
    applied = finetune(scored, scored, settings, seed=1).result["applied"]
    with pytest.raises(NotApplied, match=r"normalise\.scope must reach fine-tuning .* 'source', got 'recording'"):
        check_applied(dotted(settings), applied, stage="fine-tuning")


def test_a_pre_trained_encoder_that_did_not_arrive_is_loud() -> None:
    applied = finetune(TRAIN, VALIDATION, tiny(), seed=1).result["applied"]
    with pytest.raises(NotApplied, match=r"initial_weights must reach fine-tuning .* 'pretrained', got 'random'"):
        check_applied(dotted(tiny()), applied, stage="fine-tuning")
