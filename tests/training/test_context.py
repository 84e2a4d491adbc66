"""What is around a window: whose features are averaged, and that network and forest read them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from training.test_bundle import MODELS, in_float64, largest_difference, tuned
from training.test_finetune import TRAIN, VALIDATION, assert_same, some_encoder
from training.test_finetune_modes import in_g, three_animals
from training.toy import CLASSES, LENGTH, herd, tiny

from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.method.classifier import Context
from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.training.classify import probabilities
from aar_ray.training.features import FLOOR, in_context, logarithmic_features, simple_features
from aar_ray.training.finetune import Job, finetune, finetune_bundle
from aar_ray.training.forest import forest_features, forest_probabilities
from aar_ray.training.labels import chosen_labels

FORMS = ("mean", "own_mean_spread")


def test_a_context_is_the_mean_of_simple_features_over_the_neighbours_in_the_recording_whatever_their_label() -> None:
    labelled = three_animals()
    # all start at 0, 2, 4, ... seconds, so that only the recording tells neighbours apart
    found = in_context(labelled, context_seconds=5.0)
    features = simple_features(labelled.windows)
    assert found.context is not None
    for row in range(len(labelled)):
        near = (labelled.recordings == labelled.recordings[row]) & (
            np.abs(labelled.starts - labelled.starts[row]) <= 5.0
        )
        np.testing.assert_allclose(found.context[row], features[near].mean(axis=0), rtol=1e-9, atol=1e-9)
    assert found.context_size == features.shape[1]
    np.testing.assert_array_equal(found.windows, labelled.windows)


def test_where_all_windows_are_alike_the_context_is_the_windows_own_features() -> None:
    alike = dataclasses.replace(TRAIN, windows=np.repeat(TRAIN.windows[:1], len(TRAIN), axis=0))
    found = in_context(alike, context_seconds=30.0).context
    np.testing.assert_allclose(found, simple_features(alike.windows), rtol=1e-9, atol=1e-9)


def test_no_seconds_give_no_context_and_a_choice_of_windows_keeps_theirs() -> None:
    assert in_context(TRAIN, context_seconds=0.0) is TRAIN
    whole = in_context(TRAIN, context_seconds=6.0)
    chosen = np.array([5, 3, 60])
    assert whole.context is not None
    np.testing.assert_array_equal(whole.at(chosen).context, whole.context[chosen])


def test_the_other_form_is_the_windows_own_features_their_mean_and_their_spread_with_logarithms() -> None:
    labelled = three_animals()
    found = in_context(labelled, context_seconds=5.0, context_form="own_mean_spread").context
    features = logarithmic_features(labelled.windows)
    assert found is not None
    own, mean, spread = np.split(found, 3, axis=1)
    np.testing.assert_array_equal(own, features)
    for row in range(len(labelled)):
        near = (labelled.recordings == labelled.recordings[row]) & (
            np.abs(labelled.starts - labelled.starts[row]) <= 5.0
        )
        np.testing.assert_allclose(mean[row], features[near].mean(axis=0), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(spread[row], features[near].std(axis=0), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("length", [LENGTH, 50])
def test_a_logarithm_is_taken_of_all_features_that_are_never_negative_and_of_no_other(length: int) -> None:
    rng = np.random.default_rng(1)
    windows = (rng.normal(size=(200, 3, length)) + rng.normal(scale=9, size=(200, 3, 1))).astype(np.float32)
    plain, found = simple_features(windows), logarithmic_features(windows)
    never_negative = (plain >= 0).all(axis=0)
    assert never_negative.sum() == 3 * (2 + min(12, length // 2))
    np.testing.assert_allclose(np.exp(found[:, never_negative]), plain[:, never_negative] + FLOOR)
    np.testing.assert_array_equal(found[:, ~never_negative], plain[:, ~never_negative])
    assert np.isfinite(logarithmic_features(np.zeros_like(windows))).all()


def test_without_seconds_a_context_has_no_form() -> None:
    assert tiny(finetune__context_form="own_mean_spread").finetune.context == {"context_seconds": 0.0}
    given = {"context_seconds": 4.0, "context_form": "own_mean_spread"}
    settings = tiny(**{f"finetune__{name}": value for name, value in given.items()})
    assert settings.finetune.context == given


def noise(labelled: LabelledWindows, *, seed: int) -> LabelledWindows:
    """The same labels on windows that know nothing of them."""
    windows = np.random.default_rng(seed).normal(size=labelled.windows.shape).astype(np.float32)
    return dataclasses.replace(labelled, windows=windows)


def hidden_between(seed: int) -> LabelledWindows:
    """Labelled windows of noise, each followed by one of class 2 that tells by its size which class the other is of."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], 40).astype(np.int64)
    silent, telling = rng.normal(size=(2, 80, 3, LENGTH)).astype(np.float32)
    telling *= (1 + 4 * labels)[:, None, None]
    names = np.array([f"animal {seed}"] * 160, dtype=object)
    return LabelledWindows(
        windows=np.concatenate([silent, telling]),
        labels=np.concatenate([labels, np.full(80, 2)]),
        classes=CLASSES,
        subjects=names,
        recordings=names,
        starts=np.concatenate([100.0 * np.arange(80), 100.0 * np.arange(80) + 2.0]),
    )


def share_right(found: np.ndarray, labelled: LabelledWindows) -> float:
    """Of the windows of noise, by which of their two classes is the likelier."""
    own = labelled.labels < 2
    return float((found[own, :2].argmax(axis=1) == labelled.labels[own]).mean())


