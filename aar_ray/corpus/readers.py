"""From a source of the study file to continuous recordings in g.

`parts` divides a source into items that can be read independently (a file, or a simulated animal) and `read` yields
one item's recordings, so that a cluster can read many at once. `check_source` looks at the first rows of every file
before anything starts.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aar_ray.config import SimulatedSource, TabularSource
from aar_ray.corpus.herd import SPECIES
from aar_ray.corpus.recording import Dropped, InputError, Recording, finite_pieces, runs
from aar_ray.corpus.simulated import animal_names, simulate
from aar_ray.corpus.tables import AXES, SUFFIXES, content_hash, files_of, read_table

STANDARD_GRAVITY = 9.80665
"""m/s^2 in one g."""
IN_G = {"g": 1.0, "mg": 1e-3, "m/s^2": 1 / STANDARD_GRAVITY}
CHECKED_ROWS = 500
"""Rows of each file that are looked at before a study starts."""
LARGEST_GAP = 1.5
"""Sample periods between two rows of one continuous recording."""
RATE_TOLERANCE = 0.02
"""Largest difference between `rate_hz` and the time column, as a share."""
LARGEST_USUAL = 5.0
"""g; a collar feels about 1 g most of the time, and 9.8 where m/s^2 were called g."""
REPEATED = "time stamp repeated"
SEALED = "sealed animal"
CONSTANT = "constant on all axes"


@dataclass(frozen=True)
class Part:
    """One file, or one simulated animal: what a task reads. Plain data."""

    source: SimulatedSource | TabularSource
    seed: int
    labelled: bool
    """Whether labels are read; those of an unlabelled source never are."""
    name: str
    """Of the recordings in it: the file's path below the source's folder, without suffix; or the animal."""
    file: str = ""
    animal: int = 0
    sealed: tuple[str, ...] = ()
    """Animals whose rows are left out as they are read."""


@dataclass
class Findings:
    """What a part's reading found besides recordings."""

    dropped: Dropped = field(default_factory=Dropped)
    constant_axes: dict[str, list[str]] = field(default_factory=dict)
    """Recording: axes that never change in it, where not all three do."""

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"dropped": self.dropped.plain(), "constant_axes": self.constant_axes}


def parts(
    source: SimulatedSource | TabularSource, seed: int, *, labelled: bool = False, sealed: Collection[str] = ()
) -> tuple[Part, ...]:
    """The items of a source that are read independently. Files that hold one sealed animal are left out unopened.

    Args:
        source: of the study file.
        seed: the study's; only simulated sources draw from it.
        labelled: whether labels are wanted.
        sealed: animals whose data must not be read.

    Raises:
        InputError: no file is found, or two files would be the same animal by name.
    """
    if isinstance(source, SimulatedSource):
        return tuple(
            Part(source=source, seed=seed, labelled=labelled, name=name, animal=number)
            for number, name in enumerate(animal_names(source))
            if name not in sealed
        )
    files = files_of(source)
    names = _names(source, files)
    if source.columns.subject is None and source.subject is None:
        stems = [Path(name).name for name in names]
        repeated = sorted({stem for stem in stems if stems.count(stem) > 1})
        if repeated:
            raise InputError(
                f"{source.name}: each file is one animal named by its stem, got several called {', '.join(repeated)}; "
                "name columns.subject, or make each animal a source with its own subject"
            )
    return tuple(
        Part(source=source, seed=seed, labelled=labelled, name=name, file=str(file), sealed=tuple(sealed))
        for file, name in zip(files, names, strict=True)
        if source.columns.subject is not None or _only_subject(source, name) not in sealed
    )


