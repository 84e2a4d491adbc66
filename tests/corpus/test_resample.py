"""Resampling: flat where it should pass, silent where it would alias, right in time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from aar_ray.corpus.resample import filter_for, nearest_old, resample, resampler


def sine(rate_hz: float, frequency_hz: float, seconds: float = 40.0) -> np.ndarray:
    moments = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.sin(2 * np.pi * frequency_hz * moments)[:, None] + np.ones((1, 3))


def gain_db(rate_hz: float, frequency_hz: float, new_rate_hz: float = 25.0) -> float:
    """Amplitude after resampling over amplitude before, away from the ends."""
    middle = resample(sine(rate_hz, frequency_hz), rate_hz, new_rate_hz)[200:-200, 0] - 1
    return float(20 * np.log10(middle.std() * np.sqrt(2) + 1e-300))


@pytest.mark.parametrize("rate_hz", [50.0, 100.0])
@pytest.mark.parametrize("frequency_hz", [0.5, 2.0, 5.0, 8.0])
def test_down_is_flat_to_a_tenth_of_a_decibel_up_to_8_hz(rate_hz: float, frequency_hz: float) -> None:
    assert abs(gain_db(rate_hz, frequency_hz)) < 0.1


@pytest.mark.parametrize("rate_hz", [50.0, 62.5, 100.0])
@pytest.mark.parametrize("frequency_hz", [12.6, 17.0, 23.0, 24.9])
def test_what_would_alias_is_at_least_40_decibels_down(rate_hz: float, frequency_hz: float) -> None:
    # 17 Hz would come back as 8 Hz at 25 samples a second
    assert gain_db(rate_hz, frequency_hz) < -40


@pytest.mark.parametrize("rate_hz", [10.0, 10.54, 12.5])
def test_up_meets_a_slow_sine_in_value_and_time(rate_hz: float) -> None:
    up = resample(sine(rate_hz, 1.0), rate_hz, 25.0)
    exact = sine(25.0, 1.0, seconds=60.0)[: len(up)]
    assert np.abs(up - exact)[25:-25].max() < 0.02


@pytest.mark.parametrize("rate_hz", [50.0, 100.0])
def test_down_keeps_a_slow_sine_in_time(rate_hz: float) -> None:
    down = resample(sine(rate_hz, 1.0), rate_hz, 25.0)
    exact = sine(25.0, 1.0, seconds=60.0)[: len(down)]
    assert np.abs(down - exact)[25:-25].max() < 0.01


@pytest.mark.parametrize("rate_hz", [10.0, 10.54, 12.5, 50.0, 100.0])
def test_a_still_sensor_stays_still_up_to_its_ends(rate_hz: float) -> None:
    still = np.full((331, 3), (0.1, -0.3, 0.95))
    assert np.allclose(resample(still, rate_hz, 25.0), still[0], atol=1e-3)


@settings(deadline=None)
@given(st.integers(2, 400), st.sampled_from([5.0, 10.0, 10.54, 12.5, 31.25, 50.0, 100.0]))
def test_length_covers_the_recording_to_half_an_old_sample(count: int, rate_hz: float) -> None:
    new = len(resample(np.zeros((count, 3)), rate_hz, 25.0))
    # the last new moment is no more than half an old period after the last old one
    assert (new - 1) / 25 <= (count - 0.5) / rate_hz + 1e-6
    assert new / 25 > (count - 0.5) / rate_hz - 1e-6


def test_equal_rates_change_nothing() -> None:
    samples = np.random.default_rng(0).normal(size=(37, 3))
    assert resample(samples, 25.0, 25.0) is samples


def test_labels_follow_their_moments() -> None:
    labels = np.array(["a"] * 200 + ["b"] * 200, dtype=object)
    assert list(labels[nearest_old(0, 100, 100.0, 25.0, 400)]) == ["a"] * 50 + ["b"] * 50


def test_up_is_exact_for_a_cubic() -> None:
    seconds, moments = np.arange(40) / 10.54, np.arange(90) / 25
    cubic = np.stack([seconds**3, seconds**2, 1 - seconds], axis=1)
    up = resample(cubic, 10.54, 25.0)
    assert up[:90] == pytest.approx(np.stack([moments**3, moments**2, 1 - moments], axis=1))


@pytest.mark.parametrize("rate_hz", [10.0, 10.54, 62.5])
def test_each_label_is_that_of_an_old_sample_nearest_in_time(rate_hz: float) -> None:
    count = 90
    labels = np.array(["a", None, "b"], dtype=object)[np.arange(count) // 7 % 3]
    news = len(resample(np.zeros((count, 3)), rate_hz, 25.0))
    for new, label in enumerate(labels[nearest_old(0, news, rate_hz, 25.0, count)]):
        distances = np.abs(np.arange(count) / rate_hz - new / 25)
        assert label in labels[distances <= distances.min() + 1e-9]


def test_rates_too_far_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="factor of at most 1000, got 90000 to 25 Hz"):
        resample(np.zeros((100, 3)), 90000.0, 25.0)


RATES = st.sampled_from([5.0, 10.54, 25.0, 31.25, 33.3, 50.0, 100.0, 800.0])


@settings(deadline=None)
@given(st.integers(2, 700), st.sampled_from([(31.25, 4, 5), (40.0, 5, 8), (50.0, 1, 2), (100.0, 1, 4), (800.0, 1, 32)]))
def test_down_is_the_filter_of_scipy_with_reflected_ends(count: int, rates: tuple[float, int, int]) -> None:
    rate_hz, up, down = rates
    samples = np.random.default_rng(count).normal(1, 0.3, (count, 3))
    expected = resample_poly(samples, up, down, 0, filter_for(rate_hz, 25.0), "antireflect")  # type: ignore[call-overload]
    found = resample(samples, rate_hz, 25.0)
    assert np.abs(found - expected[: len(found)]).max() < 1e-12


@settings(deadline=None)
@given(RATES, st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_pieces_of_any_length_become_the_same_samples(rate_hz: float, lengths: list[int]) -> None:
    samples = np.random.default_rng(0).normal(1, 0.3, (sum(lengths), 3))
    stream, ends = resampler(rate_hz, 25.0), np.cumsum(lengths)
    pieces = [stream.add(one, last=False) for one in np.split(samples, ends[:-1])]
    pieces.append(stream.add(samples[:0], last=True))
    expected = resample(samples, rate_hz, 25.0)
    assert sum(map(len, pieces)) == len(expected)
    assert np.allclose(np.concatenate(pieces), expected, rtol=0, atol=1e-12)
