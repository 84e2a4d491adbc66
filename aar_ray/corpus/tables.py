"""Read one CSV or Parquet file by role: x, y, z, subject, segment, label, time; in pieces, however long it is.

Whatever breaks a rule in a file is an `InputError` that names the file, the line where there is one, and the way out.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from aar_ray.config import DeviceSource, TabularSource
from aar_ray.corpus.recording import InputError, NotPlain

AXES = ("x", "y", "z")
SUFFIXES = {"csv": (".csv", ".csv.gz"), "parquet": (".parquet",), "device": (".cwa", ".gt3x", ".bin")}
DELIMITERS = (";", "\t", "|", ",")
PIECE_ROWS = 2**18
"""Rows handed on at a time, so that memory does not grow with a file: 44 minutes at 100 Hz."""
BLOCK_BYTES = 2**23
LONG_BYTES = 2**25
"""Of a CSV file for which it pays to load the compiled reader: three hours at 100 Hz."""
STANDARD_GRAVITY = 9.80665
"""m/s^2 in one g."""
IN_G = {"g": 1.0, "mg": 1e-3, "m/s^2": 1 / STANDARD_GRAVITY}
IN_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


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
    with _said(f"{name}: {path}", None), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pieces(
    path: Path, source: TabularSource, roles: Sequence[str], rows_at_once: int | None = None
) -> Iterator[pd.DataFrame]:
    """A file's columns by role, some rows after the other; never empty.

    Args:
        path: of the file.
        source: names the columns of the roles.
        roles: fields of `Columns`; those that the source leaves out are skipped.
        rows_at_once: rows of each piece but the last; PIECE_ROWS if not given.

    Yields:
        x, y and z float64 in the file's unit; time float64 in seconds; subject and segment text; label text or None.
        The index counts the file's rows from 0.

    Raises:
        InputError: the file is gone, empty, broken or not of this format; a column is missing; a cell is no number.
    """
    rows_at_once = rows_at_once or PIECE_ROWS
    columns = {role: name for role in roles if (name := getattr(source.columns, role)) is not None}
    where = f"{source.name}: {path}"
    done = 0
    with _said(where, source):
        if path.stat().st_size == 0:
            raise InputError(f"{where}: the file is empty")
        if source.reader == "csv":
            frames = _csv_pieces(path, source, columns, where, rows_at_once)
        else:
            frames = _parquet_pieces(path, columns, where, rows_at_once)
        for frame in frames:
            frame.index = pd.RangeIndex(done, done + len(frame))
            yield _by_role(frame, columns, source, path, where)
            done += len(frame)
    if not done:
        raise InputError(f"{where}: the file has a header and no rows")


def head_of(path: Path, source: TabularSource, roles: Sequence[str], rows: int) -> pd.DataFrame:
    """The first rows of a file, as `pieces` has them."""
    return next(pieces(path, source, roles, rows))


def texts_in(path: Path, source: TabularSource, role: str) -> set[str]:
    """All that a text column holds, without empty cells; reads no other column."""
    found: set[str] = set()
    for piece in pieces(path, source, [role]):
        found.update(piece[role].dropna().unique())
    return found


def header_of(path: Path, name: str, source: TabularSource | None = None) -> list[str]:
    """Column names of a CSV file.

    Args:
        path: of the file.
        name: of the source, for errors.
        source: says how the file is written; with commas in UTF-8 where there is none.
    """
    with _said(f"{name}: {path}", source):
        try:
            return list(pd.read_csv(path, nrows=0, **(_written(source) if source else {})).columns)
        except pd.errors.EmptyDataError:
            raise InputError(f"{name}: {path}: the file is empty") from None


@contextmanager
def _said(where: str, source: TabularSource | None) -> Iterator[None]:
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


def _csv_pieces(
    path: Path, source: TabularSource, columns: dict[str, str], where: str, rows_at_once: int
) -> Iterator[pd.DataFrame]:
    """A compiled pass reads long files of plain numbers, pyarrow most others; pandas says what is wrong and where."""
    header = header_of(path, source.name, source)
    _require(where, header, columns, source)
    text = {columns[role]: "str" for role in ("subject", "segment", "label") if role in columns}
    wanted = sorted(set(columns.values()))
    done = 0
    for frames in (
        _plain_csv_pieces(path, source, columns, header, rows_at_once),
        _fast_csv_pieces(path, source, columns, rows_at_once),
    ):
        try:
            for frame in _after(frames, done):
                yield frame
                done += len(frame)
            return
        except (NotPlain, pa.ArrowInvalid, pa.ArrowKeyError, OSError, UnicodeError) as error:
            _refuse_long_rows(str(error), where)
    slow = pd.read_csv(path, usecols=wanted, dtype=text, chunksize=rows_at_once, low_memory=False, **_written(source))
    with slow:
        yield from _after(slow, done)


def _after(frames: Iterable[pd.DataFrame], done: int) -> Iterator[pd.DataFrame]:
    """The frames after the first `done` rows, which another reader gave in frames of the same lengths."""
    read = 0
    for frame in frames:
        read += len(frame)
        if read > done:
            yield frame


def _plain_csv_pieces(
    path: Path, source: TabularSource, columns: dict[str, str], header: list[str], rows_at_once: int
) -> Iterator[pd.DataFrame]:
    text = [role for role in ("subject", "segment", "label") if role in columns]
    ascii_ = len(source.delimiter.encode()) == len(source.decimal.encode()) == 1
    if text or not ascii_ or path.suffix == ".gz" or path.stat().st_size < LONG_BYTES:
        raise NotPlain(f"{path} holds text, or is too short for a compiled reader")
    if source.encoding.lower() not in ("utf-8", "utf8", "ascii"):
        raise NotPlain(f"{path} is in {source.encoding}")
    from aar_ray.corpus.digits import plain_pieces

    yield from plain_pieces(path, header, sorted(set(columns.values())), source.delimiter, source.decimal, rows_at_once)


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


def _parquet_pieces(path: Path, columns: dict[str, str], where: str, rows_at_once: int) -> Iterator[pd.DataFrame]:
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


def _by_role(raw: pd.DataFrame, columns: dict[str, str], source: TabularSource, path: Path, where: str) -> pd.DataFrame:
    table = pd.DataFrame(index=raw.index)
    for role, name in columns.items():
        cells = raw[name]
        if role in AXES:
            table[role] = _numbers(cells, source, path, where)
        elif role == "time":
            table[role] = _seconds(cells, source, path, where)
        elif role == "label":
            table[role] = _tidy(cells).astype("object").where(cells.notna(), None)
        elif role == "segment":
            table[role] = cells.astype("str").where(cells.notna(), "")
        else:
            table[role] = _filled(cells, role, source, path, where)
    return table


def _tidy(cells: pd.Series) -> pd.Series:
    """Text without spaces around it and with single ones in it."""
    codes, texts = pd.factorize(cells.astype("str"))
    tidied = np.array([" ".join(text.split()) for text in texts] or [""], dtype=object)
    return pd.Series(tidied[codes] if len(codes) else [], index=cells.index, name=cells.name, dtype="object")


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


def _numbers(cells: pd.Series, source: TabularSource, path: Path, where: str) -> pd.Series:
    if pd.api.types.is_bool_dtype(cells) or pd.api.types.is_datetime64_any_dtype(cells):
        raise InputError(f"{where}: column {cells.name!r} must hold numbers, got {cells.dtype}")
    if pd.api.types.is_float_dtype(cells):
        return cells.astype(np.float64)
    numbers = pd.to_numeric(cells, errors="coerce")
    _refuse_first(cells, numbers, "a number", source, path, where)
    return numbers.astype(np.float64)


def _seconds(cells: pd.Series, source: TabularSource, path: Path, where: str) -> pd.Series:
    """Time stamps as seconds, since 1970 where they are text in ISO 8601."""
    if pd.api.types.is_numeric_dtype(cells):
        stamps: pd.Series = cells.astype(np.float64)
        if not np.isfinite(stamps).all():
            stamps = stamps.where(np.isfinite(stamps))
            given = cells.astype("object").where(cells.notna(), "empty")
            _refuse_first(given, stamps, "seconds or ISO 8601 text", source, path, where)
        return stamps / source.rate_hz if source.time_unit == "samples" else stamps * IN_SECONDS[source.time_unit]
    given = cells.astype("object").where(cells.notna(), "empty")
    moments = pd.to_datetime(cells, format="ISO8601", errors="coerce", utc=True)
    _refuse_first(given, moments, "seconds or ISO 8601 text", source, path, where)
    seconds: pd.Series = (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    return seconds


def _filled(cells: pd.Series, role: str, source: TabularSource, path: Path, where: str) -> pd.Series:
    if cells.isna().any():
        row = int(cells.index[np.flatnonzero(cells.isna())[0]])
        raise InputError(f"{where}:{_line(path, source, row)}: column {cells.name!r} ({role}) must not be empty")
    return cells.astype("str")


def _refuse_first(
    cells: pd.Series, parsed: pd.Series, rule: str, source: TabularSource, path: Path, where: str
) -> None:
    refused = np.flatnonzero((cells.notna() & parsed.isna()).to_numpy())
    if len(refused):
        got = str(cells.iloc[refused[0]])
        comma = rule == "a number" and source.decimal == "." and got.replace(",", "", 1).lstrip("+-").isdigit()
        raise InputError(
            f"{where}:{_line(path, source, int(cells.index[refused[0]]))}: column {cells.name!r} must hold {rule}, "
            f"got {got!r} ({len(refused)} such cell{'s' if len(refused) > 1 else ''}); "
            + ("set decimal: ','" if comma else "correct or remove the row")
        )


def _line(path: Path, source: TabularSource, row: int) -> str:
    """Where a row stands: its line in a CSV file, counting blank lines and quoted line breaks; else its number."""
    if source.reader == "parquet":
        return f"row {row + 1}"
    opener = gzip.open if path.suffix == ".gz" else open
    encoding = "utf-8-sig" if source.encoding.lower() in ("utf-8", "utf8") else source.encoding
    with opener(path, "rt", encoding=encoding, newline="") as text:
        reader = csv.reader(text, delimiter=source.delimiter)
        filled = (reader.line_num for cells in reader if cells)
        for _ in range(row + 1):
            next(filled)
        return f"{next(filled)}"
