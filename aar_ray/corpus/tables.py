"""Read one CSV or Parquet file by role: x, y, z, subject, segment, label, time; in pieces, however long it is.

Whatever breaks a rule in a file is an `InputError` that names the file, the line where there is one, and the way out.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from aar_ray.config import TabularSource
from aar_ray.corpus.formats import broken_file_said, csv_pieces, parquet_pieces
from aar_ray.corpus.recording import AXES, InputError

PIECE_ROWS = 2**18
"""Rows handed on at a time, so that memory does not grow with a file: 44 minutes at 100 Hz."""
STANDARD_GRAVITY = 9.80665
"""m/s^2 in one g."""
IN_G = {"g": 1.0, "mg": 1e-3, "m/s^2": 1 / STANDARD_GRAVITY}
IN_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


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
    with broken_file_said(where, source):
        if path.stat().st_size == 0:
            raise InputError(f"{where}: the file is empty")
        if source.reader == "csv":
            frames = csv_pieces(path, source, columns, where, rows_at_once)
        else:
            frames = parquet_pieces(path, columns, where, rows_at_once)
        for frame in frames:
            frame.index = pd.RangeIndex(done, done + len(frame))
            yield _by_role(frame, columns, source, path, where)
            done += len(frame)
    if not done:
        raise InputError(f"{where}: the file has a header and no rows")


def head_of(path: Path, source: TabularSource, roles: Sequence[str], rows: int) -> pd.DataFrame:
    """The first rows of a file, as `pieces` has them."""
    return next(pieces(path, source, roles, rows))


def has_dates(path: Path, source: TabularSource) -> bool:
    """Whether the time column holds dates in ISO 8601, not numbers; looks at the first row."""
    name = source.columns.time
    if name is None:
        return False
    where = f"{source.name}: {path}"
    with broken_file_said(where, source):
        if source.reader == "csv":
            first = next(csv_pieces(path, source, {"time": name}, where, 1))
        else:
            first = next(parquet_pieces(path, {"time": name}, where, 1))
    return not pd.api.types.is_numeric_dtype(first[name])


def texts_in(path: Path, source: TabularSource, role: str) -> set[str]:
    """All that a text column holds, without empty cells; reads no other column."""
    found: set[str] = set()
    for piece in pieces(path, source, [role]):
        found.update(piece[role].dropna().unique())
    return found


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
