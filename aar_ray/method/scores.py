"""Scores of a classifier, all from its confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts [truth, prediction]."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that the truth holds.

    A class that is absent from the truth is left out: counted as 1 it would flatter, as 0 it would punish the animal
    for what it did not do. Predictions of an absent class still cost, as missed windows of the true one.
    """
    present = confusion.sum(axis=1) > 0
    return float(_f1(confusion)[present].mean())


def scores(confusion: NDArray[np.int64], classes: Sequence[str]) -> dict[str, Any]:
    """All scores of one fold as plain data: averages are over the classes that the truth holds.

    Returns:
        macro_f1, accuracy, macro_precision, macro_recall, weighted_precision, weighted_recall and weighted_f1 (weighted
        by the truth, so that the second is the accuracy), kappa (Cohen's), absent (classes), per_class (precision,
        recall, f1, support), confusion (rows are the truth).
    """
    support = confusion.sum(axis=1)
    present = support > 0
    precision = _ratio(confusion.diagonal(), confusion.sum(axis=0))
    recall = _ratio(confusion.diagonal(), support)
    f1 = _f1(confusion)
    return {
        "macro_f1": macro_f1(confusion),
        "accuracy": accuracy(confusion),
        "macro_precision": float(precision[present].mean()),
        "macro_recall": float(recall[present].mean()),
        "weighted_precision": float(np.average(precision, weights=support)),
        "weighted_recall": float(np.average(recall, weights=support)),
        "weighted_f1": float(np.average(f1, weights=support)),
        "kappa": _kappa(confusion),
        "absent": [name for name, here in zip(classes, present, strict=True) if not here],
        "per_class": {
            name: {
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
                "support": int(support[index]),
            }
            for index, name in enumerate(classes)
        },
        "confusion": confusion.tolist(),
    }


def pooled(results: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Scores of all folds' windows together, from the sum of their confusion matrices (METHOD row 23)."""
    return scores(np.sum([np.asarray(result["confusion"]) for result in results], axis=0), classes)


def accuracy(confusion: NDArray[np.int64]) -> float:
    """Share of windows that are right."""
    return float(confusion.trace() / confusion.sum())


def _f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    return _ratio(2 * confusion.diagonal(), confusion.sum(axis=0) + confusion.sum(axis=1))


def _kappa(confusion: NDArray[np.int64]) -> float:
    """Agreement beyond chance; 0 where truth and prediction are one and the same single class."""
    total = confusion.sum()
    chance = float((confusion.sum(axis=0) * confusion.sum(axis=1)).sum() / total**2)
    return 0.0 if chance == 1 else (accuracy(confusion) - chance) / (1 - chance)


def _ratio(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)
