"""A random forest on simple features: what a network has to beat to earn its keep."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.method.scores import confusion_matrix, scores
from aar_ray.seeds import stream_seed
from aar_ray.training.features import simple_features

VERSION = 1
TREES = 200


def forest_features(labelled: LabelledWindows) -> NDArray[np.float64]:
    """Simple features of each window, and beside them those of its context where it has one: [windows, features]."""
    own = simple_features(labelled.windows)
    return own if labelled.context is None else np.concatenate([own, labelled.context], axis=1)


def forest_probabilities(
    train: LabelledWindows, validation: LabelledWindows, *, seed: int, jobs: int = 1, smallest_leaf: int = 1
) -> NDArray[np.float32]:
    """Of each class for each validation window, by a forest of 200 trees with balanced class weights.

    Args:
        train, validation: windows in g, both with their contexts or both without.
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
    forest.fit(forest_features(train), train.labels)
    probabilities = np.zeros((len(validation), len(train.classes)), dtype=np.float32)
    probabilities[:, forest.classes_] = forest.predict_proba(forest_features(validation))
    return probabilities


def forest_scores(train: LabelledWindows, validation: LabelledWindows, *, seed: int, jobs: int = 1) -> dict[str, Any]:
    """Scores of that forest, as `method.scores.scores` gives them."""
    predicted = forest_probabilities(train, validation, seed=seed, jobs=jobs).argmax(axis=1)
    return scores(confusion_matrix(validation.labels, predicted, len(train.classes)), train.classes)
