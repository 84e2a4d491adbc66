"""Z-scores per axis, with statistics whose scope the caller chooses (METHOD row 17)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aar_ray.config import SMALLEST_DEVIATION

Scope = Literal["source", "recording", "window"]


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation per axis, float64 [3], or [n, 3] for n windows, in g."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def statistics_of(windows: NDArray[np.float32]) -> Statistics:
    """Statistics over all windows and samples.

    Args:
        windows: [n, 3, L] in g, n >= 1.

    Raises:
        ValueError: there is no window.
    """
    if not len(windows):
        raise ValueError("statistics need at least one window, got none")
    return Statistics(
        mean=windows.mean(axis=(0, 2), dtype=np.float64), deviation=windows.std(axis=(0, 2), dtype=np.float64)
    )


def zscore(windows: NDArray[np.float32], statistics: Statistics) -> NDArray[np.float32]:
    """(windows - mean) / deviation per axis; an axis without deviation becomes 0. [n, 3, L] float32, a new array."""
    mean, deviation = statistics.mean[:, None], statistics.deviation[:, None]
    varies = deviation > SMALLEST_DEVIATION
    scaled = (windows - mean.astype(np.float32)) / np.where(varies, deviation, 1).astype(np.float32)
    return np.asarray(np.where(varies, scaled, np.float32(0)), dtype=np.float32)


def zscore_windows(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each window by its own mean and deviation per axis; erases gravity and intensity. [n, 3, L] float32."""
    mean = windows.mean(axis=2, keepdims=True, dtype=np.float64)
    deviation = windows.std(axis=2, keepdims=True, dtype=np.float64)
    varies = deviation > SMALLEST_DEVIATION
    return np.where(varies, (windows - mean) / np.where(varies, deviation, 1), 0).astype(np.float32)
