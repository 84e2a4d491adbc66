"""The corpus on disk: Parquet files with one row a window, read at the speed of the disk.

The windows are a tensor column, plain and uncompressed, one page a row group. Parquet puts the values of such a page
at its end as they are in memory, so they are read straight into their place; a page of any other form is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.corpus.normalise import Scope, Statistics

GROUP_ROWS = 16384
"""Windows of a row group: 10 MB."""
NAMES = ("source", "subject", "recording", "behaviour")
"""Columns of names, which repeat: written as dictionaries."""
HEADER_BYTES = 64
"""More than the header of a page without statistics takes."""
THREADS = 2
"""More do not read faster from one disk."""


def window_table(
    windows: NDArray[np.float32], names: Mapping[str, Sequence[str | None]], starts: NDArray[np.float64]
) -> pa.Table:
    """Rows on their way to a file.

    Args:
        windows: [n, 3, L], in g.
        names: source, subject, recording and behaviour, [n] each.
        starts: [n], seconds since the recording's first sample.
    """
    values = pa.array(np.ascontiguousarray(windows).reshape(-1))
    return pa.table(
        {
            # a tensor column only once it is in its file: Ray and Arrow cannot sort it
            "window": pa.FixedSizeListArray.from_arrays(values, int(np.prod(windows.shape[1:]))),
            **{name: pa.array(names[name], pa.string()) for name in NAMES},
            "start": pa.array(starts, pa.float64()),
        }
    )


def write_windows(path: Path, table: pa.Table, length: int, about: Mapping[str, str]) -> None:
    """Write one file.

    Args:
        path: of the file.
        table: of `window_table`.
        length: L, samples a window.
        about: goes into the file's metadata: unit, rate, key and the like.
    """
    tensor = pa.fixed_shape_tensor(pa.float32(), (3, length), dim_names=["axis", "sample"])
    windows = pa.ExtensionArray.from_storage(tensor, table.column("window").combine_chunks())
    pq.write_table(
        table.set_column(0, "window", windows).replace_schema_metadata(dict(about)),
        path,
        compression="none",
        use_dictionary=list(NAMES),
        write_statistics=False,
        row_group_size=GROUP_ROWS,
        data_page_size=2**30,
        max_rows_per_page=2 * GROUP_ROWS,
    )


@dataclass(frozen=True)
class Labels:
    """One name a window, as a number."""

    codes: NDArray[np.int32]
    """[n], index into `names`; -1 where there is none."""
    names: tuple[str, ...]

    def texts(self) -> NDArray[np.object_]:
        """[n], the names; None where there is none."""
        found: NDArray[np.object_] = np.array([*self.names, None], dtype=object)[self.codes]
        return found


def labels_of(texts: NDArray[np.object_]) -> Labels:
    """Names as numbers; None and NaN are none."""
    codes, names = pd.factorize(texts)
    return Labels(codes.astype(np.int32), tuple(str(name) for name in names))


class Coder:
    """Names as numbers, some at a time: objects of Python take more memory than a window's samples."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._codes: list[NDArray[np.int32]] = []

    def add(self, texts: NDArray[np.object_]) -> None:
        """The names of some more windows, none of them missing."""
        codes, names = pd.factorize(texts)
        places = [self._known.setdefault(str(name), len(self._known)) for name in names]
        self._codes.append(np.array(places, dtype=np.int32)[codes])

    def labels(self) -> Labels:
        """Of all windows so far."""
        return Labels(np.concatenate(self._codes), tuple(self._known))


@dataclass(frozen=True)
class Resident:
    """All windows of a worker, in g, and whose statistics score them."""

    windows: NDArray[np.float32]
    """[n, 3, L]."""
    sources: Labels
    recordings: Labels

    def statistics(self, summary: Mapping[str, Any], scope: Scope) -> Statistics | None:
        """Mean and deviation per axis for each window, float64 [n, 3]; None where each window has its own.

        Args:
            summary: of the corpus, so that the statistics do not depend on which worker asks.
            scope: whose statistics: the source's, the recording's or each window's own.
        """
        if scope == "window":
            return None
        # recordings have their names within a source
        pairs = self.sources.codes.astype(np.int64) * len(self.recordings.names) + self.recordings.codes
        found, which = np.unique(pairs, return_inverse=True)
        abouts = []
        for source, recording in zip(*np.divmod(found, len(self.recordings.names)), strict=True):
            about = summary[self.sources.names[source]]
            abouts.append(about if scope == "source" else about["by_recording"][self.recordings.names[recording]])
        mean, deviation = (np.array([about[name] for about in abouts]) for name in ("mean", "deviation"))
        return Statistics(mean[which], deviation[which])


def read_resident(folder: Path) -> Resident:
    """All windows of a corpus, in its shuffled order."""
    files = window_files(folder)
    sources, recordings = read_names(files, ["source", "recording"])
    return Resident(read_windows(files), sources, recordings)


