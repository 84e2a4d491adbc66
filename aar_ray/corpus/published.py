"""The published sets: what their files look like, and one vocabulary for their behaviours.

The facts come from the sets' own pages and descriptions; the files themselves cannot be had without their hosts. What
a description leaves open (the unit of the axes, the unit of a time column) is read off the head of each file, and
refused where it is none of the known ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from aar_ray.config import Columns, PublishedSource, TabularSource
from aar_ray.corpus.formats import header_of
from aar_ray.corpus.recording import AXES, InputError
from aar_ray.corpus.tables import IN_G, IN_SECONDS, head_of

BEHAVIOURS = (
    *("standing", "lying", "ruminating", "grazing", "feeding", "drinking", "licking salt"),
    *("walking", "trotting", "running", "jumping", "active", "inactive"),
    *("grooming", "scratching", "rubbing", "shaking", "rolling"),
    *("fighting", "fleeing", "mounted", "urinating"),
)
"""Of all sets, so that one name means one behaviour whichever set it comes from."""

HEAD_ROWS = 4096
"""Rows from which unit and clock of a file are read."""
USUAL = (0.6, 1.7)
"""g: the median acceleration of an animal over the head of a file, gravity included."""


@dataclass(frozen=True)
class PublishedSet:
    """What is known of a set."""

    title: str
    doi: str
    licence: str
    where: str
    """Page from which a person gets the files."""
    rate_hz: float
    pattern: str
    """Of the files below the set's folder."""
    layouts: tuple[Columns, ...]
    """Columns of its versions."""
    units: tuple[str, ...]
    """In which the axes may be."""
    behaviours: dict[str, str]
    """Label: behaviour of the vocabulary; labels that are no behaviour are left out."""
    animal: Callable[[Path], str]
    """Name of the animal whose file this is."""
    animals_apart: bool = True
    """Whether files or columns tell the animals apart."""
    host: Literal["zenodo", "dataverse"] | None = None
    """What lists its files by DOI."""


def _horse(file: Path) -> str:
    """subject_<id>_<Name>_part_<n>.csv"""
    match = re.fullmatch(r"subject_(\w+?)_(\w+?)_part_\w+", file.stem)
    return match[2] if match else file.stem


SETS = {
    "goats": PublishedSet(
        title="Multi Sensor-Orientation Movement Data of Goats (Kamminga 2018)",
        doi="10.17026/dans-xhn-bsfb",
        licence="the licence on its page",
        where="https://doi.org/10.17026/dans-xhn-bsfb",
        rate_hz=100.0,
        pattern="[A-Z][0-9]/pos_[A-F].csv",
        layouts=(Columns(x="ax", y="ay", z="az", label="label"),),
        units=("g", "m/s^2"),
        behaviours={name: name for name in ("standing", "grazing", "walking", "trotting", "running")},
        # the six sensors of a goat record the same moments: the folder is the animal
        animal=lambda file: file.parent.name,
        host="dataverse",
    ),
    "horses": PublishedSet(
        title="Horsing Around (Kamminga et al. 2019)",
        doi="10.4121/uuid:2e08745c-4178-4183-8551-f248c992cb14",
        licence="CC0",
        where="https://doi.org/10.4121/uuid:2e08745c-4178-4183-8551-f248c992cb14",
        rate_hz=100.0,
        pattern="**/subject_*_part_*.csv",
        layouts=(Columns(x="Ax", y="Ay", z="Az", segment="segment", label="label"),),
        units=("m/s^2", "g"),
        behaviours={
            "standing": "standing",
            "walking-natural": "walking",
            "walking-rider": "walking",
            "trotting-natural": "trotting",
            "trotting-rider": "trotting",
            "running-natural": "running",
            "running-rider": "running",
            "grazing": "grazing",
            "eating": "feeding",
            "head-shake": "shaking",
            "shaking": "shaking",
            "scratch-biting": "scratching",
            "rubbing": "rubbing",
            "fighting": "fighting",
            "rolling": "rolling",
            "scared": "fleeing",
            "jumping": "jumping",
        },
        animal=_horse,
    ),
    "cattle": PublishedSet(
        title="Japanese Black Beef Cow Behavior Classification Dataset (Ito et al.)",
        doi="10.5281/zenodo.5849025",
        licence="CC BY-NC-ND 4.0",
        where="https://zenodo.org/records/5849025",
        rate_hz=25.0,
        pattern="**/cow[1-6].csv",
        layouts=(
            Columns(x="AccX [g]", y="AccY [g]", z="AccZ [g]", time="TimeStamp_UNIX", label="Label"),
            Columns(x="AccX", y="AccY", z="AccZ", label="label"),
        ),
        units=("g",),
        behaviours={
            "RES": "standing",
            "REL": "lying",
            "RUS": "ruminating",
            "MOV": "walking",
            "GRZ": "grazing",
            "FES": "feeding",
            "SLT": "licking salt",
            "DRN": "drinking",
            "LCK": "grooming",
            "URI": "urinating",
            "ATT": "fighting",
            "ESC": "fleeing",
            "BMN": "mounted",
        },
        animal=lambda file: file.stem,
        host="zenodo",
    ),
    "sheep": PublishedSet(
        title="Sheep_activity_Data (Kleanthous et al. 2022)",
        doi="none",
        licence="none stated",
        where="https://github.com/nkleanthous2015/Sheep_activity_Data",
        rate_hz=12.5,
        pattern="**/raw_metamotion_grazing_active_inactive.csv",
        layouts=(Columns(time="nseq", label="activity"),),
        units=("g",),
        behaviours={name: name for name in ("active", "grazing", "inactive")},
        animal=lambda file: "ewes",
        animals_apart=False,
    ),
}


