"""The Gaussian process over settings: its cube, what it says where it knows, and which settings matter."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aar_ray.search.surrogate import Cube, GaussianProcess, expected_improvement
from aar_ray.seeds import stream

CUBE = Cube([None, None, 3])


def test_near_points_differ_in_one_or_two_free_coordinates() -> None:
    point = np.array([0.4, 0.5, 0.9])
    near = CUBE.near(stream(1, "near"), point, 50, free=[0, 1])
    assert (near[:, 2] == point[2]).all()
    moved = (near != point).sum(axis=1)
    assert set(moved) == {1, 2}
    assert near.min() >= 0
    assert near.max() <= 1


def test_choices_are_equally_far_from_each_other_and_ranges_by_their_shares() -> None:
    numbers, _, choices = CUBE.blocks(np.array([[0.1, 0.0, 0.1], [0.4, 0.0, 0.5], [0.9, 0.0, 1.0]]))
    apart = np.linalg.norm(choices[:, None] - choices[None], axis=-1)
    np.testing.assert_allclose(apart[np.triu_indices(3, 1)], 0.7)
    assert numbers.ravel().tolist() == [0.1, 0.4, 0.9]


LINE = Cube([None, None])


def fitted(count: int = 40, noise: float = 0.0) -> tuple[GaussianProcess, np.ndarray]:
    draw = stream(3, "scores")
    points = LINE.random(draw, count)
    values = np.sin(6 * points[:, 0]) + noise * draw.normal(size=count)
    return GaussianProcess(LINE, points, values, np.ones(count)), points


def test_it_says_what_it_was_told_and_is_unsure_far_away() -> None:
    process, points = fitted()
    mean, deviation = process.predict(points)
    np.testing.assert_allclose(mean, np.sin(6 * points[:, 0]), atol=0.05)
    left = points[:, 0] < 0.3
    half = GaussianProcess(LINE, points[left], np.sin(6 * points[left, 0]), np.ones(int(left.sum())))
    assert half.predict(np.array([[1.0, 0.5]]))[1][0] > 3 * half.predict(points[left])[1].max()
    assert deviation.max() < 0.2


def test_a_setting_without_effect_gets_a_longer_scale() -> None:
    process, _ = fitted(noise=0.05)
    assert process.scales[1] > 2 * process.scales[0]


def test_more_folds_make_a_score_count_more() -> None:
    points = np.array([[0.5, 0.5], [0.5, 0.5], [0.0, 0.0], [1.0, 1.0]])
    values, at = np.array([1.0, 0.0, 0.4, 0.6]), np.array([[0.5, 0.5]])
    upwards = GaussianProcess(LINE, points, values, np.array([9.0, 1.0, 1.0, 1.0])).predict(at)[0][0]
    downwards = GaussianProcess(LINE, points, values, np.array([1.0, 9.0, 1.0, 1.0])).predict(at)[0][0]
    assert upwards > 0.5 > downwards


def test_scores_that_are_awaited_make_their_place_surer_and_move_nothing() -> None:
    process, _ = fitted(count=6)
    at = np.array([[0.93, 0.2]])
    before, after = process.predict(at), process.extended(at, process.predict(at)[0]).predict(at)
    assert after[0] == pytest.approx(before[0])
    assert after[1] < before[1]


def test_a_mean_over_all_folds_keeps_those_that_are_there_and_predicts_the_rest() -> None:
    process, points = fitted(noise=0.3)
    values = np.array([3.0, 3.0, 3.0])
    means, deviations = process.of_mean(points[:3], values, np.array([5.0, 4.0, 1.0]), 5)
    predicted, unsure = process.predict(points[:3])
    np.testing.assert_allclose(means, [3.0, (4 * 3 + predicted[1]) / 5, (3 + 4 * predicted[2]) / 5])
    assert deviations[0] == 0
    # the mean of the missing folds: what the setting is, and their own noise
    draw = stream(3, "folds")
    noise = process.noise * process.scale**2
    missing = predicted[2] + unsure[2] * draw.normal(size=200_000)
    missing += np.sqrt(noise) * draw.normal(size=(200_000, 4)).mean(axis=1)
    assert deviations[2] == pytest.approx(np.std((3 + 4 * missing) / 5), rel=0.02)


@pytest.mark.parametrize(("mean", "deviation", "best"), [(0.3, 0.2, 0.5), (0.9, 0.01, 0.5), (0.5, 1.0, 0.5)])
def test_expected_improvement_is_the_integral(mean: float, deviation: float, best: float) -> None:
    grid = np.linspace(mean - 9 * deviation, mean + 9 * deviation, 200_001)
    density = np.exp(-0.5 * ((grid - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
    integral = np.trapezoid(np.maximum(grid - best, 0) * density, grid)
    found = expected_improvement(np.array([mean]), np.array([deviation]), best)
    assert found[0] == pytest.approx(integral, rel=1e-5)


def test_equal_scores_are_no_error() -> None:
    process = GaussianProcess(LINE, LINE.random(stream(1, "equal"), 5), np.full(5, 0.4), np.ones(5))
    assert process.predict(np.array([[0.5, 0.5]]))[0] == pytest.approx(0.4)
