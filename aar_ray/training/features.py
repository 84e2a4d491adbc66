"""Simple features of windows, and of what is around them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.method.neighbours import neighbour_mean

MAGNITUDES = 12


def simple_features(windows: NDArray[np.floating]) -> NDArray[np.float64]:
    """18 numbers an axis: mean, deviation, minimum, maximum, median, mean absolute difference, 12 Fourier magnitudes.

    Args:
        windows: [windows, axes, time], in g or z-scored.

    Returns:
        [windows, axes * 18].
    """
    series = windows.astype(np.float64)
    magnitudes = np.abs(np.fft.rfft(series, axis=-1))[..., 1 : MAGNITUDES + 1]
    moments = [
        series.mean(axis=-1),
        series.std(axis=-1),
        series.min(axis=-1),
        series.max(axis=-1),
        np.median(series, axis=-1),
        np.abs(np.diff(series, axis=-1)).mean(axis=-1),
    ]
    features = np.concatenate([np.stack(moments, axis=-1), magnitudes], axis=-1)
    return features.reshape(len(windows), -1)


def in_context(labelled: LabelledWindows, *, context_seconds: float) -> LabelledWindows:
    """The windows with their contexts: simple features, averaged over the windows around each one.

    To be made while all windows of a recording are there: those whose labels are not used are neighbours as well.

    Args:
        labelled: windows in g or z-scored, of any animals.
        context_seconds: neighbours start at most so long before or after a window; 0 gives no context.
    """
    if not context_seconds:
        return labelled
    features = simple_features(labelled.windows)
    return replace(
        labelled, context=neighbour_mean(features, labelled.recordings, labelled.starts, seconds=context_seconds)
    )