def published_files(source: PublishedSource) -> list[tuple[Path, str]]:
    """The set's files with the animal of each, sorted.

    Raises:
        InputError: the set is not where the study says; the message tells where to get it.
    """
    known, root = SETS[source.reader], Path(source.path).expanduser()
    found = sorted(file.resolve() for file in root.glob(known.pattern) if file.is_file()) if root.is_dir() else []
    if not found:
        got = f"{root.resolve()} without one" if root.is_dir() else f"nothing at {root.resolve()}"
        raise InputError(
            f"{source.name}: path must be a folder with the files {known.pattern} of {known.title}, got {got}; "
            f"get the set from {known.where} (doi {known.doi}; licence: {known.licence})"
        )
    return [(file, known.animal(file)) for file in found]


def as_table(source: PublishedSource, file: Path, animal: str) -> TabularSource:
    """How to read one file of a set: the facts of the set, and what the head of the file tells.

    Raises:
        InputError: the file has the columns of no known version, or its values no known unit.
    """
    known = SETS[source.reader]
    plain = TabularSource(
        name=source.name,
        herd=source.herd,
        path=str(file),
        reader="csv",
        species=source.species,
        rate_hz=known.rate_hz,
        unit="g",
        subject=animal,
        columns=_columns(source, known, file),
        behaviours=source.behaviours or known.behaviours,
    )
    head = head_of(file, plain, [*AXES, "time"], HEAD_ROWS)
    # still in numbers of the file: the unit g takes them as they are, the time unit s too
    usual = float(np.nanmedian(np.linalg.norm(head[list(AXES)].to_numpy(), axis=1)))
    units = [unit for unit in known.units if USUAL[0] < usual * IN_G[unit] < USUAL[1]]
    if not units:
        raise InputError(
            f"{source.name}: {file}: an animal's usual acceleration must be {USUAL[0]} to {USUAL[1]} g in "
            f"{' or '.join(known.units)}, got {usual:.4g}; is this the raw file of {known.title}?"
        )
    changes: dict[str, str] = {"unit": units[0]}
    if "time" in head:
        changes["time_unit"] = _time_unit(head["time"].to_numpy(), known.rate_hz)
    return plain.model_copy(update=changes)


def _columns(source: PublishedSource, known: PublishedSet, file: Path) -> Columns:
    header = header_of(file, source.name)
    for columns in known.layouts:
        named = {name for name in columns.model_dump().values() if name is not None}
        if named <= set(header):
            return columns
    wanted = " or ".join(", ".join(n for n in columns.model_dump().values() if n) for columns in known.layouts)
    raise InputError(
        f"{source.name}: {file}: the file must have the columns {wanted} of {known.title}, got {', '.join(header)}"
    )


def _time_unit(stamps: np.ndarray, rate_hz: float) -> str:
    """The unit in which most stamps are one sample apart; seconds if in none, which the reader then refuses."""
    interval = float(np.median(np.diff(stamps)))
    units = {**{unit: 1 / (rate_hz * seconds) for unit, seconds in IN_SECONDS.items()}, "samples": 1.0}
    return next((unit for unit, expected in units.items() if abs(interval / expected - 1) < 0.02), "s")
