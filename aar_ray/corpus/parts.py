"""What of a source is read independently: a file, or a simulated animal; and which animals it holds."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aar_ray.config import DeviceSource, PublishedSource, SimulatedSource, Source, TabularSource
from aar_ray.corpus.paths import SUFFIXES, content_hash, files_of
from aar_ray.corpus.published import as_table, published_files
from aar_ray.corpus.recording import InputError
from aar_ray.corpus.simulated import animal_names
from aar_ray.corpus.tables import texts_in


@dataclass(frozen=True)
class Part:
    """One file, or one simulated animal: what a task reads. Plain data."""

    source: SimulatedSource | TabularSource | DeviceSource
    """How it is read; for a file of a published set, as its facts say."""
    seed: int
    labelled: bool
    """Whether labels are read; those of an unlabelled source never are."""
    name: str
    """Of the recordings in it: the file's path below the source's folder, without suffix; or the animal."""
    file: str = ""
    animal: int = 0
    sealed: tuple[str, ...] = ()
    """Animals whose rows are left out as they are read."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Name of an animal in the file: its name in the study, where `same_animal` gives it another."""


def parts(
    source: Source,
    seed: int,
    *,
    labelled: bool = False,
    sealed: Collection[str] = (),
    renamed: Mapping[str, str] | None = None,
) -> tuple[Part, ...]:
    """The items of a source that are read independently. Files that hold one sealed animal are left out unopened.

    Args:
        source: of the study file.
        seed: the study's; only simulated sources draw from it.
        labelled: whether labels are wanted.
        sealed: animals whose data must not be read, by their names in the source.
        renamed: other names of animals, see `Part`.

    Raises:
        InputError: no file is found, or two files would be the same animal by name.
    """
    about: dict[str, Any] = {"seed": seed, "labelled": labelled, "renamed": dict(renamed or {})}
    if isinstance(source, SimulatedSource):
        return tuple(
            Part(source=source, name=name, animal=number, **about)
            for number, name in enumerate(animal_names(source))
            if name not in sealed
        )
    files = files_with_animals(source)
    names = _names([file for file, _ in files])
    if not isinstance(source, PublishedSource) and None not in (animals := [animal for _, animal in files]):
        repeated = sorted({str(animal) for animal in animals if animals.count(animal) > 1})
        if repeated and source.subject is None:
            raise InputError(
                f"{source.name}: each file is one animal named by its stem, got several called {', '.join(repeated)}; "
                "name columns.subject, or make each animal a source with its own subject"
            )
    return tuple(
        Part(
            source=as_table(source, file, str(animal)) if isinstance(source, PublishedSource) else source,
            name=name,
            file=str(file),
            sealed=tuple(sorted(sealed)),
            **about,
        )
        for (file, animal), name in zip(files, names, strict=True)
        if animal is None or animal not in sealed
    )


def files_with_animals(source: TabularSource | PublishedSource | DeviceSource) -> list[tuple[Path, str | None]]:
    """A source's files, each with the animal that is all of it; None where a column tells."""
    if isinstance(source, PublishedSource):
        return [*published_files(source)]
    files = files_of(source)
    if isinstance(source, TabularSource) and source.columns.subject is not None:
        return [(file, None) for file in files]
    return [(file, source.subject or _stem(file)) for file in files]


def subjects_of(source: Source) -> tuple[str, ...]:
    """All animals of a source, sorted; reads nothing but the subject column, and no file where there is none."""
    if isinstance(source, SimulatedSource):
        return animal_names(source)
    found: set[str] = set()
    for file, animal in files_with_animals(source):
        if animal is not None:
            found.add(animal)
        elif isinstance(source, TabularSource):
            found |= texts_in(file, source, "subject")
    return tuple(sorted(found))


def fingerprint(found: tuple[Part, ...]) -> list[list[str]]:
    """What the content of parts depends on besides their settings: the hash of every file.

    Raises:
        InputError: one recording is there twice.
    """
    hashes: dict[str, str] = {}
    files = [part for part in found if part.file]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        keys = threads.map(lambda part: content_hash(Path(part.file), part.source.name), files)
        for part, key in zip(files, keys, strict=True):
            if key in hashes:
                raise InputError(
                    f"{part.source.name}: a recording must be there once, got equal files {hashes[key]} and "
                    f"{part.file}; remove one"
                )
            hashes[key] = part.file
    return [[part.name, key] for part, key in zip(found, hashes, strict=True)] if hashes else []


def _names(files: list[Path]) -> list[str]:
    root = os.path.commonpath([file.parent for file in files])
    return [os.path.relpath(file.with_name(_stem(file)), root) for file in files]


def _stem(file: Path) -> str:
    for suffix in sorted((one for some in SUFFIXES.values() for one in some), key=len, reverse=True):
        if file.name.endswith(suffix):
            return file.name.removesuffix(suffix)
    return file.name
