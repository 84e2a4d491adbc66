"""From a part of a source to continuous recordings in g.

`read` yields one part's recordings, so that a cluster can read many at once. `check_source` looks at the first rows of
every file before anything starts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aar_ray.config import DeviceSource, PublishedSource, SimulatedSource, Source, TabularSource
from aar_ray.corpus import tables
from aar_ray.corpus.devices import read_device
from aar_ray.corpus.herd import SPECIES
from aar_ray.corpus.parts import Part, parts
from aar_ray.corpus.published import SETS
from aar_ray.corpus.recording import AXES, InputError, Recording, finite_pieces
from aar_ray.corpus.simulated import simulate
from aar_ray.corpus.sketch import sketch_of, smallest
from aar_ray.corpus.stretches import Clock, Findings, stretches
from aar_ray.corpus.tables import IN_G, pieces, texts_in

CHECKED_ROWS = 4096
"""Rows of each file that are looked at before a study starts."""
SKETCHED_SAMPLES = 2**17
SKETCHED_OF = 2**20
"""Of so many samples of a stretch, so that sketches cost little."""
LARGEST_USUAL = 5.0
"""g; a collar feels about 1 g most of the time, and 9.8 where m/s^2 were called g."""
SEALED = "sealed animal"
CONSTANT = "constant on all axes"
TELLING_ROWS = 1024
DEAD_ROWS = 2**14
"""So many of a piece must not change to be a dead sensor's; a shorter file must not change at all."""


def read(part: Part, findings: Findings, rows: int | None = None) -> Iterator[Recording]:
    """The continuous, finite recordings of one item; what is left out is counted in `findings`.

    Args:
        part: one of `parts(source, ...)`.
        findings: counts what is left out.
        rows: read no more than these first rows of a file.

    Raises:
        InputError: the file breaks a rule; see `aar_ray.corpus.tables.pieces` and `aar_ray.corpus.stretches`.
    """
    if isinstance(part.source, SimulatedSource):
        found = simulate(part.source, part.animal, part.seed, labelled=part.labelled)
    elif isinstance(part.source, DeviceSource):
        found = read_device(Path(part.file), part.source, part.source.subject or part.name.split("/")[-1], part.name)
    else:
        found = _read_table(part, part.source, findings, rows)
    broken: dict[str, bool] = {}
    since: dict[str, int] = {}
    for recording in found:
        findings.rates_hz.add(recording.rate_hz)
        # where the last piece ended without a value, this one goes on with nothing
        continued = recording.continued and not broken[recording.name]
        broken[recording.name] = not np.isfinite(recording.samples[-1]).all()
        for piece in finite_pieces(replace(recording, continued=continued), findings.dropped):
            subject = part.renamed.get(piece.subject, piece.subject)
            seconds = len(piece.samples) / piece.rate_hz
            findings.seconds[subject] = findings.seconds.get(subject, 0.0) + seconds
            since[piece.name] = since.get(piece.name, 0) % SKETCHED_OF if piece.continued else 0
            if part.file and since[piece.name] < SKETCHED_SAMPLES:
                known = findings.sketches.get(piece.name, set())
                findings.sketches[piece.name] = smallest(known | sketch_of(piece.samples[:SKETCHED_SAMPLES]))
            since[piece.name] += len(piece.samples)
            yield _behaviours_mapped(replace(piece, subject=subject), part.source.behaviours)


def behaviours_of(source: Source, sealed: Collection[str] = ()) -> tuple[set[str], set[str]]:
    """Behaviours of a labelled source, and all labels in it; reads nothing but the label column.

    Args:
        source: names columns.label, or is simulated.
        sealed: animals whose own files stay closed.
    """
    if isinstance(source, SimulatedSource):
        labels = set(SPECIES[source.species].motions)
        listed = source.behaviours
    else:
        labels, listed = set(), source.behaviours
        for part in parts(source, 0, labelled=True, sealed=sealed):
            if isinstance(part.source, TabularSource):
                labels |= texts_in(Path(part.file), part.source, "label")
                listed = part.source.behaviours
    listed = listed or {name: name for name in labels}
    given = {folded(label): name for label, name in listed.items()}
    return {given[folded(label)] for label in labels if folded(label) in given}, labels


def folded(label: str) -> str:
    """A label without differences of case and spaces."""
    return " ".join(label.split()).casefold()


def check_source(source: Source, *, labelled: bool = False, sealed: Collection[str] = ()) -> dict[str, set[int]]:
    """Refuse what headers and first rows of a source's files show to be wrong. Needs no Ray.

    Args:
        source: of the study file.
        labelled: whether its labels are wanted.
        sealed: animals whose own files stay closed.

    Returns:
        By recording, the sketch of its first rows, by which another file of it is known again.

    Raises:
        InputError: all problems of the source, one a line.
    """
    if isinstance(source, SimulatedSource):
        return {}
    _check_description(source, labelled=labelled)
    problems = []
    findings = Findings()
    for part in parts(source, 0, labelled=labelled, sealed=sealed):
        try:
            for recording in [] if isinstance(source, DeviceSource) else read(part, findings, rows=CHECKED_ROWS):
                _check_unit(part, recording)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    return findings.sketches


