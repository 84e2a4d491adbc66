"""Disk space of a store: what no ranking needs goes, the oldest first, until the store fits its budget.

    python -m aar_ray.search.garbage results/.store --gigabytes 20

Needed is what the journals of the studies that use the store name in trials that are complete or still run, in
baselines, and as corpora: none of it is ever removed. An encoder of a failed trial, a study whose results were deleted,
a half-written artifact of a killed process may go; what is missed later is made again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aar_ray.search.journal import Event, known_trials, read_events
from aar_ray.store import MADE_FROM, Store

GIGABYTE = 10**9

GRACE_SECONDS = 3600.0
"""An artifact this young may be about to be named by a journal."""

JOURNALS = ".journals"


@dataclass(frozen=True)
class Collected:
    """What a collection did."""

    removed: int
    freed_bytes: int
    left_bytes: int
    needed_bytes: int
    """Of what is left, as much as may not be removed."""

    def __str__(self) -> str:
        freed, left, needed = (size / GIGABYTE for size in (self.freed_bytes, self.left_bytes, self.needed_bytes))
        return f"removed {self.removed} artifacts of {freed:.3f} GB; {left:.3f} GB left, {needed:.3f} GB of it needed"


@dataclass(frozen=True)
class _Entry:
    path: Path
    stage: str
    key: str
    size: int
    changed: float
    dead: bool
    """Of no use to anybody: half-written, and its writer was killed or will publish it soon."""


def remember(store: Store, journal: Path) -> None:
    """Note in the store that this journal names artifacts of it."""
    name = hashlib.sha256(str(journal.resolve()).encode()).hexdigest()[:20]
    note = store.root / JOURNALS / name
    note.parent.mkdir(parents=True, exist_ok=True)
    scratch = note.with_name(f".{name}-{os.getpid()}")
    scratch.write_text(str(journal.resolve()))
    scratch.replace(note)


def needed(events: Sequence[Event]) -> set[str]:
    """Keys of artifacts that a study's ranking, or a trial that still runs, rests on."""
    done_without = {number for number, one in enumerate(known_trials(events)) if one.state in ("failed", "stopped")}
    return {key for event in events if event.get("trial") not in done_without for key in _keys(event)}


def collect(store: Store, gigabytes: float, *, now: float | None = None) -> Collected:
    """Remove what is not needed, oldest first, until the store holds at most `gigabytes`.

    What is needed stays, also where it alone is more than that.
    """
    now = time.time() if now is None else now
    keys = set().union(*(needed(list(read_events(journal))) for journal in _journals(store)))
    entries = sorted(_entries(store), key=lambda entry: (not entry.dead, entry.changed))
    total = sum(entry.size for entry in entries)
    removed = freed = 0
    for entry in entries:
        if entry.key in keys or now - entry.changed < GRACE_SECONDS:
            continue
        if (entry.dead or total - freed > gigabytes * GIGABYTE) and _remove(store, entry):
            removed, freed = removed + 1, freed + entry.size
    necessary = sum(entry.size for entry in entries if entry.key in keys)
    return Collected(removed, freed, total - freed, necessary)


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "key" and isinstance(inner, str):
                yield inner
            elif name not in ("result", "metrics", "settings"):
                yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def _journals(store: Store) -> Iterable[Path]:
    """Of the studies that use the store; one whose results were deleted is forgotten."""
    for note in sorted((store.root / JOURNALS).glob("[!.]*")):
        journal = Path(note.read_text())
        if journal.is_file():
            yield journal
        else:
            note.unlink(missing_ok=True)


def _entries(store: Store) -> Iterator[_Entry]:
    for path in store.root.glob("[!.]*/*"):
        hidden = path.name.startswith(".")
        if not hidden and not (path / MADE_FROM).is_file():
            continue  # nothing of ours
        key = path.name.lstrip(".").partition("-")[0].partition(".")[0]
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        try:
            size = sum(file.stat().st_size for file in files)
            changed = path.stat().st_mtime
        except FileNotFoundError:
            continue  # published or removed meanwhile
        # a pre-train that was interrupted, `.<key>.pt`, may go on
        yield _Entry(path, path.parent.name, key, size, changed, hidden and path.suffix != ".pt")


def _remove(store: Store, entry: _Entry) -> bool:
    """Take an artifact away, unless somebody is making it now."""
    lease = store.lease(entry.stage, entry.key)
    if lease is None:
        return False
    try:
        if entry.path.is_file():
            entry.path.unlink(missing_ok=True)
            return True
        # invisible at once; a kill half way leaves what the next collection takes for half-written
        going = entry.path.with_name(f".{entry.key}-removed-{os.getpid()}")
        entry.path.rename(going)
        shutil.rmtree(going, ignore_errors=True)
    except FileNotFoundError:
        return False
    finally:
        lease.release()
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 1 where more is needed than the budget holds."""
    parser = argparse.ArgumentParser(
        prog="python -m aar_ray.search.garbage", description="Remove artifacts that no study's ranking needs."
    )
    parser.add_argument("store", type=Path, metavar="STORE", help="folder of the artifacts, such as results/.store")
    parser.add_argument("--gigabytes", type=float, required=True, help="disk space that the store may take")
    options = parser.parse_args(arguments)
    if not options.store.is_dir():
        print(f"STORE must be a folder of artifacts, there is none at {options.store}", file=sys.stderr)
        return 1
    collected = collect(Store(options.store), options.gigabytes)
    print(collected)
    return 0 if collected.left_bytes <= options.gigabytes * GIGABYTE else 1


if __name__ == "__main__":
    sys.exit(main())
