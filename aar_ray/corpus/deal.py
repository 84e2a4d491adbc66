"""Shuffle more rows than memory holds: deal them into buckets on disk by a drawn number, then sort bucket by bucket.

Each row comes with a number that was drawn for it alone. Buckets are ranges of these numbers, so that bucket after
bucket, each sorted, is all rows in the order of their numbers: the same order however many buckets there are and in
whatever order the rows come. A bucket that has grown too large is dealt again into finer ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

ORDER_BITS = 62
"""Orders are drawn from 0 to 2^62 - 1."""
FAN_OUT_BITS = 6
"""64 buckets at a time, each an open file."""
DEALT_ROWS = 131072
"""Rows in memory while dealing: 80 MB of windows."""
MOST_ROWS = 131072
"""Rows of a bucket that is sorted in memory: 80 MB of windows."""


@dataclass(frozen=True)
class Bucket:
    """Rows on disk whose orders lie in one range."""

    path: Path
    rows: int


def draw_orders(draw: np.random.Generator, count: int) -> NDArray[np.int64]:
    """One number a row."""
    return draw.integers(2**ORDER_BITS, size=count)


class Dealer:
    """Takes tables with a column `order` and deals their rows into buckets.

    Args:
        folder: empty or new; holds the buckets.
        bits: how many of the orders' leading bits all rows have in common.
    """

    def __init__(self, folder: Path, bits: int = 0) -> None:
        self.folder, self.bits = folder, bits
        self._waiting: list[pa.Table] = []
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        self._rows: dict[int, int] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, table: pa.Table) -> None:
        """Take some rows.

        Raises:
            OSError: they cannot be written.
        """
        self._waiting.append(table)
        if sum(map(len, self._waiting)) >= DEALT_ROWS:
            self._deal()

    def undealt(self) -> pa.Table | None:
        """All rows in order, where they were too few to be dealt; there is nothing on disk then."""
        if self._rows or not self._waiting:
            return None
        return sorted_by_order(pa.concat_tables(self._waiting))

    def close(self) -> Iterator[Bucket]:
        """The buckets with any rows, by their orders; none but the last has more rows than memory holds at once."""
        self._deal()
        self.abandon()
        for number in sorted(self._rows):
            bucket = Bucket(self._path(number), self._rows[number])
            finer = self.bits + FAN_OUT_BITS
            if bucket.rows > MOST_ROWS and finer < ORDER_BITS:
                yield from self._again(bucket, finer)
            else:
                yield bucket

    def abandon(self) -> None:
        """Close all files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _again(self, bucket: Bucket, bits: int) -> Iterator[Bucket]:
        dealer = Dealer(bucket.path.with_suffix(""), bits)
        with pa.memory_map(str(bucket.path)) as file, pa.ipc.open_stream(file) as batches:
            for batch in batches:
                dealer.add(pa.Table.from_batches([batch]))
            buckets = dealer.close()
            first = next(buckets, None)
        bucket.path.unlink()
        if first is not None:
            yield first
        yield from buckets

    def _deal(self) -> None:
        if not self._waiting:
            return
        table = sorted_by_order(pa.concat_tables(self._waiting))
        self._waiting = []
        shift = ORDER_BITS - self.bits - FAN_OUT_BITS
        places = (table.column("order").to_numpy() >> shift) & (2**FAN_OUT_BITS - 1)
        numbers, firsts = np.unique(places, return_index=True)
        for number, first, last in zip(numbers.tolist(), firsts, [*firsts[1:], len(table)], strict=True):
            self._writer(number, table.schema).write_table(table.slice(first, last - first))
            self._rows[number] = self._rows.get(number, 0) + int(last - first)

    def _writer(self, number: int, schema: pa.Schema) -> pa.ipc.RecordBatchStreamWriter:
        if number not in self._writers:
            self._writers[number] = pa.ipc.new_stream(str(self._path(number)), schema)
        return self._writers[number]

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:02}.arrows"


def read_buckets(buckets: list[Bucket]) -> pa.Table:
    """All rows of some buckets that follow each other, in order."""
    tables = []
    for bucket in buckets:
        with pa.memory_map(str(bucket.path)) as file, pa.ipc.open_stream(file) as batches:
            tables.append(batches.read_all())
    return sorted_by_order(pa.concat_tables(tables))


def sorted_by_order(table: pa.Table) -> pa.Table:
    """Rows by their orders, in one chunk."""
    # pyarrow's own sort of a table with a list column takes several times as long
    return table.combine_chunks().take(pa.array(np.argsort(table.column("order").to_numpy(), kind="stable")))
