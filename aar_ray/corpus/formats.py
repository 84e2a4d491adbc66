"""A CSV or Parquet file as frames of its own columns, in pieces; whatever is broken in it is one clear error."""

from __future__ import annotations

import difflib
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from aar_ray.config import TabularSource
from aar_ray.corpus.recording import AXES, InputError

DELIMITERS = (";", "\t", "|", ",")
BLOCK_BYTES = 2**23


def header_of(path: Path, name: str, source: TabularSource | None = None) -> list[str]:
    """Column names of a CSV file.

    Args:
        path: of the file.
        name: of the source, for errors.
        source: says how the file is written; with commas in UTF-8 where there is none.
    """
    with broken_file_said(f"{name}: {path}", source):
        try:
            return list(pd.read_csv(path, nrows=0, **(_written(source) if source else {})).columns)
        except pd.errors.EmptyDataError:
            raise InputError(f"{name}: {path}: the file is empty") from None


@contextmanager
def broken_file_said(where: str, source: TabularSource | None) -> Iterator[None]:
    """Whatever a library says about a broken file, in one sentence with the way out."""
    encoding = source.encoding if source else "utf-8"
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{where}: the file is gone; put it back and start again, nothing was kept of it") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{where}: the gzip file is broken or cut short ({error}); copy it again") from error
    except LookupError as error:
        raise InputError(f"{where}: encoding must be one that Python knows, got {encoding!r}") from error
    except UnicodeError as error:
        raise InputError(
            f"{where}: the file must be {encoding.upper()} text, got {error}; name its encoding, such as latin-1"
        ) from error
    except pd.errors.ParserError as error:
        raise InputError(f"{where}: every row must have the header's columns, got: {error}") from error
    except pa.ArrowInvalid as error:
        raise InputError(f"{where}: not a whole Parquet file ({error}); copy it again") from error
    except OSError as error:
        raise InputError(f"{where}: the file cannot be read to its end ({error}); copy it again") from error


def csv_pieces(
    path: Path, source: TabularSource, columns: dict[str, str], where: str, rows_at_once: int
) -> Iterator[pd.DataFrame]:
    """pyarrow reads faster than pandas, and pandas says what is wrong with a file and where."""
    _require(where, header_of(path, source.name, source), columns, source)
    text = {columns[role]: "str" for role in ("subject", "segment", "label") if role in columns}
    wanted = sorted(set(columns.values()))
    done = 0
    try:
        for frame in _fast_csv_pieces(path, source, columns, rows_at_once):
            yield frame
            done += len(frame)
        return
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, UnicodeError) as error:
        _refuse_long_rows(str(error), where)
    read = 0
    slow = pd.read_csv(path, usecols=wanted, dtype=text, chunksize=rows_at_once, low_memory=False, **_written(source))
    with slow:
        for frame in slow:
            read += len(frame)
            if read > done:
                yield frame


def _refuse_long_rows(error: str, where: str) -> None:
    """pandas would take their first cells for an index, and all others for the wrong columns."""
    found = re.search(r"Expected (\d+) columns, got (\d+)", error)
    if found and int(found[2]) > int(found[1]):
        raise InputError(
            f"{where}: every row must have the header's {found[1]} columns, got {found[2]}; save the file again "
            "(a decimal comma between commas cannot be told from a new column)"
        )


def _written(source: TabularSource) -> dict[str, Any]:
    return {"sep": source.delimiter, "decimal": source.decimal, "encoding": source.encoding}


def _fast_csv_pieces(
    path: Path, source: TabularSource, columns: dict[str, str], rows_at_once: int
) -> Iterator[pd.DataFrame]:
    """pyarrow's types are given beforehand, so that they do not depend on where its blocks end."""
    types = {columns[role]: pa.string() for role in ("subject", "segment", "label") if role in columns}
    types.update({columns[axis]: pa.float64() for axis in AXES if axis in columns})
    if "time" in columns:
        first = pd.read_csv(path, usecols=[columns["time"]], nrows=9, **_written(source))[columns["time"]]
        types[columns["time"]] = pa.float64() if pd.api.types.is_numeric_dtype(first) else pa.string()
    compression = "gzip" if path.suffix == ".gz" else None
    with (
        pa.input_stream(str(path), compression=compression) as stream,
        pa.csv.open_csv(
            stream,
            read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES, encoding=source.encoding, use_threads=False),
            parse_options=pa.csv.ParseOptions(delimiter=source.delimiter),
            convert_options=pa.csv.ConvertOptions(
                column_types=types,
                include_columns=sorted(types),
                strings_can_be_null=True,
                decimal_point=source.decimal,
            ),
        ) as batches,
    ):
        yield from _even(batches, rows_at_once)


def parquet_pieces(path: Path, columns: dict[str, str], where: str, rows_at_once: int) -> Iterator[pd.DataFrame]:
    with pq.ParquetFile(path) as file:
        _require(where, file.schema_arrow.names, columns)
        yield from _even(
            file.iter_batches(batch_size=min(rows_at_once, 2**16), columns=sorted(set(columns.values()))), rows_at_once
        )


def _even(batches: Iterable[pa.RecordBatch], rows_at_once: int) -> Iterator[pd.DataFrame]:
    """The rows of batches of any length, `rows_at_once` at a time."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        while sum(map(len, waiting)) >= rows_at_once:
            together = pa.Table.from_batches(waiting)
            yield together.slice(0, rows_at_once).to_pandas()
            waiting = together.slice(rows_at_once).to_batches()
    if sum(map(len, waiting)):
        yield pa.Table.from_batches(waiting).to_pandas()


def _require(where: str, header: list[str], columns: dict[str, str], source: TabularSource | None = None) -> None:
    missing = {role: name for role, name in columns.items() if name not in header}
    if not missing:
        return
    if len(header) == 1:
        delimiter = next((sign for sign in DELIMITERS if sign in header[0]), None)
        if source and delimiter:
            raise InputError(
                f"{where}: columns must be separated by delimiter {source.delimiter!r}, got the header {header[0]!r}, "
                f"which looks separated by {delimiter!r}; set delimiter: {delimiter!r}"
            )
    parts = []
    for role, name in missing.items():
        nearest = difflib.get_close_matches(name, header, n=3, cutoff=0.0)
        parts.append(f"columns.{role} is {name!r}, nearest are {', '.join(map(repr, nearest))}")
    raise InputError(f"{where}: the file must have every column that is named; {'; '.join(parts)}")
