"""Labelled windows in memory, and their z-scores within a fold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aar_ray.corpus.guards import check_sides, check_statistics
from aar_ray.corpus.normalise import Scope, Statistics, statistics_of, zscore, zscore_windows
from aar_ray.corpus.splits import Fold


@dataclass(frozen=True)
class LabelledWindows:
    """n windows with their behaviours and animals."""

    windows: NDArray[np.float32]
    """[n, 3, L]; in g, unless `normalised_for` made them."""
    labels: NDArray[np.int64]
    """[n], index into `classes`."""
    classes: tuple[str, ...]
    subjects: NDArray[np.object_]
    """[n], the animal."""
    recordings: NDArray[np.object_]
    """[n], the recording's name."""
    starts: NDArray[np.float64]
    """[n], seconds since the recording's first sample."""
    statistics: Statistics | None = None
    """[n, 3] each: by what `normalised` scored each window; None while the windows are in g."""
    scope: Scope | None = None
    """Of that z-score."""
    context: NDArray[np.float64] | None = None
    """[n, features] of what is around each window; None where nothing asks for it."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def context_size(self) -> int:
        """Features of a window's context; 0 where there is none."""
        return 0 if self.context is None else self.context.shape[1]

    def of(self, subjects: Collection[str]) -> LabelledWindows:
        """The windows of these animals, in the order they have here; the classes stay as they are."""
        return self.at(np.isin(self.subjects.astype(str), np.asarray(list(subjects), dtype=str)))

    def at(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> LabelledWindows:
        """The windows that a mask or their numbers choose; the classes stay as they are."""
        return replace(
            self,
            windows=self.windows[chosen],
            labels=self.labels[chosen],
            subjects=self.subjects[chosen],
            recordings=self.recordings[chosen],
            starts=self.starts[chosen],
            statistics=self.statistics and Statistics(self.statistics.mean[chosen], self.statistics.deviation[chosen]),
            context=None if self.context is None else self.context[chosen],
        )


def normalised_for(labelled: LabelledWindows, fold: Fold, scope: Scope) -> tuple[LabelledWindows, LabelledWindows]:
    """Training and validation windows of a fold, z-scored.

    Args:
        labelled: windows in g.
        fold: which animals train and which validate.
        scope: `source` takes the statistics of the training animals alone for both; `recording` those of each
            recording; `window` those of each window.

    Raises:
        ValueError: no window belongs to the training animals, or a recording is on two sides.
    """
    check_sides(labelled, fold)
    train, validation = labelled.of(fold.train), labelled.of(fold.validation)
    if not len(train):
        raise ValueError(f"fold {fold.name} needs windows of its training animals {fold.train}, got none")
    statistics = None
    if scope == "source":
        known = _statistics_from(labelled, fold)
        check_statistics({str(subject) for subject in known.subjects}, fold)
        statistics = statistics_of(known.windows)
    return normalised(train, scope, statistics), normalised(validation, scope, statistics)


def _statistics_from(labelled: LabelledWindows, fold: Fold) -> LabelledWindows:
    """The windows that mean and deviation are taken of."""
    return labelled.of(fold.train)


def normalised(labelled: LabelledWindows, scope: Scope, statistics: Statistics | None = None) -> LabelledWindows:
    """Windows in g, z-scored.

    Args:
        labelled: windows in g.
        scope: `source` takes `statistics`, or those of all windows where none are given; `recording` those of each
            recording; `window` those of each window.
        statistics: of other windows, those of the training animals.
    """
    raw = labelled.windows
    mean, deviation = np.empty((len(raw), 3)), np.empty((len(raw), 3))
    if scope == "window":
        mean, deviation = raw.mean(axis=2, dtype=np.float64), raw.std(axis=2, dtype=np.float64)
        return replace(labelled, windows=zscore_windows(raw), statistics=Statistics(mean, deviation), scope=scope)
    windows = np.empty_like(raw)
    for name in [None] if scope == "source" else sorted(set(labelled.recordings)):
        own = slice(None) if name is None else labelled.recordings == name
        found = statistics if name is None and statistics else statistics_of(raw[own])
        windows[own], mean[own], deviation[own] = zscore(raw[own], found), found.mean, found.deviation
    return replace(labelled, windows=windows, statistics=Statistics(mean, deviation), scope=scope)
