"""Bring a recording to the study's rate: cubic interpolation up, anti-aliased polyphase filtering down.

A recording may come in pieces. What it becomes does not depend on where they end: a new sample is given once all old
ones that it depends on are there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.signal import firwin, kaiserord

PASSED = 0.8
"""Share of the new Nyquist frequency that a lower rate keeps: 10 of 12.5 Hz."""
STOPBAND_DECIBELS = 60.0
"""Attenuation of all that would alias."""
LARGEST_DENOMINATOR = 1000
"""Of the rational ratio of rates: any ratio of 0.001 to 1 is met to one sample in a million."""
BLOCK = 64
"""Old samples, about, that a row of the filter's matrices takes: enough for a fast product."""
SPLINE_REACH = 32
"""Samples after which one has no influence on a cubic spline: each takes a factor of 0.27."""


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
    return resampler(rate_hz, new_rate_hz).add(samples, last=True)


class Same:
    """Equal rates: samples pass."""

    def add(self, samples: NDArray[np.float64], *, last: bool) -> NDArray[np.float64]:
        """See `Filter.add`."""
        return samples


class Spline:
    """To a higher rate."""

    def __init__(self, rate_hz: float, new_rate_hz: float) -> None:
        self.rate_hz, self.new_rate_hz = rate_hz, new_rate_hz
        self._old: NDArray[np.float64] | None = None
        self._first = self._given = 0

    def add(self, samples: NDArray[np.float64], *, last: bool) -> NDArray[np.float64]:
        """See `Filter.add`."""
        old = samples if self._old is None else np.concatenate([self._old, samples])
        ratio = self.new_rate_hz / self.rate_hz
        seen = self._first + len(old)
        until = new_length(seen, self.rate_hz, self.new_rate_hz)
        if not last:
            until = max(self._given, math.floor((seen - 1 - SPLINE_REACH) * ratio))
        moments = np.minimum(np.arange(self._given, until) / ratio - self._first, len(old) - 1)
        made = old[: len(moments)]
        if len(moments) and len(old) > 1:
            made = np.asarray(CubicSpline(np.arange(len(old)), old)(moments), dtype=np.float64)
        unneeded = max(0, math.floor(until / ratio) - SPLINE_REACH - self._first)
        self._old, self._first, self._given = old[unneeded:], self._first + unneeded, until
        return made


class Filter:
    """To a lower rate: a matrix product for each block of old samples."""

    def __init__(self, rate_hz: float, new_rate_hz: float) -> None:
        self.rate_hz, self.new_rate_hz = rate_hz, new_rate_hz
        self._bank = bank_for(rate_hz, new_rate_hz)
        self._old: NDArray[np.float64] | None = None
        """[axes, t]: old samples from the first on that a new one needs, with the reflected ones before them."""
        self._begun = False
        self._seen = self._given = 0

    def add(self, samples: NDArray[np.float64], *, last: bool) -> NDArray[np.float64]:
        """Take the recording's next samples, and give all new ones that are settled.

        Args:
            samples: [t, axes], finite.
            last: none follow, so that all that is left is given.

        Returns:
            [n, axes].
        """
        axes = samples.T
        old = axes if self._old is None else np.concatenate([self._old, axes], axis=1)
        self._seen += len(samples)
        old = self._continued(old, last=last)
        matrices, block = self._bank.matrices, self._bank.block
        count = max(0, old.shape[1] // block - len(matrices) + 1) if self._begun else 0
        made = np.zeros((len(old), count, matrices.shape[2]))
        if count:
            blocks = old[:, : (count + len(matrices) - 1) * block].reshape(len(old), -1, block)
            for number, matrix in enumerate(matrices):
                made += blocks[:, number : number + count] @ matrix
        self._old = old[:, count * block :]
        found = made.reshape(len(old), -1).T
        if last:
            found = found[: new_length(self._seen, self.rate_hz, self.new_rate_hz) - self._given]
        self._given += len(found)
        return found

    def _continued(self, old: NDArray[np.float64], *, last: bool) -> NDArray[np.float64]:
        """With the ends reflected, and filled up to whole blocks."""
        if not old.shape[1]:
            return old
        around = self._bank.around
        before = 0 if self._begun or not (last or old.shape[1] > around) else around
        if before and not last:
            head = np.pad(old[:, : around + 1], ((0, 0), (around, 0)), "reflect", reflect_type="odd")
            old = np.concatenate([head[:, :around], old], axis=1)
        elif last:
            # the last new moment may lie up to half an old period after the last old one
            old = np.pad(old, ((0, 0), (before, around + 1)), "reflect", reflect_type="odd")
            # what the last block holds beyond the recording's end is cut off again
            old = np.pad(old, ((0, 0), (0, len(self._bank.matrices) * self._bank.block)))
        self._begun = self._begun or bool(before) or last
        return old


Resampler = Same | Spline | Filter


def resampler(rate_hz: float, new_rate_hz: float) -> Resampler:
    """What brings one recording to another rate, piece by piece.

    Raises:
        ValueError: the new rate is less than a thousandth of the old one.
    """
    if math.isclose(rate_hz, new_rate_hz, rel_tol=1e-9):
        return Same()
    if new_rate_hz > rate_hz:
        return Spline(rate_hz, new_rate_hz)
    if _ratio(rate_hz, new_rate_hz).numerator == 0:
        raise ValueError(
            f"rates may differ by a factor of at most {LARGEST_DENOMINATOR}, got {rate_hz:g} to {new_rate_hz:g} Hz"
        )
    return Filter(rate_hz, new_rate_hz)


@dataclass(frozen=True)
class Bank:
    """A filter as matrices: a block of new samples is the sum of neighbouring blocks of old ones, times one each."""

    matrices: NDArray[np.float64]
    """[neighbours, old samples of a block, new samples of a block]."""
    block: int
    """Old samples."""
    around: int
    """Old samples on either side that a new one depends on."""


@cache
def bank_for(rate_hz: float, new_rate_hz: float) -> Bank:
    """The filter from a rate to a lower one.

    New sample j is the sum over old samples i of up * h[j down + (taps - 1) / 2 - i up] x[i]: the same numbers for
    each block of `down` old and `up` new samples, so that a block's are one matrix.
    """
    ratio, taps = _ratio(rate_hz, new_rate_hz), filter_for(rate_hz, new_rate_hz)
    up, down, half = ratio.numerator, ratio.denominator, len(taps) // 2
    times = math.ceil(BLOCK / down)
    block, new, around = times * down, times * up, half // up
    neighbours = math.ceil((((new - 1) * down + half) // up + around + 1) / block)
    at = np.arange(new) * down + half - (np.arange(neighbours * block)[:, None] - around) * up
    inside = (at >= 0) & (at < len(taps))
    dense = np.where(inside, up * taps[np.where(inside, at, 0)], 0.0)
    return Bank(dense.reshape(neighbours, block, new), block, around)


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


def new_length(count: int, rate_hz: float, new_rate_hz: float) -> int:
    """How many new samples `count` old ones give; none for none."""
    return math.floor((count - 0.5) * new_rate_hz / rate_hz + 1e-6) + 1 if count > 1 else count


def nearest_old(first: int, after: int, rate_hz: float, new_rate_hz: float, count: int) -> NDArray[np.intp]:
    """Of each new sample from `first` to before `after`, the nearest in time of `count` old ones."""
    nearest = np.rint(np.arange(first, after) * (rate_hz / new_rate_hz)).astype(np.intp)
    return np.asarray(np.minimum(nearest, count - 1), dtype=np.intp)
