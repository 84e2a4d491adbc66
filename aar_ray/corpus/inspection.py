"""Look at a study's recordings before trusting them: what each source holds, in numbers and in pictures. No Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from aar_ray.config import Data, Study
from aar_ray.corpus.checks import labelled_parts, unlabelled_parts
from aar_ray.corpus.harvest import Harvest, read_batches, windows_of
from aar_ray.corpus.parts import Part
from aar_ray.corpus.recording import Dropped

SHOWN = 3
"""Windows of each behaviour in the picture."""
SPECTRA = 400
"""Windows of a behaviour whose spectra are averaged."""
RESTING_SHARE = 0.1
"""Of an animal's windows, those that move least, show gravity alone."""
GRAVITY = (0.9, 1.1)
"""g, between which a resting animal's norm lies where the unit is right and the sensor calibrated."""
NAMED = 5
"""Animals that a warning names, of many that are alike."""
UNLABELLED = "no labels"


@dataclass(kw_only=True)
class PartInspected:
    """What the reading of one part gave."""

    recordings: set[str] = field(default_factory=set)
    seconds: Counter[str] = field(default_factory=Counter)
    """Usable, by animal."""
    rates: set[float] = field(default_factory=set)
    """Before resampling."""
    windows: int = 0
    behaviours: Counter[str] = field(default_factory=Counter)
    dropped: Dropped = field(default_factory=Dropped)
    gaps: Dropped = field(default_factory=Dropped)
    constant_axes: dict[str, list[str]] = field(default_factory=dict)
    resting: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """By animal: deviation and median of the norm of its quietest windows."""
    shown: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """By behaviour: some windows, [n, 3, L] in g."""
    sketches: dict[str, set[int]] = field(default_factory=dict)
    """By recording, what it is known again by."""


@dataclass(kw_only=True)
class Inspected(PartInspected):
    """One source: what the reading of all its parts gave."""

    name: str
    species: str

    def add(self, found: PartInspected) -> None:
        """Take in one of the source's parts."""
        self.recordings |= found.recordings
        self.rates |= found.rates
        self.windows += found.windows
        self.behaviours.update(found.behaviours)
        self.dropped.update(found.dropped)
        self.gaps.update(found.gaps)
        self.seconds.update(found.seconds)
        self.constant_axes.update(found.constant_axes)
        self.sketches.update(found.sketches)
        for animal, pairs in found.resting.items():
            self.resting.setdefault(animal, []).extend(pairs)
        for name, windows in found.shown.items():
            have = self.shown.get(name, windows[:0])
            self.shown[name] = np.concatenate([have, windows])[:SPECTRA]

    def resting_norms(self) -> dict[str, float]:
        """By animal, g: the median norm of its quietest windows."""
        return {animal: float(np.median([norm for _, norm in found])) for animal, found in sorted(self.resting.items())}

    def warnings(self) -> Iterator[str]:
        """What a person should look into, a sentence for all animals of which the same is to be said."""
        off = {animal: norm for animal, norm in self.resting_norms().items() if not GRAVITY[0] <= norm <= GRAVITY[1]}
        if off:
            who = f"{next(iter(off))} at rest feels" if len(off) == 1 else f"{len(off)} animals at rest feel"
            norms = " to ".join(dict.fromkeys(f"{norm:.3g}" for norm in (min(off.values()), max(off.values()))))
            yield (
                f"{self.name}: {who} {norms} g and not about 1 g: is the unit right, the sensor calibrated, gravity "
                f"still in the signal?{_first_of(off)}"
            )
        constant: dict[str, list[str]] = {}
        for recording, axes in sorted(self.constant_axes.items()):
            constant.setdefault(", ".join(axes), []).append(recording)
        for dead, recordings in sorted(constant.items()):
            many = f"{len(recordings)} recordings never change"
            who = f"{recordings[0]} never changes" if len(recordings) == 1 else many
            yield f"{self.name}: {who} on {dead}{_first_of(recordings)}"
        empty = sorted(animal for animal, seconds in self.seconds.items() if not seconds)
        if empty:
            who = f"{empty[0]} has" if len(empty) == 1 else f"{len(empty)} animals have"
            yield f"{self.name}: {who} no usable sample{_first_of(empty)}"
        if not self.windows:
            yield f"{self.name}: no window"


def _first_of(names: Collection[str]) -> str:
    """A few of several names, in brackets; nothing for a single one, which the sentence names itself."""
    if len(names) < 2:
        return ""
    return f" ({', '.join(list(names)[:NAMED])}{', ...' * (len(names) > NAMED)})"


def inspect_study(study: Study, say: Callable[[str], None] = lambda _: None) -> list[Inspected]:
    """Read all recordings of a study that it may read, on all processors.

    Args:
        study: as its file says.
        say: is told in words how far it is.

    Raises:
        InputError: a recording breaks a rule.
    """
    sources = {source.name: Inspected(name=source.name, species=source.species) for source in study.sources()}
    parts = [*unlabelled_parts(study), *labelled_parts(study)]
    reading = Parallel(n_jobs=-1, return_as="generator")(delayed(inspected)(part, study.data) for part in parts)
    for number, (part, found) in enumerate(zip(parts, reading, strict=True), start=1):
        sources[part.source.name].add(found)
        say(f"{number} of {len(parts)} recordings read: {part.source.name}, {part.name}")
    return list(sources.values())


def inspected(part: Part, data: Data, keep: Callable[[Harvest], object] = lambda _: None) -> PartInspected:
    """Read one part.

    Args:
        part: of a source.
        data: rate, window and step.
        keep: is handed all windows, some thousand at a time.

    Raises:
        InputError: the part's file breaks a rule.
    """
    found = PartInspected()
    for batch in read_batches(part, data):
        found.recordings.update(one.name for one in batch.recordings)
        found.rates |= batch.findings.rates_hz
        for some in windows_of(batch.recordings, data, batch.findings.dropped):
            _look_at(found, some)
            keep(some)
        found.dropped.update(batch.findings.dropped)
        found.gaps.update(batch.findings.gaps)
        found.seconds.update(batch.findings.seconds)
        found.constant_axes.update(batch.findings.constant_axes)
        found.sketches.update(batch.findings.sketches)
    return found


def _look_at(found: PartInspected, some: Harvest) -> None:
    """Counts, the quietest windows of each animal, and some windows of each behaviour."""
    names = [name or UNLABELLED for name in some.behaviours]
    found.windows += len(names)
    found.behaviours.update(name for name in names if name != UNLABELLED)
    norms = np.linalg.norm(some.windows, axis=1)
    deviations, medians = norms.std(axis=1), np.median(norms, axis=1)
    subjects = np.array(some.subjects)
    for animal in np.unique(subjects):
        own = np.flatnonzero(subjects == animal)
        quiet = own[np.argsort(deviations[own])][: max(1, round(RESTING_SHARE * len(own)))]
        pairs = zip(deviations[quiet].tolist(), medians[quiet].tolist(), strict=True)
        found.resting.setdefault(str(animal), []).extend(pairs)
    for name in set(names):
        own = np.flatnonzero(np.array(names) == name)
        have = found.shown.get(name, some.windows[:0])
        # evenly spread, so that they are not all of one bout
        chosen = own[np.linspace(0, len(own) - 1, min(len(own), SPECTRA // 8)).astype(int)]
        found.shown[name] = np.concatenate([have, some.windows[chosen]])[:SPECTRA]
