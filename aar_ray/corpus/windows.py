"""Cut recordings into windows that never cross a change of behaviour, a segment, a recording or a gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from aar_ray.corpus.recording import NOT_FINITE, Dropped, Recording, runs

TOO_SHORT = "shorter than a window"
NO_BEHAVIOUR = "behaviour missing or not listed"


@dataclass(frozen=True)
class Cut:
    """The windows of one recording."""

    recording: Recording
    windows: NDArray[np.float32]
    """[n, 3, L], in g."""
    starts: NDArray[np.float64]
    """[n], seconds since the first sample of the recording's name."""
    labels: NDArray[np.object_] | None
    """[n], or None where the recording has none."""


def cut_windows(recording: Recording, length: int, step: int, dropped: Dropped) -> Cut:
    """Cut a recording at the study's rate into windows.

    Each run of one behaviour (the whole recording where labels are not used) of r samples gives
    floor((r - length) / step) + 1 windows, none if r < length. Runs without a behaviour, runs shorter than a window
    and windows with a value that is not finite are left out and counted in `dropped`.

    Args:
        recording: T samples without a gap.
        length: L, samples a window.
        step: samples between the starts of two windows of a run.
        dropped: counts what is left out.
    """
    samples, labels = recording.samples, recording.labels
    firsts = [np.empty(0, dtype=np.intp)]
    for begin, end in behaviour_runs(labels, len(samples)):
        if labels is not None and labels[begin] is None:
            dropped.add(NO_BEHAVIOUR, (end - begin) / recording.rate_hz)
        elif end - begin < length:
            dropped.add(TOO_SHORT, (end - begin) / recording.rate_hz)
        else:
            firsts.append(np.arange(begin, end - length + 1, step, dtype=np.intp))
    first = np.concatenate(firsts)
    windows = np.empty((0, samples.shape[1], length), dtype=np.float32)
    if len(first):
        windows = sliding_window_view(samples, length, axis=0)[first].astype(np.float32)
        finite = np.isfinite(windows).all(axis=(1, 2))
        broken = int((~finite).sum())
        dropped.add(NOT_FINITE, broken * length / recording.rate_hz, broken)
        windows, first = windows[finite], first[finite]
    return Cut(
        recording=recording,
        windows=windows,
        starts=recording.start_seconds + first / recording.rate_hz,
        labels=None if labels is None else labels[first],
    )


def behaviour_runs(labels: NDArray[np.object_] | None, count: int) -> list[tuple[int, int]]:
    """First and last (excluded) sample of each run of one behaviour: all `count` samples where labels are not used."""
    if not count:
        return []
    if labels is None:
        return [(0, count)]
    return list(runs(np.asarray(labels[1:] != labels[:-1], dtype=np.bool_)))
