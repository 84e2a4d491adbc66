"""What a corpus holds, by source: counts, statistics, and what had to be left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aar_ray.corpus.recording import Dropped, InputError


@dataclass
class Sums:
    """Of one recording's samples, per axis."""

    windows: int = 0
    samples: int = 0
    total: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    def add(self, windows: NDArray[np.float32]) -> None:
        """Count windows [n, L, 3] in g."""
        exact = windows.astype(np.float64)
        self.windows += len(windows)
        self.samples += windows.shape[0] * windows.shape[1]
        self.total += exact.sum(axis=(0, 1))
        self.squares += (exact**2).sum(axis=(0, 1))

    def plain(self) -> dict[str, Any]:
        """Windows, mean and deviation."""
        mean = self.total / self.samples
        deviation = np.sqrt(np.maximum(self.squares / self.samples - mean**2, 0))
        return {"windows": self.windows, "mean": mean.tolist(), "deviation": deviation.tolist()}


@dataclass
class SourceSummary:
    """Of one source."""

    species: str
    dropped: Dropped = field(default_factory=Dropped)
    constant_axes: dict[str, list[str]] = field(default_factory=dict)
    animals: set[str] = field(default_factory=set)
    recordings: dict[str, Sums] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; `by_recording` has the statistics of each recording."""
        together = Sums()
        for sums in self.recordings.values():
            together.windows += sums.windows
            together.samples += sums.samples
            together.total = together.total + sums.total
            together.squares = together.squares + sums.squares
        return {
            "species": self.species,
            "recordings": len(self.recordings),
            "animals": len(self.animals),
            **together.plain(),
            "dropped": self.dropped.plain(),
            "constant_axes": self.constant_axes,
            "by_recording": {name: self.recordings[name].plain() for name in sorted(self.recordings)},
        }


class Summary:
    """Gathered while the windows pass."""

    def __init__(self) -> None:
        self.sources: dict[str, SourceSummary] = {}
        self.errors: list[str] = []

    def note(self, note: Mapping[str, Any]) -> None:
        """Take up what the reading of one part found: source, species, dropped, constant_axes, perhaps an error."""
        source = self.sources.setdefault(note["source"], SourceSummary(note["species"]))
        source.dropped.update(Dropped.of(note["dropped"]))
        source.constant_axes.update(note["constant_axes"])
        if "error" in note:
            self.errors.append(note["error"])

    def add(
        self, windows: NDArray[np.float32], sources: Sequence[str], subjects: Sequence[str], recordings: Sequence[str]
    ) -> None:
        """Count windows [n, L, 3] in g; their parts' notes have come before."""
        names = np.array([f"{source}\n{recording}" for source, recording in zip(sources, recordings, strict=True)])
        _, firsts, which = np.unique(names, return_index=True, return_inverse=True)
        for index, first in enumerate(firsts):
            source = self.sources[sources[first]]
            source.animals.add(subjects[first])
            source.recordings.setdefault(recordings[first], Sums()).add(windows[which == index])

    def check(self) -> None:
        """Refuse a corpus whose reading failed, or a source without a window.

        Raises:
            InputError: all problems, one a line.
        """
        problems = sorted(self.errors) or [
            f"{name}: a source must hold at least one window, got none; dropped: {source.dropped.plain() or 'nothing'}"
            for name, source in self.sources.items()
            if not source.recordings
        ]
        if problems:
            raise InputError("\n".join(problems))

    def plain(self) -> dict[str, Any]:
        """By source, as JSON holds it."""
        return {name: self.sources[name].plain() for name in sorted(self.sources)}
