"""Simple features of windows, and of what is around them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.method.neighbours import neighbour_mean, neighbour_spread

MAGNITUDES = 12
FLOOR = 0.03
"""Added before a logarithm, in the unit of the windows: less motion than that is none."""

ContextForm = Literal["mean", "own_mean_spread"]


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


def logarithmic_features(windows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Simple features with log(x + FLOOR) of what is never negative, whose tail is long: [windows, axes * 18]."""
    features = simple_features(windows)
    by_axis = features.reshape(*windows.shape[:2], -1)
    for amounts in (by_axis[..., 1:2], by_axis[..., 5:]):  # deviation; mean difference and magnitudes
        amounts[:] = np.log(amounts + FLOOR)
    return features


def in_context(
    labelled: LabelledWindows, /, *, context_seconds: float, context_form: ContextForm = "mean"
) -> LabelledWindows:
    """The windows with their contexts, made of simple features of the windows around each one.

    To be made while all windows of a recording are there: those whose labels are not used are neighbours as well.

    Args:
        labelled: windows in g or z-scored, of any animals.
        context_seconds: neighbours start at most so long before or after a window; 0 gives no context.
        context_form: the features averaged, [windows, axes * 18]; or `logarithmic_features` of the window itself, their
            average and their spread, [windows, 3 * axes * 18].
    """
    if not context_seconds:
        return labelled
    around = labelled.recordings, labelled.starts
    if context_form == "mean":
        features = simple_features(labelled.windows)
        return replace(labelled, context=neighbour_mean(features, *around, seconds=context_seconds))
    own = logarithmic_features(labelled.windows)
    mean, spread = (part(own, *around, seconds=context_seconds) for part in (neighbour_mean, neighbour_spread))
    return replace(labelled, context=np.concatenate([own, mean, spread], axis=1))