def read(part: Part, findings: Findings, rows: int | None = None) -> Iterator[Recording]:
    """The continuous, finite recordings of one item; what is left out is counted in `findings`.

    Args:
        part: one of `parts(source, ...)`.
        findings: counts what is left out.
        rows: read no more than these first rows of a file.

    Raises:
        InputError: the file breaks a rule; see `aar_ray.corpus.tables.read_table` and `rate_hz` of the study file.
    """
    if isinstance(part.source, SimulatedSource):
        for recording in simulate(part.source, part.animal, part.seed, labelled=part.labelled):
            yield _behaviours_mapped(recording, part.source.behaviours)
        return
    roles = [*AXES, "subject", "segment", "time", *(["label"] if part.labelled else [])]
    table = read_table(Path(part.file), part.source, roles, rows)
    for subject, own in _by_subject(part, table):
        if subject in part.sealed:
            findings.dropped.add(SEALED, len(own) / part.source.rate_hz)
        else:
            yield from _recordings(part, subject, own, findings)


def subjects_of(source: SimulatedSource | TabularSource) -> tuple[str, ...]:
    """All animals of a source, sorted; reads nothing but the subject column, and no file where there is none."""
    if isinstance(source, SimulatedSource):
        return animal_names(source)
    files = files_of(source)
    if source.columns.subject is None:
        return tuple(sorted({_only_subject(source, name) for name in _names(source, files)}))
    return tuple(sorted({name for file in files for name in read_table(file, source, ["subject"])["subject"].unique()}))


def behaviours_of(source: SimulatedSource | TabularSource, sealed: Collection[str] = ()) -> tuple[set[str], set[str]]:
    """Behaviours of a labelled source, and all labels in it; reads nothing but the label column.

    Args:
        source: names columns.label, or is simulated.
        sealed: animals whose own files stay closed.
    """
    if isinstance(source, SimulatedSource):
        labels = set(SPECIES[source.species].motions)
    else:
        files = [Path(part.file) for part in parts(source, 0, labelled=True, sealed=sealed)]
        labels = {name for file in files for name in read_table(file, source, ["label"])["label"].unique() if name}
    listed = source.behaviours or {name: name for name in labels}
    return {listed[name] for name in labels & set(listed)}, labels


def check_source(source: SimulatedSource | TabularSource, *, labelled: bool = False) -> None:
    """Refuse what headers and first rows of a source's files show to be wrong. Needs no Ray.

    Args:
        source: of the study file.
        labelled: whether its labels are wanted.

    Raises:
        InputError: all problems of the source, one a line.
    """
    if isinstance(source, SimulatedSource):
        return
    axes = [getattr(source.columns, axis) for axis in AXES]
    if len(set(axes)) < len(axes):
        raise InputError(f"{source.name}: columns x, y and z must differ, got {', '.join(axes)}")
    if labelled and source.columns.label is None:
        raise InputError(f"{source.name}: a labelled source must name columns.label, got none")
    problems = []
    for part in parts(source, 0, labelled=labelled):
        try:
            for recording in read(part, Findings(), rows=CHECKED_ROWS):
                _check_unit(part, recording)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))


def fingerprint(found: tuple[Part, ...]) -> list[list[str]]:
    """What the content of parts depends on besides their settings: the hash of every file.

    Raises:
        InputError: one recording is there twice.
    """
    hashes: dict[str, str] = {}
    for part in found:
        if part.file:
            key = content_hash(Path(part.file))
            if key in hashes:
                raise InputError(
                    f"{part.source.name}: a recording must be there once, got equal files {hashes[key]} and "
                    f"{part.file}; remove one"
                )
            hashes[key] = part.file
    return [[part.name, key] for part, key in zip(found, hashes, strict=True)] if hashes else []


def _names(source: TabularSource, files: list[Path]) -> list[str]:
    root = os.path.commonpath([file.parent for file in files])
    names = []
    for file in files:
        name = os.path.relpath(file, root)
        for suffix in sorted(SUFFIXES[source.reader], key=len, reverse=True):
            name = name.removesuffix(suffix)
        names.append(name)
    return names


def _only_subject(source: TabularSource, name: str) -> str:
    return source.subject or Path(name).name


