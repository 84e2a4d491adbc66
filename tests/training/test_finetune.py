"""Fine-tuning: what is trained, which epoch is kept, when it stops, and that every setting reaches it."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from training.toy import AXES, CLASSES, LENGTH, WrittenOutAdam, applied_of, herd, read_of, tiny

from aar_ray.config import Settings, dotted
from aar_ray.method.class_weights import class_weights
from aar_ray.method.classifier import Classifier, Head
from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.method.neighbours import neighbour_mean
from aar_ray.method.scores import confusion_matrix
from aar_ray.seeds import drawing_from, torch_stream
from aar_ray.training import bundle
from aar_ray.training import finetune as finetuning
from aar_ray.training.classify import probabilities
from aar_ray.training.finetune import FineTuned, finetune

TRAIN = herd({0: 41, 1: 23, 2: 11}, seed=1)
VALIDATION = herd({0: 13, 1: 11, 2: 7}, seed=2)


def initial_classifier(settings: Settings, seed: int) -> Classifier:
    """As a run from random weights begins."""
    with drawing_from(seed, "initial weights", "finetune"):
        return Classifier(
            PatchTSTEncoder(LENGTH, **{**dict(settings.patchtst), "dropout": settings.finetune.dropout}),
            Head(AXES, 14, len(CLASSES), dropout=settings.finetune.dropout, **dict(settings.classifier)),
        )


def some_encoder() -> dict[str, Tensor]:
    """Stands for pre-trained weights."""
    with drawing_from(11, "a stand-in"):
        return PatchTSTEncoder(LENGTH, **dict(tiny().patchtst)).state_dict()


def assert_same(one: FineTuned, other: FineTuned) -> None:
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    assert all(torch.equal(one.model[name], other.model[name]) for name in one.model)
    assert {**one.result, "applied": None} == {**other.result, "applied": None}


def test_defaults_are_those_of_the_method() -> None:
    expected = {
        "classifier.convolution": "per_axis",
        "classifier.fused_size": None,
        "finetune.encoder": "trained",
        "finetune.learning_rate": 1e-4,
        "finetune.weight_decay": 0.01,
        "finetune.optimiser": "adam",
        "finetune.batch_size": 32,
        "finetune.epochs": 100,
        "finetune.patience": 10,
        "finetune.selection": "macro_f1",
        "finetune.class_weights": "effective_number",
        "finetune.class_balance_beta": 0.999,
        "finetune.dropout": 0.1,
    }
    given = dotted(Settings())
    assert {name: given[name] for name in expected} == expected


CHANGED: dict[str, Any] = {
    "patchtst.patch_length": 7,
    "patchtst.patch_stride": 2,
    "patchtst.model_size": 22,
    "patchtst.layers": 2,
    "patchtst.heads": 7,
    "patchtst.feedforward_size": 19,
    "patchtst.normalisation": "batch",
    "patchtst.norm_position": "post",
    "patchtst.positions": "sincos",
    "classifier.convolution": "per_axis",
    "classifier.fused_size": 5,
    "finetune.learning_rate": 1e-3,
    "finetune.weight_decay": 1.0,
    "finetune.optimiser": "adamw",
    "finetune.batch_size": 13,
    "finetune.epochs": 3,
    "finetune.class_weights": "none",
    "finetune.class_balance_beta": 0.5,
    "finetune.dropout": 0.5,
    "finetune.layer_decay": 0.5,
    "finetune.unfreeze_every": 1,
    "finetune.label_share": 0.5,
    "finetune.context_seconds": 6.0,
    "finetune.precision": "bfloat16",
}
ELSEWHERE = {
    "finetune.encoder",
    "finetune.patience",
    "finetune.selection",
    "finetune.initial_weights",
    "finetune.rotation_degrees",
    "finetune.rotation_axis",
    "finetune.label_animals",
    "finetune.smoothing_seconds",
    "finetune.context_form",
}  # in tests of their own, below


@pytest.mark.parametrize("name", CHANGED)
def test_every_setting_reaches_the_training(name: str) -> None:
    across = {"classifier__convolution": "across_axes", "finetune__weight_decay": 0.1}
    before = finetune(TRAIN, VALIDATION, tiny(**across), seed=1)
    after = finetune(TRAIN, VALIDATION, tiny(**(across | {name.replace(".", "__"): CHANGED[name]})), seed=1)
    assert before.result["epochs"] != after.result["epochs"]
    assert after.result["applied"][name] == CHANGED[name]


def test_no_setting_of_fine_tuning_is_left_out_above_and_pre_training_dropout_has_no_part() -> None:
    assert set(read_of(Settings())) == {*CHANGED, *ELSEWHERE, "patchtst.dropout", "normalise.scope"}
    other = finetune(TRAIN, VALIDATION, tiny(patchtst__dropout=0.6), seed=1)
    assert_same(other, finetune(TRAIN, VALIDATION, tiny(), seed=1))


def test_it_learns_what_can_be_told_apart() -> None:
    tuned = finetune(TRAIN, VALIDATION, tiny(finetune__epochs=20), seed=1)
    assert tuned.result["macro_f1"] > 0.9
    assert tuned.result["epochs"][-1]["train_loss"] < tuned.result["epochs"][0]["train_loss"] / 2


def test_a_seed_gives_the_same_classifier_whatever_was_drawn_before() -> None:
    first = finetune(TRAIN, VALIDATION, tiny(), seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        assert_same(finetune(TRAIN, VALIDATION, tiny(), seed=1), first)
    assert finetune(TRAIN, VALIDATION, tiny(), seed=2).result["epochs"] != first.result["epochs"]


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
@pytest.mark.parametrize("weighting", ["effective_number", "none"])
def test_a_frozen_encoder_stays_and_its_head_is_trained_on_its_features(optimiser: str, weighting: str) -> None:
    settings = tiny(
        finetune__encoder="frozen",
        finetune__dropout=0.0,
        finetune__optimiser=optimiser,
        finetune__weight_decay=0.3,
        finetune__class_weights=weighting,
        finetune__epochs=3,
    )
    encoder = some_encoder()

    tuned = finetune(TRAIN, VALIDATION, settings, seed=1, encoder=encoder)

    for name, weight in encoder.items():
        assert torch.equal(tuned.model[f"encoder.{name}"], weight)
    model = initial_classifier(settings, seed=1)
    model.encoder.load_state_dict(encoder)
    features = model.features(torch.as_tensor(TRAIN.windows)).detach()
    features = (features - features.mean(dim=0)) / features.std(dim=0, unbiased=False)
    labels = torch.as_tensor(TRAIN.labels)
    weights = torch.as_tensor(
        class_weights(np.array([41, 23, 11]), class_weights=weighting, class_balance_beta=0.999), dtype=torch.float32
    )
    parameters = list(model.head.parameters())
    adam = WrittenOutAdam(parameters, learning_rate=3e-3, weight_decay=0.3, decoupled=optimiser == "adamw")
    for epoch in range(1, tuned.result["best_epoch"] + 1):
        order = torch.randperm(75, generator=torch_stream(1, "finetune", "shuffle", epoch))
        total = 0.0
        for start in range(0, 75, 32):
            rows = order[start : start + 32]
            log_shares = model.head(features[rows]).log_softmax(dim=1)
            terms = [-weights[labels[row]] * log_shares[i, labels[row]] for i, row in enumerate(rows)]
            total += sum(term.item() for term in terms)
            adam.step(torch.autograd.grad(torch.stack(terms).mean(), parameters))
        assert tuned.result["epochs"][epoch - 1]["train_loss"] == pytest.approx(total / 75, rel=1e-4)
    for name, weight in model.head.named_parameters():
        torch.testing.assert_close(tuned.model[f"head.{name}"], weight.detach(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("convolution", ["none", "per_axis"])
def test_a_frozen_encoders_classifier_is_the_same_when_it_is_read_again(convolution: str) -> None:
    settings = tiny(finetune__encoder="frozen", classifier__convolution=convolution)
    tuned = finetune(TRAIN, VALIDATION, settings, seed=1, encoder=some_encoder())
    again = probabilities(tuned.model, settings, VALIDATION)
    np.testing.assert_allclose(again, tuned.probabilities, rtol=1e-5, atol=1e-6)


def test_the_scale_of_frozen_features_has_no_part() -> None:
    # with pre-norm layers the last norm's weight and bias scale and shift the features, and nothing else
    encoder = some_encoder()
    weight, bias = (encoder[f"final_norm.{name}"] for name in ("weight", "bias"))
    scaled = {**encoder, "final_norm.weight": 1e-3 * weight, "final_norm.bias": 1e-3 * bias + 5.0}
    settings = tiny(finetune__encoder="frozen", classifier__convolution="none", finetune__epochs=5)
    first, second = (finetune(TRAIN, VALIDATION, settings, seed=1, encoder=one) for one in (encoder, scaled))
    np.testing.assert_allclose(first.probabilities, second.probabilities, rtol=1e-2, atol=1e-3)


def test_all_weights_are_trained_from_those_given() -> None:
    encoder = some_encoder()
    before = {name: weight.clone() for name, weight in encoder.items()}
    tuned = finetune(TRAIN, VALIDATION, tiny(finetune__learning_rate=1e-4), seed=1, encoder=encoder)
    for name, weight in before.items():
        assert torch.equal(encoder[name], weight)  # the caller's are not written into
        moved = (tuned.model[f"encoder.{name}"] - weight).abs().max()
        assert 0 < moved < 1e-3  # at most the learning rate a step, so it began there


def test_the_scratch_baseline_differs_from_a_pre_trained_run_in_its_first_weights_only() -> None:
    random_weights = initial_classifier(tiny(), seed=1).encoder.state_dict()
    given = finetune(TRAIN, VALIDATION, tiny(), seed=1, encoder=random_weights)
    assert_same(finetune(TRAIN, VALIDATION, tiny(), seed=1), given)


def test_the_result_is_that_of_the_kept_weights() -> None:
    settings = tiny(finetune__epochs=15, finetune__learning_rate=0.03)
    tuned = finetune(TRAIN, VALIDATION, settings, seed=1)
    result = tuned.result
    predicted = tuned.probabilities.argmax(axis=1)
    assert result["confusion"] == confusion_matrix(VALIDATION.labels, predicted, 3).tolist()
    assert result["best_epoch"] == 1 + int(np.argmax([record["macro_f1"] for record in result["epochs"]]))
    assert result["macro_f1"] == result["epochs"][result["best_epoch"] - 1]["macro_f1"]
    assert result["accuracy"] == result["epochs"][result["best_epoch"] - 1]["accuracy"]
    assert result["best_epoch"] < len(result["epochs"])  # or the last epoch's weights would do
    model = initial_classifier(settings, seed=1).eval()
    model.load_state_dict(tuned.model)
    logits = model(torch.as_tensor(VALIDATION.windows)).detach()
    np.testing.assert_allclose(tuned.probabilities, logits.softmax(dim=1).numpy(), rtol=1e-5, atol=1e-6)
    best = result["epochs"][result["best_epoch"] - 1]
    loss = cross_entropy(logits, torch.as_tensor(VALIDATION.labels)).item()
    assert best["validation_loss"] == pytest.approx(loss, rel=1e-5)
    assert json.loads(json.dumps(result)) == result  # plain data, for the journal
    assert result["applied"] == {**applied_of(settings), "finetune.initial_weights": "random"}


MACRO_F1 = [0.1, 0.5, 0.5, 0.4, 0.3, 0.9, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
ACCURACY = [0.8, 0.2, 0.1, 0.3, 0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("selection", "patience", "best", "last"),
    [
        ("macro_f1", 3, 2, 5),
        ("macro_f1", 4, 6, 10),
        ("macro_f1", 100, 6, 12),
        ("accuracy", 3, 1, 4),
        ("last", 1, 12, 12),
    ],
)
def test_training_stops_patience_epochs_after_the_best_score_of_the_selection(
    monkeypatch: pytest.MonkeyPatch, selection: str, patience: int, best: int, last: int
) -> None:
    scripted: dict[str, Iterator[float]] = {"macro_f1": iter(MACRO_F1), "accuracy": iter(ACCURACY)}
    monkeypatch.setattr(finetuning, "macro_f1", lambda _: next(scripted["macro_f1"]))
    monkeypatch.setattr(finetuning, "accuracy", lambda _: next(scripted["accuracy"]))
    settings = tiny(finetune__epochs=12, finetune__patience=patience, finetune__selection=selection)
    result = finetune(TRAIN, VALIDATION, settings, seed=1).result
    assert (result["best_epoch"], len(result["epochs"])) == (best, last)


def test_smoothed_probabilities_are_scored_and_change_nothing_that_is_trained() -> None:
    plain = finetune(TRAIN, VALIDATION, tiny(finetune__selection="last"), seed=1)
    settings = tiny(finetune__selection="last", finetune__smoothing_seconds=4.0)
    tuned = finetune(TRAIN, VALIDATION, settings, seed=1)
    expected = neighbour_mean(plain.probabilities, VALIDATION.recordings, VALIDATION.starts, seconds=4.0)
    np.testing.assert_allclose(tuned.probabilities, expected, rtol=1e-6)
    assert np.abs(tuned.probabilities - plain.probabilities).max() > 0.01
    predicted = expected.argmax(axis=1)
    assert tuned.result["confusion"] == confusion_matrix(VALIDATION.labels, predicted, 3).tolist()
    assert all(torch.equal(tuned.model[name], plain.model[name]) for name in plain.model)
    assert tuned.result["applied"]["finetune.smoothing_seconds"] == 4.0
    np.testing.assert_allclose(probabilities(tuned.model, settings, VALIDATION), tuned.probabilities, rtol=1e-5)


@pytest.mark.parametrize("kind", ["effective_number", "inverse_frequency", "none"])
def test_on_windows_all_alike_the_probabilities_become_the_weighted_shares(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    skewed = herd({0: 97, 1: 13, 2: 5}, seed=3)
    alike = dataclasses.replace(skewed, windows=np.zeros_like(skewed.windows))
    epoch = itertools.count()
    monkeypatch.setattr(finetuning, "macro_f1", lambda _: float(next(epoch)))  # the last epoch is kept
    settings = tiny(
        finetune__class_weights=kind,
        finetune__class_balance_beta=0.97,
        finetune__epochs=60,
        finetune__batch_size=115,
        finetune__learning_rate=0.02,
        finetune__weight_decay=0.0,
        finetune__dropout=0.0,
    )
    predicted = finetune(alike, alike, settings, seed=1).probabilities[0]
    counts = np.array([97, 13, 5])
    # weighted cross-entropy is least where each class has its weight times its count
    shares = counts * class_weights(counts, class_weights=kind, class_balance_beta=0.97)
    np.testing.assert_allclose(predicted, shares / shares.sum(), atol=0.01)


def test_classes_absent_from_training_or_validation_are_listed_and_harmless() -> None:
    classes = (*CLASSES, "trotting")
    train = herd({0: 23, 1: 19}, seed=1, classes=classes)
    validation = herd({1: 11, 2: 7}, seed=2, classes=classes)
    tuned = finetune(train, validation, tiny(), seed=1)
    assert tuned.result["absent"] == ["lying", "trotting"]
    assert np.isfinite(tuned.probabilities).all()
    assert tuned.probabilities.shape == (18, 4)
    assert np.asarray(tuned.result["confusion"]).sum(axis=1).tolist() == [0, 11, 7, 0]


def test_validation_is_scored_alike_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = finetune(TRAIN, VALIDATION, tiny(), seed=1)
    monkeypatch.setattr(bundle, "EVALUATION_BATCH", 5)
    parts = finetune(TRAIN, VALIDATION, tiny(), seed=1)
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, rtol=1e-5, atol=1e-6)


def test_a_frozen_encoder_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="must be trained where there are no pre-trained weights, got frozen"):
        finetune(TRAIN, VALIDATION, tiny(finetune__encoder="frozen"), seed=1)


def test_nothing_to_train_or_validate_on_is_refused() -> None:
    with pytest.raises(ValueError, match="windows to train on, got none"):
        finetune(TRAIN.of([]), VALIDATION, tiny(), seed=1)
    with pytest.raises(ValueError, match="windows to validate on, got none"):
        finetune(TRAIN, VALIDATION.of([]), tiny(), seed=1)


@pytest.mark.parametrize("batch_size", [32, 1000], ids=["in a later step", "in the epoch's only step"])
def test_an_absurd_learning_rate_is_an_error_with_the_way_out(batch_size: int) -> None:
    settings = tiny(finetune__learning_rate=1e30, finetune__batch_size=batch_size, finetune__epochs=1)
    with pytest.raises(ArithmeticError, match=r"lower finetune\.learning_rate"):
        finetune(TRAIN, VALIDATION, settings, seed=1)
