"""A random forest on simple features: what a network has to beat to earn its keep."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.method.scores import confusion_matrix, scores
from aar_ray.seeds import stream_seed

VERSION = 1
TREES = 200
MAGNITUDES = 12


def simple_features(windows: NDArray[np.float32]) -> NDArray[np.float64]:
    """18 numbers an axis: mean, deviation, minimum, maximum, median, mean absolute difference, 12 Fourier magnitudes.

    Args:
        windows: [windows, axes, time], in g.

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


def forest_probabilities(
    train: LabelledWindows, validation: LabelledWindows, *, seed: int, jobs: int = 1, smallest_leaf: int = 1
) -> NDArray[np.float32]:
    """Of each class for each validation window, by a forest of 200 trees with balanced class weights.

    Args:
        train, validation: windows in g.
        seed: of the trees.
        jobs: processors.
        smallest_leaf: windows that each side of a split has at least.

    Returns:
        [windows, classes]; 0 for a class without a training window.
    """
    # takes a second to import, which no task of fine-tuning should pay
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        n_estimators=TREES,
        class_weight="balanced",
        min_samples_leaf=smallest_leaf,
        n_jobs=jobs,
        random_state=stream_seed(seed, "random forest") % 2**32,
    )
    forest.fit(simple_features(train.windows), train.labels)
    probabilities = np.zeros((len(validation), len(train.classes)), dtype=np.float32)
    probabilities[:, forest.classes_] = forest.predict_proba(simple_features(validation.windows))
    return probabilities


def forest_scores(train: LabelledWindows, validation: LabelledWindows, *, seed: int, jobs: int = 1) -> dict[str, Any]:
    """Scores of that forest, as `method.scores.scores` gives them."""
    predicted = forest_probabilities(train, validation, seed=seed, jobs=jobs).argmax(axis=1)
    return scores(confusion_matrix(validation.labels, predicted, len(train.classes)), train.classes)
