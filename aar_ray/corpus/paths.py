"""Which files a source has, and the hash of each."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from aar_ray.config import DeviceSource, TabularSource
from aar_ray.corpus.formats import broken_file_said
from aar_ray.corpus.recording import InputError

SUFFIXES = {"csv": (".csv", ".csv.gz"), "parquet": (".parquet",), "device": (".cwa", ".gt3x", ".bin")}


def files_of(source: TabularSource | DeviceSource) -> list[Path]:
    """The source's files, sorted.

    Raises:
        InputError: the path is missing, no file matches, or a file's name cannot be written as text.
    """
    found = _matching(source, Path(source.path).expanduser(), SUFFIXES[source.reader])
    for file in found:
        try:
            str(file).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{source.name}: a file's name must be UTF-8, got {os.fsencode(file)!r}; rename it"
            ) from None
    return found


def _matching(source: TabularSource | DeviceSource, path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if path.is_file():
        return [path.resolve()]
    if path.is_dir():
        found = [file.resolve() for file in sorted(path.iterdir()) if file.name.endswith(suffixes) and file.is_file()]
        if not found:
            raise InputError(
                f"{source.name}: the folder must hold files that end in {' or '.join(suffixes)}, "
                f"got {path.resolve()} with none; name another folder or a pattern such as {path}/**/*{suffixes[0]}"
            )
        return found
    if any(sign in source.path for sign in "*?["):
        root = Path(path.anchor or ".")
        pattern = str(path.relative_to(path.anchor)) if path.anchor else str(path)
        found = sorted(file.resolve() for file in root.glob(pattern) if file.is_file())
        if not found:
            raise InputError(f"{source.name}: the pattern must match a file, got {source.path} under {root.resolve()}")
        return found
    raise InputError(
        f"{source.name}: path must be a file, a folder or a pattern, got {source.path}, "
        f"and there is nothing at {path.resolve()}"
    )


def content_hash(path: Path, name: str) -> str:
    """SHA-256 of the bytes of a file of the source of this name."""
    with broken_file_said(f"{name}: {path}", None), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
