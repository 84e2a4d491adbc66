from __future__ import annotations

import math

import numpy as np
import pytest

from aar_ray.report.importance import FEWEST, coded, importances
from aar_ray.seeds import stream

NAMES = ("first", "second", "third", "fourth")


def drawn(trials: int, seed: int) -> tuple[list[dict[str, float]], np.ndarray]:
    draw = stream(seed, "test", "importance")
    return [dict(zip(NAMES, draw.uniform(size=4), strict=True)) for _ in range(trials)], draw.normal(size=trials)


def test_a_setting_that_explains_the_score_is_first_and_the_others_show_no_effect() -> None:
    settings, noise = drawn(60, 0)
    found = importances(settings, [one["third"] + 0.05 * error for one, error in zip(settings, noise, strict=True)])
    assert [one.name for one in found if one.shown] == ["third"]
    assert found[0].name == "third"


def test_noise_alone_shows_an_effect_in_few_studies() -> None:
    wrong = 0
    for seed in range(12):
        settings, noise = drawn(24, seed)
        wrong += any(one.shown for one in importances(settings, noise, seed))
    # one in twenty is expected; three or more of twelve has a chance of 2 %
    assert wrong < 3


def test_too_few_trials_or_equal_scores_say_nothing() -> None:
    settings, noise = drawn(FEWEST, 1)
    assert importances(settings[:-1], noise[:-1]) == []
    assert importances(settings, [0.5] * FEWEST) == []
    assert importances([{"first": 1}] * FEWEST, noise) == []


def test_the_same_trials_give_the_same_importance() -> None:
    settings, noise = drawn(FEWEST, 2)
    assert importances(settings, noise) == importances(settings, noise)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 4], [1, 2, 4]),
        ([1e-4, 1e-2], [-4, -2]),  # more than a decade
        ([0.0, 100.0], [0, 100]),
        (["frozen", "trained"], [0, 1]),
        ([None, 32], [-1, 0]),
        ([True, False], [1, 0]),
    ],
)
def test_values_are_coded_as_numbers(values: list[object], expected: list[float]) -> None:
    assert coded(values).tolist() == pytest.approx(expected)
    assert not any(math.isnan(value) for value in coded(values))