def _by_subject(part: Part, table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    assert isinstance(part.source, TabularSource)
    if "subject" not in table:
        return iter([(_only_subject(part.source, part.name), table)])
    return ((str(subject), rows) for subject, rows in table.groupby("subject", sort=False))


def _recordings(part: Part, subject: str, rows: pd.DataFrame, findings: Findings) -> Iterator[Recording]:
    """One animal's rows of a file, in order of time, as continuous stretches."""
    source = part.source
    assert isinstance(source, TabularSource)
    segment = rows["segment"].to_numpy() if "segment" in rows else np.zeros(len(rows), dtype=np.int64)
    segments, _ = pd.factorize(segment)
    seconds = (rows.index.to_numpy() - rows.index[0]) / source.rate_hz
    # without time stamps, rows of one animal go on only where no other animal's rows stand between them
    breaks = (segments[1:] != segments[:-1]) | (np.diff(rows.index.to_numpy()) != 1)
    if "time" in rows:
        kept = ~rows.duplicated("time").to_numpy()
        stretches = int((np.diff(kept.astype(np.int8), prepend=1) == -1).sum())
        findings.dropped.add(REPEATED, float((~kept).sum()) / source.rate_hz, stretches)
        rows, segments, seconds = rows[kept], segments[kept], rows["time"].to_numpy()[kept]
        # a time stamp says where its row belongs, so rows in another order are sorted and not refused
        order = np.lexsort((seconds, segments))
        rows, segments, seconds = rows.iloc[order], segments[order], seconds[order]
        breaks = segments[1:] != segments[:-1]
        _check_rate(part, subject, np.diff(seconds)[~breaks])
        breaks = breaks | (np.diff(seconds) > LARGEST_GAP / source.rate_hz)
        seconds = seconds - seconds.min()
    samples = rows[list(AXES)].to_numpy(dtype=np.float64) * IN_G[source.unit]
    name = part.name if source.columns.subject is None else f"{part.name}/{subject}"
    constant = _constant_axes(samples)
    if len(constant) == len(AXES):
        findings.dropped.add(CONSTANT, len(samples) / source.rate_hz)
        return
    if constant:
        findings.constant_axes[name] = constant
    labels = rows["label"].to_numpy(dtype=object) if "label" in rows else None
    for first, last in runs(breaks):
        recording = Recording(
            source=source.name,
            species=source.species,
            subject=subject,
            name=name,
            rate_hz=source.rate_hz,
            samples=samples[first:last],
            labels=None if labels is None else labels[first:last],
            start_seconds=float(seconds[first]),
        )
        yield from finite_pieces(_behaviours_mapped(recording, source.behaviours), findings.dropped)


def _check_unit(part: Part, recording: Recording) -> None:
    assert isinstance(part.source, TabularSource)
    usual = float(np.median(np.linalg.norm(recording.samples, axis=1)))
    if usual > LARGEST_USUAL:
        raise InputError(
            f"{part.source.name}: {part.file}: an animal's usual acceleration must be below {LARGEST_USUAL:g} g, got "
            f"{usual:.4g} g under unit {part.source.unit}; correct unit (one of {', '.join(IN_G)})"
        )


def _check_rate(part: Part, subject: str, intervals: NDArray[np.float64]) -> None:
    assert isinstance(part.source, TabularSource)
    if not len(intervals):
        return
    found = 1 / float(np.median(intervals))
    rate = part.source.rate_hz
    if abs(found / rate - 1) > RATE_TOLERANCE:
        raise InputError(
            f"{part.source.name}: {part.file}: rate_hz must agree with the time column to {RATE_TOLERANCE:.0%}, got "
            f"rate_hz {rate:g} and {found:.4g} samples a second by the median interval of {subject}; correct "
            "rate_hz, or leave out columns.time where its stamps are coarser than a sample or not in seconds"
        )


def _constant_axes(samples: NDArray[np.float64]) -> list[str]:
    finite = samples[np.isfinite(samples).all(axis=1)]
    return [axis for axis, values in zip(AXES, finite.T, strict=True) if len(values) and np.ptp(values) == 0]


def _behaviours_mapped(recording: Recording, behaviours: dict[str, str]) -> Recording:
    if recording.labels is None or not behaviours:
        return recording
    labels = np.empty(len(recording.labels), dtype=object)
    labels[:] = [behaviours.get(label) for label in recording.labels]
    return replace(recording, labels=labels)
