"""Scores written out from true and false positives, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics

from aar_ray.method.scores import accuracy, confusion_matrix, macro_f1, pooled, scores

NAMES = ("standing", "grazing", "walking", "running", "trotting")


def some_labels(seed: int, *, absent: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Truth without some classes, and predictions, half of them right, of every class."""
    generator = np.random.default_rng(seed)
    present = [c for c in range(5) if c not in absent]
    truth = generator.choice(present, 211)
    predicted = np.where(generator.random(211) < 0.5, truth, generator.integers(0, 5, 211))
    return truth, predicted


CASES = [
    some_labels(0),
    some_labels(1, absent=(4,)),
    some_labels(2, absent=(0, 3)),
    some_labels(3, absent=(0, 1, 2, 3)),
]


@pytest.mark.parametrize(("truth", "predicted"), CASES)
def test_macro_f1_is_the_mean_over_the_classes_of_the_truth(truth: np.ndarray, predicted: np.ndarray) -> None:
    f1 = []
    for c in range(5):
        hits = sum(t == c and p == c for t, p in zip(truth, predicted, strict=True))
        false_alarms = sum(t != c and p == c for t, p in zip(truth, predicted, strict=True))
        misses = sum(t == c and p != c for t, p in zip(truth, predicted, strict=True))
        if hits + misses:
            precision = hits / (hits + false_alarms) if hits + false_alarms else 0.0
            recall = hits / (hits + misses)
            f1.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    assert macro_f1(confusion_matrix(truth, predicted, 5)) == pytest.approx(sum(f1) / len(f1))


@pytest.mark.parametrize(("truth", "predicted"), CASES)
def test_scores_are_those_of_scikit_learn_over_the_classes_of_the_truth(
    truth: np.ndarray, predicted: np.ndarray
) -> None:
    present = sorted(set(truth.tolist()))
    result = scores(confusion_matrix(truth, predicted, 5), NAMES)
    averaged = {"labels": present, "zero_division": 0}
    expected = {
        "macro_f1": sklearn.metrics.f1_score(truth, predicted, average="macro", **averaged),
        "macro_precision": sklearn.metrics.precision_score(truth, predicted, average="macro", **averaged),
        "macro_recall": sklearn.metrics.recall_score(truth, predicted, average="macro", **averaged),
        "weighted_f1": sklearn.metrics.f1_score(truth, predicted, average="weighted", **averaged),
        "weighted_precision": sklearn.metrics.precision_score(truth, predicted, average="weighted", **averaged),
        "weighted_recall": sklearn.metrics.recall_score(truth, predicted, average="weighted", **averaged),
        "accuracy": sklearn.metrics.accuracy_score(truth, predicted),
        "kappa": sklearn.metrics.cohen_kappa_score(truth, predicted),
    }
    assert {name: result[name] for name in expected} == pytest.approx(expected)
    each = sklearn.metrics.precision_recall_fscore_support(truth, predicted, labels=range(5), zero_division=0)
    for index, name in enumerate(NAMES):
        of_class = dict(zip(("precision", "recall", "f1", "support"), (row[index] for row in each), strict=True))
        assert result["per_class"][name] == pytest.approx(of_class)
    assert result["absent"] == [name for index, name in enumerate(NAMES) if index not in present]
    assert result["confusion"] == sklearn.metrics.confusion_matrix(truth, predicted, labels=range(5)).tolist()


def test_an_absent_class_neither_flatters_nor_punishes() -> None:
    confusion = np.array([[7, 2, 0], [3, 5, 0], [0, 0, 0]])
    assert macro_f1(confusion) == macro_f1(confusion[:2, :2])
    # predicting it still costs the class that was missed
    mistaken = np.array([[7, 0, 2], [3, 5, 0], [0, 0, 0]])
    assert macro_f1(mistaken) == pytest.approx((14 / 19 + 10 / 13) / 2)


def test_pooled_scores_are_those_of_all_folds_windows_together() -> None:
    rng = np.random.default_rng(3)
    truths, predictions = ([rng.integers(0, 5, size) for size in (17, 41, 5)] for _ in range(2))
    folds = [
        {"confusion": confusion_matrix(truth, predicted, 5).tolist()}
        for truth, predicted in zip(truths, predictions, strict=True)
    ]
    together = confusion_matrix(np.concatenate(truths), np.concatenate(predictions), 5)
    assert pooled(folds, NAMES) == scores(together, NAMES)


def test_a_class_never_predicted_scores_zero_and_counts() -> None:
    confusion = np.array([[7, 0], [3, 0]])
    assert macro_f1(confusion) == pytest.approx((14 / 17 + 0) / 2)
    assert accuracy(confusion) == pytest.approx(0.7)


def test_rows_are_the_truth() -> None:
    confusion = confusion_matrix(np.array([0, 0, 1]), np.array([2, 0, 2]), 3)
    assert confusion.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_perfect_predictions_score_one_and_kappa_of_a_single_class_is_zero() -> None:
    perfect = scores(np.diag([3, 5, 0, 7, 11]), NAMES)
    averages = ("macro_f1", "accuracy", "macro_precision", "macro_recall", "weighted_f1", "kappa")
    assert [perfect[name] for name in averages] == pytest.approx([1] * 6)
    assert scores(np.diag([13, 0]), NAMES[:2])["kappa"] == 0
