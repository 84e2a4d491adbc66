"""Mean and spread over neighbours against a double loop, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from aar_ray.method.neighbours import neighbour_mean, neighbour_spread


def draw() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of 41 windows of two recordings, in disorder, with a gap in each."""
    rng = np.random.default_rng(1)
    recordings = np.array(["north", "south"], dtype=object)[rng.integers(0, 2, 41)]
    starts = 2.0 * rng.permutation(41) + np.where(rng.random(41) < 0.5, 60.0, 0.0)
    return rng.dirichlet(np.ones(3), 41).astype(np.float32), recordings, starts


@pytest.mark.parametrize("seconds", [2.0, 4.0, 9.0])
def test_it_is_the_mean_over_the_windows_that_start_close_by_in_the_same_recording(seconds: float) -> None:
    probabilities, recordings, starts = draw()
    found = neighbour_mean(probabilities, recordings, starts, seconds=seconds)
    for row in range(41):
        near = [
            other
            for other in range(41)
            if recordings[other] == recordings[row] and abs(starts[other] - starts[row]) <= seconds
        ]
        np.testing.assert_allclose(found[row], probabilities[near].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert found.dtype == probabilities.dtype


def test_neither_the_order_nor_another_recording_has_a_part() -> None:
    probabilities, recordings, starts = draw()
    found = neighbour_mean(probabilities, recordings, starts, seconds=6.0)
    order = np.random.default_rng(2).permutation(41)
    again = neighbour_mean(probabilities[order], recordings[order], starts[order], seconds=6.0)
    np.testing.assert_allclose(again, found[order], rtol=1e-5)
    own = recordings == "north"
    alone = neighbour_mean(probabilities[own], recordings[own], starts[own], seconds=6.0)
    np.testing.assert_allclose(alone, found[own], rtol=1e-5)


def test_no_seconds_leave_them_and_many_give_the_mean_of_the_recording() -> None:
    probabilities, recordings, starts = draw()
    np.testing.assert_array_equal(neighbour_mean(probabilities, recordings, starts, seconds=0.0), probabilities)
    found = neighbour_mean(probabilities, recordings, starts, seconds=1e6)
    for name in ("north", "south"):
        mean = probabilities[recordings == name].mean(axis=0)
        np.testing.assert_allclose(found[recordings == name], np.tile(mean, (sum(recordings == name), 1)), rtol=1e-5)


@pytest.mark.parametrize("offset", [0.0, -1e6])
def test_the_spread_is_the_deviation_over_the_same_windows_wherever_the_values_lie(offset: float) -> None:
    values, recordings, starts = draw()
    found = neighbour_spread(values.astype(np.float64) + offset, recordings, starts, seconds=6.0)
    for row in range(41):
        near = (recordings == recordings[row]) & (np.abs(starts - starts[row]) <= 6.0)
        np.testing.assert_allclose(found[row], values[near].std(axis=0, dtype=np.float64), atol=1e-7)


def test_a_window_without_neighbours_has_no_spread() -> None:
    values, recordings, starts = draw()
    found = neighbour_spread(values.astype(np.float64), recordings, starts, seconds=0.0)
    np.testing.assert_allclose(found, 0, atol=1e-7)