def _check_description(source: TabularSource | PublishedSource | DeviceSource, *, labelled: bool) -> None:
    if isinstance(source, TabularSource):
        axes = [getattr(source.columns, axis) for axis in AXES]
        if len(set(axes)) < len(axes):
            raise InputError(f"{source.name}: columns x, y and z must differ, got {', '.join(axes)}")
        if labelled and source.columns.label is None:
            raise InputError(f"{source.name}: a labelled source must name columns.label, got none")
    if labelled and isinstance(source, DeviceSource):
        raise InputError(f"{source.name}: a labelled source must have labels, got device files, which hold none")
    if labelled and isinstance(source, PublishedSource) and not SETS[source.reader].animals_apart:
        raise InputError(
            f"{source.name}: a labelled source must tell its animals apart, got {SETS[source.reader].title}, "
            "which names none; use it without labels"
        )


def _read_table(part: Part, source: TabularSource, findings: Findings, rows: int | None) -> Iterator[Recording]:
    roles = [*AXES, "subject", "segment", "time", *(["label"] if part.labelled else [])]
    clocks: dict[str, Clock] = defaultdict(Clock)
    for number, table in enumerate(pieces(Path(part.file), source, roles, rows)):
        whole = rows is not None or (number == 0 and len(table) < tables.PIECE_ROWS)
        for subject, own in _by_subject(part, source, table):
            if subject in part.sealed:
                findings.dropped.add(SEALED, len(own) / source.rate_hz)
                continue
            findings.seconds.setdefault(part.renamed.get(subject, subject), 0.0)
            name = part.name if source.columns.subject is None else f"{part.name}/{subject}"
            where = f"{source.name}: {part.file}" + (f" ({subject})" if source.columns.subject else "")
            telling = whole or len(own) >= DEAD_ROWS
            if not (telling and _constant(own, source, name, findings)):
                for stretch in stretches(own, source.rate_hz, clocks[subject], findings, where):
                    yield Recording(
                        source=source.name,
                        species=source.species,
                        subject=subject,
                        name=f"{name}~{stretch.clock + 1}" if stretch.clock else name,
                        rate_hz=source.rate_hz,
                        samples=_in_g(stretch.rows, source),
                        labels=stretch.rows["label"].to_numpy(dtype=object) if "label" in stretch.rows else None,
                        start_seconds=stretch.start_seconds,
                        continued=stretch.continued,
                        began=stretch.began,
                    )
        if rows is not None:
            return


def _by_subject(part: Part, source: TabularSource, table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    if "subject" not in table:
        return iter([(source.subject or part.name.split("/")[-1], table)])
    return ((str(subject), rows) for subject, rows in table.groupby("subject", sort=False))


def _in_g(rows: pd.DataFrame, source: TabularSource) -> NDArray[np.float64]:
    factor = 1 / source.counts_per_g if source.counts_per_g else IN_G[source.unit]
    samples = np.empty((len(AXES), len(rows)))
    for axis, values in zip(AXES, samples, strict=True):
        np.multiply(rows[axis].to_numpy(), factor, out=values)
    return samples.T


def _constant(rows: pd.DataFrame, source: TabularSource, name: str, findings: Findings) -> bool:
    """Whether a sensor is dead; notes single axes that are."""
    axes: list[str] = []
    # most change within some rows, and the others need not be looked at
    for some in (rows[:TELLING_ROWS], rows):
        samples = some[list(AXES)].to_numpy(dtype=np.float64)
        finite = samples[np.isfinite(samples).all(axis=1)]
        axes = [axis for axis, values in zip(AXES, finite.T, strict=True) if len(values) and np.ptp(values) == 0]
        if not axes and len(finite):
            return False
    if len(axes) == len(AXES):
        findings.dropped.add(CONSTANT, len(samples) / source.rate_hz)
        return True
    if axes:
        findings.constant_axes[name] = axes
    return False


def _check_unit(part: Part, recording: Recording) -> None:
    assert isinstance(part.source, TabularSource)
    usual = float(np.median(np.linalg.norm(recording.samples, axis=1)))
    if usual > LARGEST_USUAL:
        raise InputError(
            f"{part.source.name}: {part.file}: an animal's usual acceleration must be below {LARGEST_USUAL:g} g, got "
            f"{usual:.4g} g under unit {part.source.unit}; correct unit (one of {', '.join(IN_G)}, or counts with "
            "counts_per_g where the file holds a converter's raw counts)"
        )


def _behaviours_mapped(recording: Recording, behaviours: dict[str, str]) -> Recording:
    if recording.labels is None or not behaviours:
        return recording
    listed = {folded(label): name for label, name in behaviours.items()}
    codes, labels = pd.factorize(recording.labels)
    # the last one is where code -1, an empty label, points
    mapped = np.array([*(listed.get(folded(label)) for label in labels), None], dtype=object)
    return replace(recording, labels=mapped[codes])
