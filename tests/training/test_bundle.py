"""Fine-tuning as a bundle: each member is what it would be alone, whoever is trained beside it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from training.toy import LENGTH, applied_of, herd, tiny

from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.method import products
from aar_ray.method.classifier import Classifier
from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.seeds import drawing_from, torch_stream
from aar_ray.training import finetune as finetuning
from aar_ray.training.finetune import FineTuned, Job, finetune_bundle
from aar_ray.training.masks import Masks

# of unequal sizes, so that members have unequal numbers of steps and of windows in the last one
HERDS = [herd({0: 41, 1: 23, 2: 11}, seed=1), herd({0: 31, 1: 17, 2: 5}, seed=2), herd({0: 13, 1: 11, 2: 8}, seed=3)]
VALIDATION = herd({0: 13, 1: 11, 2: 7}, seed=4)


def in_float64(labelled: LabelledWindows) -> LabelledWindows:
    return dataclasses.replace(labelled, windows=labelled.windows.astype(np.float64))


def jobs(double: bool = False, **changes: Any) -> list[Job]:
    """Three folds and two seeds of a setting, and other settings of the same shape."""
    settings = tiny(**{"finetune__epochs": 3, **changes})
    cast = in_float64 if double else lambda labelled: labelled
    folds = [(cast(train), cast(VALIDATION)) for train in HERDS]
    encoder = None
    if settings.finetune.encoder == "frozen":
        with drawing_from(11, "a stand-in"):
            encoder = PatchTSTEncoder(LENGTH, **dict(settings.patchtst)).state_dict()
    made = [Job(train, validation, settings, seed, encoder) for train, validation in folds for seed in (1, 2)]
    others = {
        "finetune__learning_rate": 1e-3,
        "finetune__weight_decay": 0.3,
        "finetune__dropout": 0.4,
        "finetune__class_weights": "none",
        "finetune__patience": 1,
    }
    others = [tiny(**{"finetune__epochs": 3, **changes, name: value}) for name, value in others.items()]
    return made + [Job(*folds[0], other, 1, encoder) for other in others]


def largest_difference(one: FineTuned, other: FineTuned) -> float:
    assert len(one.result["epochs"]) == len(other.result["epochs"])
    assert one.result["best_epoch"] == other.result["best_epoch"]
    pairs = [(one.model[name], other.model[name]) for name in one.model]
    pairs.append((torch.as_tensor(one.probabilities), torch.as_tensor(other.probabilities)))
    records = ([list(record.values()) for record in tuned.result["epochs"]] for tuned in (one, other))
    pairs.append(tuple(map(torch.tensor, records)))
    return max(float((a - b).abs().max()) for a, b in pairs)


def tuned(outcomes: list[FineTuned | ArithmeticError]) -> list[FineTuned]:
    assert all(isinstance(outcome, FineTuned) for outcome in outcomes)
    return outcomes  # type: ignore[return-value]


MODELS: dict[str, dict[str, Any]] = {
    "as is": {},
    "batch norm": {"patchtst__normalisation": "batch"},
    "post-norm, fixed positions": {"patchtst__norm_position": "post", "patchtst__positions": "sincos"},
    "over the axes": {"classifier__convolution": "across_axes", "classifier__fused_size": 5},
    "no convolution": {"classifier__convolution": "none"},
    "frozen": {"finetune__encoder": "frozen"},
    "adamw": {"finetune__optimiser": "adamw"},
    "no dropout": {"finetune__dropout": 0.0},
    "one batch": {"finetune__batch_size": 1000},
}


# a vector register holds 16 numbers at most: parts of this size are never cut in two, so that sums stay as they are
WHOLE_VECTORS = {"patchtst__model_size": 32, "patchtst__feedforward_size": 16, "classifier__fused_size": 16}


@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_each_member_is_what_it_would_be_alone(changes: dict[str, Any]) -> None:
    made = jobs(True, **changes)
    for job, member in list(zip(made, tuned(finetune_bundle(made)), strict=True))[::2]:
        (alone,) = tuned(finetune_bundle([job]))
        assert largest_difference(member, alone) <= 1e-10


@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_single_precision_keeps_each_member_equal_too(changes: dict[str, Any]) -> None:
    made = jobs(**(WHOLE_VECTORS | changes))
    for job, member in list(zip(made, tuned(finetune_bundle(made)), strict=True))[1::4]:
        (alone,) = tuned(finetune_bundle([job]))
        assert largest_difference(member, alone) <= 1e-5
        if changes == {}:
            assert largest_difference(member, alone) == 0


@pytest.mark.parametrize("library", ["oneDNN", "torch's own"])
@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_half_precision_keeps_each_member_equal_too(
    changes: dict[str, Any], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "torch's own":
        monkeypatch.setattr(products, "_onednn", None)
    made = jobs(finetune__precision="bfloat16", **(WHOLE_VECTORS | {"patchtst__feedforward_size": 32} | changes))
    for job, member in list(zip(made, tuned(finetune_bundle(made)), strict=True))[1::4]:
        (alone,) = tuned(finetune_bundle([job]))
        assert largest_difference(member, alone) <= 1e-5


def test_half_precision_comes_near_to_single_precision() -> None:
    (single,), (half,) = (
        tuned(finetune_bundle(jobs(finetune__precision=name)[:1])) for name in ("float32", "bfloat16")
    )
    losses = [[epoch["train_loss"] for epoch in one.result["epochs"]] for one in (single, half)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert {weight.dtype for weight in half.model.values()} == {torch.float32}
    assert half.probabilities.dtype == np.float32


def test_members_stop_by_themselves_and_the_order_of_jobs_is_that_of_the_outcomes() -> None:
    made = jobs(finetune__epochs=12, finetune__patience=2)
    outcomes = tuned(finetune_bundle(made))
    epochs = [len(outcome.result["epochs"]) for outcome in outcomes]
    assert len(set(epochs)) > 1
    for job, outcome, last in zip(made, outcomes, epochs, strict=True):
        assert outcome.result["applied"] == {**applied_of(job.settings), "finetune.initial_weights": "random"}
        assert last == min(12, outcome.result["best_epoch"] + job.settings.finetune.patience)
    backwards = tuned(finetune_bundle(made[::-1]))[::-1]
    assert [len(outcome.result["epochs"]) for outcome in backwards] == epochs


def test_one_that_diverges_leaves_the_others_alone() -> None:
    good = jobs()[0]
    bad = dataclasses.replace(good, settings=tiny(finetune__epochs=4, finetune__learning_rate=1e30))
    outcomes = finetune_bundle([bad, good])
    assert isinstance(outcomes[0], ArithmeticError)
    (alone,) = tuned(finetune_bundle([good]))
    assert largest_difference(tuned(outcomes[1:])[0], alone) <= 1e-5


def test_jobs_that_differ_in_shape_are_refused_with_what_differs() -> None:
    job = jobs()[0]
    other = dataclasses.replace(job, settings=tiny(patchtst__layers=2, finetune__optimiser="adamw"))
    with pytest.raises(ValueError, match=r"agree in patchtst\.layers, finetune\.optimiser; make two bundles"):
        finetune_bundle([job, other])
    assert finetune_bundle([]) == []


def test_frozen_encoders_run_once_for_jobs_that_share_windows_and_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    made = jobs(finetune__encoder="frozen")
    seen: list[int] = []

    def count(model: Classifier, windows: Tensor) -> Tensor:
        seen.append(len(windows))
        return _features(model, windows)

    _features = finetuning._features
    monkeypatch.setattr(finetuning, "_features", count)
    finetune_bundle(made)
    assert sorted(seen) == sorted([len(train) for train in HERDS] + [len(VALIDATION)])


def test_masks_drop_the_share_asked_for_and_belong_to_their_model() -> None:
    masks = Masks([0.25, 0.0, 0.5], torch.device("cpu"))
    masks.begin([1, 2, 3], "a purpose")
    taken = masks.take(torch.empty(3, 101, 97))
    for mask, p in zip(taken, (0.25, 0.0, 0.5), strict=True):
        assert mask.max().item() == pytest.approx(1 / (1 - p))
        assert ((mask == 0) | (mask == mask.max())).all()
        assert (mask == 0).double().mean().item() == pytest.approx(p, abs=0.02)
    masks.begin([1, 2, 3], "a purpose")
    masks.rows = slice(2, 3)
    assert torch.equal(masks.take(torch.empty(1, 101, 97))[0], taken[2])
    assert not torch.equal(masks.take(torch.empty(1, 101, 97))[0], taken[2])  # the next one is another
    masks.rows = slice(1, 2)
    assert masks.take(torch.empty(1, 5)) is None


def test_masks_drawn_by_torch_on_a_device_drop_the_share_asked_for_too() -> None:
    masks = Masks([0.25, 0.5], torch.device("cpu"))
    masks.streams = [torch_stream(seed, "a purpose") for seed in (1, 2)]
    kept = masks._on_device(9797, masks.kept)
    assert kept.shape == (2, 9797)
    assert kept.double().mean(dim=1).tolist() == [pytest.approx(0.75, abs=0.02), pytest.approx(0.5, abs=0.02)]
