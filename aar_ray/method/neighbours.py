"""What windows say together with those close by: an animal seldom changes its behaviour from one to the next.

Not in the paper. Of probabilities their mean is smoothing; of features mean and spread are a window's context.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Values = TypeVar("Values", NDArray[np.float32], NDArray[np.float64])


def neighbour_mean(
    values: Values, recordings: NDArray[np.object_], starts: NDArray[np.float64], *, seconds: float
) -> Values:
    """For each window the mean over those of its recording that start at most `seconds` before or after it.

    The window itself is among them. Labels have no part in it.

    Args:
        values: [windows, columns], in any order of windows.
        recordings: of each window.
        starts: of each window, seconds since its recording began.
        seconds: 0 leaves the values as they are.

    Returns:
        [windows, columns], a new array.
    """
    if not seconds:
        return values.copy()
    means = np.empty_like(values)
    for name in sorted(set(recordings.astype(str))):
        own = np.flatnonzero(recordings.astype(str) == name)
        own = own[np.argsort(starts[own], kind="stable")]
        sums = np.zeros((len(own) + 1, values.shape[1]))
        np.cumsum(values[own], axis=0, dtype=np.float64, out=sums[1:])
        first = np.searchsorted(starts[own], starts[own] - seconds, side="left")
        last = np.searchsorted(starts[own], starts[own] + seconds, side="right")
        means[own] = (sums[last] - sums[first]) / (last - first)[:, None]
    return means


def neighbour_spread(
    values: NDArray[np.float64], recordings: NDArray[np.object_], starts: NDArray[np.float64], *, seconds: float
) -> NDArray[np.float64]:
    """The standard deviation over the same windows, sqrt(mean of squares - square of the mean): [windows, columns].

    Args:
        values, recordings, starts, seconds: see `neighbour_mean`.
    """
    # squares of what is left beside a common part would lose their digits
    centred = values - values.mean(axis=0)
    mean = neighbour_mean(centred, recordings, starts, seconds=seconds)
    squares = neighbour_mean(centred**2, recordings, starts, seconds=seconds)
    return np.sqrt(np.maximum(squares - mean**2, 0))