@pytest.mark.parametrize("form", FORMS)
def test_network_and_forest_read_off_the_neighbours_what_the_window_itself_does_not_say(form: str) -> None:
    train, validation = hidden_between(1), hidden_between(2)
    blind, seeing = (
        tiny(
            finetune__epochs=8,
            finetune__selection="last",
            finetune__context_seconds=seconds,
            finetune__context_form=form,
        )
        for seconds in (0.0, 4.0)
    )
    for settings, lowest, highest in ((blind, 0.0, 0.7), (seeing, 0.9, 1.0)):
        network = finetune(train, validation, settings, seed=1).probabilities
        pair = (in_context(one, **settings.finetune.context) for one in (train, validation))
        forest = forest_probabilities(*pair, seed=1)
        for found in (network, forest):
            assert lowest <= share_right(found, validation) <= highest


def test_neighbours_whose_labels_are_not_used_are_in_the_context_all_the_same() -> None:
    labelled = three_animals()
    settings = tiny(finetune__label_share=0.2, finetune__context_seconds=8.0)
    few = chosen_labels(labelled, label_share=0.2, label_animals=None, seed=1)
    ours = finetune(labelled, VALIDATION, settings, seed=1)
    theirs = finetune(few, VALIDATION, tiny(finetune__context_seconds=8.0), seed=1)
    assert ours.result["epochs"] != theirs.result["epochs"]
    # another window whose label is not used changes the context of a window whose label is
    unused = np.setdiff1d(labelled.starts[:31], few.starts[few.recordings == labelled.recordings[0]])
    row = int(np.flatnonzero(labelled.starts[:31] == unused[3])[0])
    windows = labelled.windows.copy()
    windows[row] *= 9
    other = finetune(dataclasses.replace(labelled, windows=windows), VALIDATION, settings, seed=1)
    assert other.result["epochs"] != ours.result["epochs"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_members_with_contexts_of_several_lengths_are_what_they_would_be_alone(
    changes: dict[str, Any], form: str
) -> None:
    changes = {**changes, "finetune__context_form": form}
    encoder = some_encoder() if changes.get("finetune__encoder") else None
    validation = in_float64(VALIDATION)
    made = [
        Job(in_float64(herd({0: 23, 1: 17, 2: 5}, seed=number)), validation, settings, seed, encoder)
        for number in (1, 2)
        for seed in (1, 2)
        for settings in (tiny(finetune__context_seconds=seconds, **changes) for seconds in (4.0, 10.0))
    ]
    together = tuned(finetune_bundle(made))
    for job, member in list(zip(made, together, strict=True))[::3]:
        (alone,) = tuned(finetune_bundle([job]))
        assert largest_difference(member, alone) <= 1e-10
    assert together[0].result["epochs"] != together[1].result["epochs"]


@pytest.mark.parametrize("one", [{"finetune__context_seconds": 0.0}, {"finetune__context_form": "own_mean_spread"}])
def test_windows_with_and_without_a_context_or_with_other_ones_make_two_bundles(one: dict[str, Any]) -> None:
    other = {"finetune__context_seconds": 4.0}
    jobs = [Job(TRAIN, VALIDATION, tiny(**changes), 1) for changes in (other, other | one)]
    with pytest.raises(ValueError, match="agree in the form of a context; make two bundles"):
        finetune_bundle(jobs)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("encoder", ["trained", "frozen"])
def test_a_classifier_with_a_context_is_the_same_when_it_is_read_again(encoder: str, form: str) -> None:
    settings = tiny(finetune__encoder=encoder, finetune__context_seconds=6.0, finetune__context_form=form)
    made = finetune(TRAIN, VALIDATION, settings, seed=1, encoder=some_encoder())
    again = probabilities(made.model, settings, VALIDATION)
    np.testing.assert_allclose(again, made.probabilities, rtol=1e-5, atol=1e-6)
    assert made.result["applied"]["finetune.context_seconds"] == 6.0
    assert made.result["applied"]["finetune.context_form"] == form


def test_the_contexts_scale_has_no_part() -> None:
    plain = in_context(in_g(), context_seconds=6.0)
    assert plain.context is not None
    contexts = torch.as_tensor(plain.context)
    module = Context(plain.context_size, 5).double()
    module.standardise(contexts)
    first = module(contexts)
    module.standardise(1e3 * contexts + 7)
    torch.testing.assert_close(module(1e3 * contexts + 7), first)


def test_the_forests_features_are_the_windows_own_and_then_those_around_it() -> None:
    own = simple_features(TRAIN.windows)
    np.testing.assert_array_equal(forest_features(TRAIN), own)
    around = in_context(TRAIN, context_seconds=4.0)
    assert around.context is not None
    np.testing.assert_array_equal(forest_features(around), np.concatenate([own, around.context], axis=1))


def test_no_context_is_the_former_classifier() -> None:
    plain = finetune(TRAIN, VALIDATION, tiny(), seed=1)
    unseen = tiny(finetune__context_seconds=0.0, finetune__context_form="own_mean_spread")
    assert_same(finetune(TRAIN, VALIDATION, unseen, seed=1), plain)
    assert not [name for name in plain.model if "context" in name]
    assert PatchTSTEncoder(LENGTH, **dict(tiny().patchtst)).state_dict().keys() == {
        name.removeprefix("encoder.") for name in plain.model if name.startswith("encoder.")
    }
