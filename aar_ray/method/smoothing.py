"""Probabilities of neighbouring windows averaged: an animal seldom changes its behaviour from one window to the next.

Not in the paper.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def smoothed(
    probabilities: NDArray[np.float32], recordings: NDArray[np.object_], starts: NDArray[np.float64], *, seconds: float
) -> NDArray[np.float32]:
    """For each window the mean over those of its recording that start at most `seconds` before or after it.

    Whatever behaviour they are of: labels have no part in it.

    Args:
        probabilities: [windows, classes], in any order.
        recordings: of each window.
        starts: of each window, seconds since its recording began.
        seconds: 0 leaves the probabilities as they are.

    Returns:
        [windows, classes], a new array.
    """
    if not seconds:
        return probabilities.copy()
    means = np.empty_like(probabilities)
    for name in sorted(set(recordings.astype(str))):
        own = np.flatnonzero(recordings.astype(str) == name)
        own = own[np.argsort(starts[own], kind="stable")]
        sums = np.zeros((len(own) + 1, probabilities.shape[1]))
        np.cumsum(probabilities[own], axis=0, dtype=np.float64, out=sums[1:])
        first = np.searchsorted(starts[own], starts[own] - seconds, side="left")
        last = np.searchsorted(starts[own], starts[own] + seconds, side="right")
        means[own] = (sums[last] - sums[first]) / (last - first)[:, None]
    return means
