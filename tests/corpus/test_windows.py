"""Windows never cross a change of behaviour, and hold exactly the samples they stand on."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aar_ray.corpus.recording import Dropped, Recording
from aar_ray.corpus.windows import NO_BEHAVIOUR, TOO_SHORT, cut_windows

LENGTH = 7


def recording(runs: list[tuple[str | None, int]]) -> Recording:
    labels = np.array([label for label, count in runs for _ in range(count)], dtype=object)
    samples = np.arange(3 * len(labels), dtype=np.float64).reshape(-1, 3)
    return Recording("s", "goat", "g", "r", 25.0, samples, labels, start_seconds=3.0)


RUNS = st.lists(st.tuples(st.sampled_from(["walk", "graze", None]), st.integers(1, 40)), min_size=1, max_size=6)


@settings(deadline=None)
@given(RUNS, st.integers(1, 11))
def test_windows_lie_in_one_run_and_equal_their_slice(runs: list[tuple[str | None, int]], step: int) -> None:
    source = recording(runs)
    cut = cut_windows(source, LENGTH, step, Dropped())
    assert cut.labels is not None
    assert source.labels is not None
    for window, start, label in zip(cut.windows, cut.starts, cut.labels, strict=True):
        first = round((start - 3.0) * 25)
        assert set(source.labels[first : first + LENGTH]) == {label}
        assert label is not None
        assert np.array_equal(window, source.samples[first : first + LENGTH].T.astype(np.float32))


@settings(deadline=None)
@given(RUNS, st.integers(1, 11))
def test_each_run_gives_as_many_windows_as_fit(runs: list[tuple[str | None, int]], step: int) -> None:
    merged: list[list[object]] = []
    for label, count in runs:
        if merged and merged[-1][0] == label:
            merged[-1][1] += count  # type: ignore[operator]
        else:
            merged.append([label, count])
    expected = sum((count - LENGTH) // step + 1 for label, count in merged if label is not None and count >= LENGTH)
    assert len(cut_windows(recording(runs), LENGTH, step, Dropped()).windows) == expected


def test_what_is_left_out_is_counted_by_reason() -> None:
    dropped = Dropped()
    cut_windows(recording([("walk", 20), (None, 50), ("graze", 5)]), LENGTH, LENGTH, dropped)
    assert dropped.plain() == {
        NO_BEHAVIOUR: {"stretches": 1, "seconds": 2.0},
        TOO_SHORT: {"stretches": 1, "seconds": 0.2},
    }


def test_a_window_that_is_not_finite_is_left_out() -> None:
    source = recording([("walk", 3 * LENGTH)])
    source.samples[LENGTH + 2, 1] = np.inf
    assert len(cut_windows(source, LENGTH, LENGTH, Dropped()).windows) == 2


def test_without_labels_the_whole_recording_is_one_run() -> None:
    samples = np.zeros((5 * LENGTH + 3, 3))
    cut = cut_windows(Recording("s", "cattle", "c", "r", 25.0, samples), LENGTH, LENGTH, Dropped())
    assert cut.windows.shape == (5, 3, LENGTH)
    assert cut.labels is None
