"""Z-scores: mean 0 and deviation 1 in their scope, statistics of the training animals only."""

from __future__ import annotations

import numpy as np
import pytest

from aar_ray.corpus.labelled import LabelledWindows, normalised_for
from aar_ray.corpus.normalise import statistics_of, zscore, zscore_windows
from aar_ray.corpus.splits import Fold

DRAW = np.random.default_rng(5)


def windows(count: int, mean: float = 0.0) -> np.ndarray:
    return (mean + DRAW.normal(size=(count, 3, 11)) * np.array([0.3, 1.0, 7.0])[:, None]).astype(np.float32)


def test_zscored_windows_have_mean_0_and_deviation_1_on_each_axis() -> None:
    raw = windows(53, mean=4.0)
    scored = zscore(raw, statistics_of(raw))
    assert scored.mean(axis=(0, 2)) == pytest.approx(0, abs=1e-5)
    assert scored.std(axis=(0, 2)) == pytest.approx(1, abs=1e-5)


def test_a_window_by_itself_loses_posture_and_intensity() -> None:
    raw = windows(13)
    assert np.allclose(zscore_windows(raw), zscore_windows(5 * raw + 2), atol=1e-4)


def test_a_constant_axis_becomes_zero() -> None:
    raw = windows(7)
    raw[:, 1] = 0.98
    assert np.array_equal(zscore(raw, statistics_of(raw))[:, 1], np.zeros((7, 11)))
    assert np.array_equal(zscore_windows(raw)[:, 1], np.zeros((7, 11)))


def labelled() -> LabelledWindows:
    subjects = np.array(["a"] * 20 + ["b"] * 20 + ["c"] * 20, dtype=object)
    raw = np.concatenate([windows(20, mean=mean) for mean in (0.0, 1.0, 100.0)])
    return LabelledWindows(raw, np.arange(60) % 2, ("x", "y"), subjects, subjects, np.zeros(60))


def test_statistics_come_from_the_training_animals_alone() -> None:
    fold = Fold("c", ("a", "b"), ("c",), ())
    train, validation = normalised_for(labelled(), fold, "source")
    assert train.windows.mean(axis=(0, 2)) == pytest.approx(0, abs=1e-4)
    # the validation animal sits far away: had it been counted, train would have moved
    assert validation.windows[:, 1].mean() > 50
    assert set(train.subjects) == {"a", "b"}
    assert set(validation.subjects) == {"c"}


def test_each_recording_by_itself() -> None:
    _, validation = normalised_for(labelled(), Fold("c", ("a", "b"), ("c",), ()), "recording")
    assert validation.windows.mean(axis=(0, 2)) == pytest.approx(0, abs=1e-4)
