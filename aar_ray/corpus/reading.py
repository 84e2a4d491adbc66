"""A corpus that is there: what it is, and how a worker reads its share of it.

Apart from its building, whose imports take a second that no worker has to pay.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import ray
import ray.data
from numpy.typing import NDArray

from aar_ray.corpus.files import Coder, Resident, labels_of, window_files


@dataclass(frozen=True)
class Corpus:
    """Windows in the store."""

    key: str
    folder: Path
    windows: int
    summary: dict[str, Any]
    """By source; see `aar_ray.corpus.summary.Summary`."""
    cached: bool
    """Whether it had been built before."""
    seconds: float
    """Taken to find or build it."""


def read_corpus(corpus: Corpus) -> ray.data.Dataset:
    """The corpus in Ray's object store: window (float32 [3, L], g), source, recording."""
    be_quiet()
    # read here and not in tasks: on a cluster only this node has the store
    columns = ["window", "source", "recording"]
    tables: list[Any] = [ray.put(pq.read_table(file, columns=columns)) for file in window_files(corpus.folder)]
    return ray.data.from_arrow_refs(tables)


def resident_windows(batches: Iterable[Mapping[str, NDArray[Any]]]) -> Resident:
    """All windows of a worker's batches as one array.

    Args:
        batches: window [b, 3, L] in g, source [b] and recording [b], as `read_corpus` gives them.
    """
    found = list(batches)
    return Resident(
        windows=np.concatenate([batch["window"] for batch in found]),
        sources=labels_of(np.concatenate([batch["source"] for batch in found])),
        recordings=labels_of(np.concatenate([batch["recording"] for batch in found])),
    )


def mapped_windows(batches: Iterable[Mapping[str, NDArray[Any]]]) -> Resident:
    """The same on disk: in a file that goes with this process, so that memory holds one batch at a time.

    Args:
        batches: as for `resident_windows`.

    Raises:
        OSError: the folder for temporary files has no room.
    """
    sources, recordings = Coder(), Coder()
    shape: tuple[int, ...] = ()
    with tempfile.TemporaryFile(prefix="windows-") as file:
        for batch in batches:
            shape = batch["window"].shape[1:]
            file.write(np.ascontiguousarray(batch["window"], dtype=np.float32).data)
            sources.add(batch["source"])
            recordings.add(batch["recording"])
        file.flush()
        coded = sources.labels()
        windows = np.memmap(file, dtype=np.float32, mode="r", shape=(len(coded.codes), *shape))
    return Resident(windows, coded, recordings.labels())


def be_quiet() -> None:
    """Ray Data without progress bars and chatter."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.ERROR)
