"""Bring a recording to the study's rate: cubic interpolation up, anti-aliased polyphase filtering down."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.signal import firwin, kaiserord, resample_poly

from aar_ray.corpus.recording import Recording

PASSED = 0.8
"""Share of the new Nyquist frequency that a lower rate keeps: 10 of 12.5 Hz."""
STOPBAND_DECIBELS = 60.0
"""Attenuation of all that would alias."""
LARGEST_DENOMINATOR = 1000
"""Of the rational ratio of rates: any ratio of 0.001 to 1 is met to one sample in a million."""


def resample(samples: NDArray[np.float64], rate_hz: float, new_rate_hz: float) -> NDArray[np.float64]:
    """Samples at another rate, the first at the same moment.

    Args:
        samples: [T, axes], finite.
        rate_hz: samples a second now.
        new_rate_hz: samples a second wanted.

    Returns:
        [n, axes]: every new moment to which an old sample is nearest, n = floor((T - 1/2) new_rate_hz / rate_hz) + 1.
        Up, a moment after the last sample (at most half an old period) repeats it. Down, the ends are continued by
        point reflection, as a recording starts at about 1 g and zeros there would ring.

    Raises:
        ValueError: the new rate is less than a thousandth of the old one.
    """
    if math.isclose(rate_hz, new_rate_hz, rel_tol=1e-9) or len(samples) < 2:
        return samples
    count = _new_length(len(samples), rate_hz, new_rate_hz)
    if new_rate_hz > rate_hz:
        moments = np.minimum(np.arange(count) * (rate_hz / new_rate_hz), len(samples) - 1)
        return np.asarray(CubicSpline(np.arange(len(samples)), samples)(moments), dtype=np.float64)
    ratio = _ratio(rate_hz, new_rate_hz)
    up, down = ratio.numerator, ratio.denominator
    if up == 0:
        raise ValueError(
            f"rates may differ by a factor of at most {LARGEST_DENOMINATOR}, got {rate_hz:g} to {new_rate_hz:g} Hz"
        )
    resampled = resample_poly(samples, up, down, 0, filter_for(rate_hz, new_rate_hz), "antireflect")  # type: ignore[call-overload]
    return np.asarray(resampled[:count], dtype=np.float64)


@cache
def filter_for(rate_hz: float, new_rate_hz: float) -> NDArray[np.float64]:
    """Linear-phase filter (Kaiser) from a rate to a lower one, for the rate between that both divide.

    Its stopband begins at the Nyquist frequency of the new rate.
    """
    factor = _ratio(rate_hz, new_rate_hz).denominator
    width = (1 - PASSED) / factor
    taps, beta = kaiserord(STOPBAND_DECIBELS, width)
    # an odd length has a whole delay, so the first sample stays where it was
    return np.asarray(firwin(taps | 1, (1 + PASSED) / 2 / factor, window=("kaiser", beta)), dtype=np.float64)


def _ratio(rate_hz: float, new_rate_hz: float) -> Fraction:
    return Fraction(new_rate_hz / rate_hz).limit_denominator(LARGEST_DENOMINATOR)


def _new_length(count: int, rate_hz: float, new_rate_hz: float) -> int:
    return math.floor((count - 0.5) * new_rate_hz / rate_hz + 1e-6) + 1


def at_rate(recording: Recording, rate_hz: float) -> Recording:
    """The recording at another rate; each new sample takes the label of the old one nearest in time."""
    samples = resample(recording.samples, recording.rate_hz, rate_hz)
    if samples is recording.samples:
        return recording if recording.rate_hz == rate_hz else replace(recording, rate_hz=rate_hz)
    labels = recording.labels
    if labels is not None:
        nearest = np.rint(np.arange(len(samples)) * (recording.rate_hz / rate_hz)).astype(np.intp)
        labels = labels[np.minimum(nearest, len(labels) - 1)]
    return replace(recording, rate_hz=rate_hz, samples=samples, labels=labels)
