"""The random forest's features, written out, and its scores."""

from __future__ import annotations

import cmath
import dataclasses
import itertools
import math

import numpy as np
import pytest
from training.toy import herd

from aar_ray.method.scores import confusion_matrix
from aar_ray.training.features import simple_features
from aar_ray.training.forest import forest_probabilities, forest_scores

TRAIN = herd({0: 41, 1: 23, 2: 11}, seed=1)
VALIDATION = herd({0: 13, 1: 11, 2: 7}, seed=2)


def written_out_features(series: list[float]) -> list[float]:
    length = len(series)
    mean = sum(series) / length
    ordered = sorted(series)
    magnitudes = [
        abs(sum(x * cmath.exp(-2j * math.pi * k * n / length) for n, x in enumerate(series))) for k in range(1, 13)
    ]
    return [
        mean,
        math.sqrt(sum((x - mean) ** 2 for x in series) / length),
        ordered[0],
        ordered[-1],
        (ordered[(length - 1) // 2] + ordered[length // 2]) / 2,
        sum(abs(b - a) for a, b in itertools.pairwise(series)) / (length - 1),
        *magnitudes,
    ]


@pytest.mark.parametrize("length", [50, 29], ids=["even", "odd"])
def test_features_are_the_eighteen_of_each_axis_in_turn(length: int) -> None:
    windows = np.random.default_rng(0).normal(size=(5, 3, length)).astype(np.float32)
    expected = [[value for axis in window for value in written_out_features(axis)] for window in windows.tolist()]
    features = simple_features(windows)
    assert features.shape == (5, 3 * 18)
    np.testing.assert_allclose(features, expected, rtol=1e-9, atol=1e-9)


def test_the_forest_tells_waves_apart_and_repeats_itself_on_any_number_of_processors() -> None:
    first = forest_scores(TRAIN, VALIDATION, seed=1)
    assert first["macro_f1"] > 0.9
    assert first == forest_scores(TRAIN, VALIDATION, seed=1, jobs=2)
    assert np.asarray(first["confusion"]).sum(axis=1).tolist() == [13, 11, 7]


def test_the_forest_depends_on_its_seed() -> None:
    rng = np.random.default_rng(0)
    noise = dataclasses.replace(TRAIN, windows=rng.normal(size=TRAIN.windows.shape).astype(np.float32))
    confusions = {str(forest_scores(noise, VALIDATION, seed=seed)["confusion"]) for seed in range(3)}
    assert len(confusions) > 1


def test_probabilities_are_those_that_the_scores_come_from_and_larger_leaves_blur_them() -> None:
    found = forest_probabilities(TRAIN, VALIDATION, seed=1)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    confusion = confusion_matrix(VALIDATION.labels, found.argmax(axis=1), 3)
    assert forest_scores(TRAIN, VALIDATION, seed=1)["confusion"] == confusion.tolist()
    blurred = forest_probabilities(TRAIN, VALIDATION, seed=1, smallest_leaf=10)
    assert blurred.max(axis=1).mean() < found.max(axis=1).mean()
    # behaviours keep their columns where one is absent from training
    assert (forest_probabilities(herd({0: 23, 2: 19}, seed=1), VALIDATION, seed=1)[:, 1] == 0).all()


def test_a_class_absent_from_training_is_never_predicted_and_still_counted() -> None:
    result = forest_scores(herd({0: 23, 1: 19}, seed=1), VALIDATION, seed=1)
    assert np.asarray(result["confusion"])[:, 2].sum() == 0
    assert result["per_class"]["walking"]["support"] == 7