def window_batches(folder: Path, rows: int) -> Iterator[dict[str, NDArray[Any]]]:
    """The same, at most so many windows at a time: window [b, 3, L] in g, source [b] and recording [b]."""
    for path in window_files(folder):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=["window", "source", "recording"]):
                yield {
                    "window": batch.column("window").to_numpy_ndarray(),
                    "source": batch.column("source").to_numpy(zero_copy_only=False),
                    "recording": batch.column("recording").to_numpy(zero_copy_only=False),
                }


def window_files(folder: Path) -> list[Path]:
    """The files of a corpus, in order."""
    return sorted(folder.glob("windows-*.parquet"))


def read_windows(files: Sequence[Path]) -> NDArray[np.float32]:
    """The windows of some files, [n, 3, L] float32 in g, in order."""
    counts = [pq.read_metadata(file).num_rows for file in files]
    shape = pq.read_schema(files[0]).field("window").type.shape
    windows = np.empty((sum(counts), *shape), dtype=np.float32)
    parts = np.split(windows, np.cumsum(counts)[:-1])
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(_read_into, files, parts))
    return windows


def read_names(files: Sequence[Path], columns: Sequence[str]) -> list[Labels]:
    """Columns of names of some files, in order."""
    tables = [pq.read_table(file, columns=list(columns), read_dictionary=list(columns)) for file in files]
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    found = []
    for name in columns:
        column = table.column(name).combine_chunks()
        codes = column.indices.fill_null(-1).to_numpy()
        found.append(Labels(codes.astype(np.int32), tuple(column.dictionary.to_pylist())))
    return found


def read_starts(files: Sequence[Path]) -> NDArray[np.float64]:
    """[n], seconds since each window's recording began."""
    return np.concatenate([pq.read_table(file, columns=["start"]).column("start").to_numpy() for file in files])


def about_file(path: Path) -> dict[str, str]:
    """What a file's metadata say of it."""
    found: Mapping[bytes, bytes] = pq.read_schema(path).metadata
    return {name.decode(): value.decode() for name, value in found.items() if not name.startswith(b"ARROW")}


def _read_into(path: Path, out: NDArray[np.float32]) -> None:
    with pq.ParquetFile(path) as file, path.open("rb", buffering=0) as raw:
        first = 0
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            rows = out[first : first + group.num_rows]
            chunk = group.column(0)
            assert chunk.path_in_schema.startswith("window.")
            if _is_one_plain_page(raw, chunk, rows.size):
                raw.seek(chunk.data_page_offset + chunk.total_compressed_size - rows.nbytes)
                _fill(raw, rows.reshape(-1).view(np.uint8).data, path)
            else:
                column = file.read_row_group(number, columns=["window"]).column(0).combine_chunks()
                rows[:] = column.to_numpy_ndarray()
            first += group.num_rows


def _fill(raw: Any, into: memoryview, path: Path) -> None:
    done = 0
    while done < len(into):
        count = raw.readinto(into[done:])
        if not count:
            raise OSError(f"{path} ends in the middle of a window; remove its folder and build the corpus again")
        done += count


def _is_one_plain_page(raw: Any, chunk: Any, values: int) -> bool:
    """Whether a column chunk is one page of so many values that stand in it as in memory.

    A page begins with its header, in Thrift's compact protocol: field 1 its type, 2 and 3 its sizes.
    """
    if (
        chunk.compression != "UNCOMPRESSED"
        or not set(chunk.encodings) <= {"PLAIN", "RLE"}
        or chunk.has_dictionary_page
        or chunk.num_values != values
    ):
        return False
    raw.seek(chunk.data_page_offset)
    header = raw.read(HEADER_BYTES)
    at, numbers = 0, []
    for _ in range(3):
        if header[at] != 0x15:  # the next field, a 32-bit integer
            return False
        number, at = _varint(header, at + 1)
        numbers.append(number >> 1)  # zigzag, and none of them is negative
    kind, _, size = numbers
    return kind == 0 and 0 < chunk.total_compressed_size - size < HEADER_BYTES and size >= 4 * values


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, at


def read_labelled(folder: Path, order: Sequence[str]) -> LabelledWindows:
    """The labelled windows of an artifact, sorted by animal, recording and start.

    Args:
        folder: of Parquet files, as `aar_ray.corpus.shards` writes them.
        order: of the behaviours; by alphabet where it is empty.
    """
    files = window_files(folder)
    subjects, recordings, behaviours = (
        labels.texts() for labels in read_names(files, ["subject", "recording", "behaviour"])
    )
    starts = read_starts(files)
    by_animal = np.lexsort((starts, recordings.astype(str), subjects.astype(str)))
    classes = tuple(sorted(set(behaviours), key=lambda name: (order.index(name) if order else 0, name)))
    codes = {name: code for code, name in enumerate(classes)}
    return LabelledWindows(
        windows=read_windows(files)[by_animal],
        labels=np.array([codes[name] for name in behaviours[by_animal]], dtype=np.int64),
        classes=classes,
        subjects=subjects[by_animal],
        recordings=recordings[by_animal],
        starts=starts[by_animal],
    )
