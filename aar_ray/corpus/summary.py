"""What a corpus holds, by source: counts, statistics, and what had to be left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aar_ray.corpus.harvest import Harvest
from aar_ray.corpus.recording import Dropped, InputError
from aar_ray.corpus.sketch import smallest

Sums = tuple[int, int, list[float], list[float]]
"""Windows, samples, and sum and sum of squares per axis, of one recording's windows."""


def sums_of(found: Harvest, sums: dict[str, Sums]) -> None:
    """Add windows to the sums of their recordings: all that mean and deviation need, in one pass."""
    names = np.array(found.recordings)
    firsts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))
    for first, last in zip(firsts, [*firsts[1:], len(names)], strict=True):
        windows = found.windows[first:last].astype(np.float64)
        name = str(names[first])
        count, samples, total, squares = sums.get(name, (0, 0, [0.0] * 3, [0.0] * 3))
        sums[name] = (
            count + len(windows),
            samples + windows.shape[0] * windows.shape[2],
            (total + windows.sum(axis=(0, 2))).tolist(),
            (squares + np.einsum("nat,nat->a", windows, windows)).tolist(),
        )


def _about(sums: Iterable[Sums]) -> dict[str, Any]:
    """Windows, mean and deviation of recordings together."""
    found = list(sums)
    samples = sum(one[1] for one in found)
    mean = np.sum([one[2] for one in found], axis=0) / samples
    deviation = np.sqrt(np.maximum(np.sum([one[3] for one in found], axis=0) / samples - mean**2, 0))
    return {"windows": sum(one[0] for one in found), "mean": mean.tolist(), "deviation": deviation.tolist()}


@dataclass
class SourceSummary:
    """Of one source, as its notes come in."""

    species: str
    notes: dict[tuple[int, int], dict[str, list[Any]]] = field(default_factory=dict)
    """Sums by recording, under the numbers of part and batch: added up in their order, whichever came first."""
    dropped: Dropped = field(default_factory=Dropped)
    gaps: Dropped = field(default_factory=Dropped)
    constant_axes: dict[str, list[str]] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)
    behaviours: Counter[str] = field(default_factory=Counter)
    animals: set[str] = field(default_factory=set)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; `by_recording` has the statistics of each recording."""
        recordings: dict[str, list[Any]] = {}
        for place in sorted(self.notes):
            for name, sums in self.notes[place].items():
                recordings.setdefault(name, []).append(sums)
        by_recording = {name: _about(recordings[name]) for name in sorted(recordings)}
        return {
            "species": self.species,
            "recordings": len(recordings),
            "animals": len(self.animals),
            **_about(sums for name in sorted(recordings) for sums in recordings[name]),
            "hours": round(sum(self.seconds[name] for name in sorted(self.seconds)) / 3600, 6),
            "behaviours": {name: self.behaviours[name] for name in sorted(self.behaviours)},
            "animals_without_windows": sorted(set(self.seconds) - self.animals),
            "dropped": self.dropped.plain(),
            "gaps": self.gaps.plain(),
            "constant_axes": {name: self.constant_axes[name] for name in sorted(self.constant_axes)},
            "by_recording": by_recording,
        }


class Summary:
    """Gathered from notes, one for each batch that was read."""

    def __init__(self) -> None:
        self.sources: dict[str, SourceSummary] = {}
        self.sketches: dict[str, dict[str, set[int]]] = {}
        self.errors: list[str] = []
        self.windows = 0
        self.ended = 0

    def note(self, note: Mapping[str, Any]) -> None:
        """Take up what a batch held: source, species, place, last, sums, animals, behaviours, findings; or an error."""
        source = self.sources.setdefault(note["source"], SourceSummary(note["species"]))
        if "error" in note:
            self.errors.append(note["error"])
            return
        source.notes[tuple(note["place"])] = note["sums"]
        source.animals.update(note["animals"])
        source.behaviours.update(note["behaviours"])
        source.dropped.update(Dropped.of(note["dropped"]))
        source.gaps.update(Dropped.of(note["gaps"]))
        source.constant_axes.update(note["constant_axes"])
        source.seconds.update(note["seconds"])
        known = self.sketches.setdefault(note["source"], {})
        for name, found in note["sketches"].items():
            known[name] = smallest(known.get(name, set()) | set(found))
        self.windows += sum(sums[0] for sums in note["sums"].values())
        self.ended += note["last"]

    def check(self) -> None:
        """Refuse a corpus whose reading failed, a source without a window or an animal without a usable sample.

        Raises:
            InputError: all problems, one a line.
        """
        problems = sorted(set(self.errors))
        for name, source in self.sources.items():
            empty = sorted(animal for animal, seconds in source.seconds.items() if not seconds)
            if problems:
                break
            if not source.animals:
                problems.append(
                    f"{name}: a source must hold at least one window, got none; "
                    f"dropped: {source.dropped.plain() or 'nothing'}"
                )
            elif empty:
                problems.append(
                    f"{name}: every animal must have usable samples, got none of {', '.join(empty)}; remove its rows"
                )
        if problems:
            raise InputError("\n".join(problems))

    def plain(self) -> dict[str, Any]:
        """By source, as JSON holds it."""
        return {name: self.sources[name].plain() for name in sorted(self.sources)}
