"""Read one CSV or Parquet file into a table by role: x, y, z, subject, segment, label, time.

Whatever breaks a rule in a file is an `InputError` that names the file, the line where there is one, and the way out.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from aar_ray.config import Columns, TabularSource
from aar_ray.corpus.recording import InputError

AXES = ("x", "y", "z")
SUFFIXES = {"csv": (".csv", ".csv.gz"), "parquet": (".parquet",)}
DELIMITERS = (";", "\t", "|")


def files_of(source: TabularSource) -> list[Path]:
    """The source's files, sorted.

    Raises:
        InputError: the path is missing, or no file matches.
    """
    path, suffixes = Path(source.path).expanduser(), SUFFIXES[source.reader]
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


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_table(path: Path, source: TabularSource, roles: Sequence[str], rows: int | None = None) -> pd.DataFrame:
    """A file's columns by role.

    Args:
        path: one of `files_of(source)`.
        source: names the columns of the roles.
        roles: fields of `Columns`; those that the source leaves out are skipped.
        rows: read no more than these first rows.

    Returns:
        x, y and z float64 in the file's unit; time float64 in seconds; subject and segment text; label text or None.

    Raises:
        InputError: the file is empty, broken or not of this format; a column is missing; a cell is not a number.
    """
    columns = {role: name for role in roles if (name := getattr(source.columns, role)) is not None}
    where = f"{source.name}: {path}"
    if path.stat().st_size == 0:
        raise InputError(f"{where}: the file is empty")
    try:
        if source.reader == "csv":
            raw = _read_csv(path, where, columns, rows)
        else:
            raw = _read_parquet(path, where, columns, rows)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{where}: the gzip file is broken or cut short ({error}); copy it again") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: the file must be UTF-8 text, got {error}; save it as UTF-8") from error
    except pd.errors.ParserError as error:
        raise InputError(f"{where}: every row must have the header's columns, got: {error}") from error
    except pa.ArrowInvalid as error:
        raise InputError(f"{where}: not a whole Parquet file ({error}); copy it again") from error
    if raw.empty:
        raise InputError(f"{where}: the file has a header and no rows")
    table = pd.DataFrame(index=raw.index)
    for role, name in columns.items():
        cells = raw[name]
        if role in AXES:
            table[role] = _numbers(cells, path, where)
        elif role == "time":
            table[role] = _seconds(cells, path, where)
        elif role == "label":
            given = cells.notna()
            table[role] = cells.astype("str").astype("object").where(given, None)
        else:
            table[role] = _filled(cells, role, path, where)
    return table


def _read_csv(path: Path, where: str, columns: dict[str, str], rows: int | None) -> pd.DataFrame:
    try:
        header = list(pd.read_csv(path, nrows=0).columns)
    except pd.errors.EmptyDataError:
        raise InputError(f"{where}: the file is empty") from None
    _require(where, header, columns)
    text = {columns[role]: "str" for role in ("subject", "segment", "label") if role in columns}
    return pd.read_csv(path, usecols=sorted(set(columns.values())), dtype=text, nrows=rows, low_memory=False)


def _read_parquet(path: Path, where: str, columns: dict[str, str], rows: int | None) -> pd.DataFrame:
    with pq.ParquetFile(path) as file:
        _require(where, file.schema_arrow.names, columns)
        wanted = sorted(set(columns.values()))
        if rows is None:
            frame: pd.DataFrame = file.read(columns=wanted).to_pandas()
            return frame
        for batch in file.iter_batches(batch_size=rows, columns=wanted):
            frame = batch.to_pandas()
            return frame
    return pd.DataFrame(columns=wanted)


def _require(where: str, header: list[str], columns: dict[str, str]) -> None:
    missing = {role: name for role, name in columns.items() if name not in header}
    if not missing:
        return
    if len(header) == 1:
        delimiter = next((sign for sign in DELIMITERS if sign in header[0]), None)
        if delimiter:
            raise InputError(
                f"{where}: columns must be separated by commas, got the header {header[0]!r}, which looks "
                f"separated by {delimiter!r}; save the file with commas"
            )
    parts = []
    for role, name in missing.items():
        nearest = difflib.get_close_matches(name, header, n=3, cutoff=0.0)
        parts.append(f"columns.{role} is {name!r}, nearest are {', '.join(map(repr, nearest))}")
    raise InputError(f"{where}: the file must have every column that is named; {'; '.join(parts)}")


def _numbers(cells: pd.Series, path: Path, where: str) -> pd.Series:
    if pd.api.types.is_bool_dtype(cells) or pd.api.types.is_datetime64_any_dtype(cells):
        raise InputError(f"{where}: column {cells.name!r} must hold numbers, got {cells.dtype}")
    numbers = pd.to_numeric(cells, errors="coerce")
    _refuse_first(cells, numbers, "a number", path, where)
    return numbers.astype(np.float64)


def _seconds(cells: pd.Series, path: Path, where: str) -> pd.Series:
    """Time stamps as seconds; text must be ISO 8601."""
    given = cells.astype("object").where(cells.notna(), "empty")
    if pd.api.types.is_numeric_dtype(cells):
        stamps: pd.Series = cells.astype(np.float64).where(np.isfinite(cells))
    else:
        stamps = pd.to_datetime(cells, format="ISO8601", errors="coerce", utc=True)
    _refuse_first(given, stamps, "seconds or ISO 8601 text", path, where)
    since: pd.Series = stamps - stamps.min()
    if pd.api.types.is_float_dtype(since):
        return since
    seconds: pd.Series = since.dt.total_seconds()
    return seconds


def _filled(cells: pd.Series, role: str, path: Path, where: str) -> pd.Series:
    if cells.isna().any():
        row = int(np.flatnonzero(cells.isna())[0])
        raise InputError(f"{where}:{_line(path, row)}: column {cells.name!r} ({role}) must not be empty")
    return cells.astype("str")


def _refuse_first(cells: pd.Series, parsed: pd.Series, rule: str, path: Path, where: str) -> None:
    refused = np.flatnonzero((cells.notna() & parsed.isna()).to_numpy())
    if len(refused):
        row = int(refused[0])
        raise InputError(
            f"{where}:{_line(path, row)}: column {cells.name!r} must hold {rule}, got {str(cells.iloc[row])!r} "
            f"({len(refused)} such cell{'s' if len(refused) > 1 else ''}); correct or remove the row"
        )


def _line(path: Path, row: int) -> str:
    """Where a row stands: its line in a CSV file, counting blank lines and quoted line breaks; else its number."""
    if path.suffix == ".parquet":
        return f"row {row + 1}"
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text)
        filled = (reader.line_num for cells in reader if cells)
        for _ in range(row + 1):
            next(filled)
        return f"{next(filled)}"


def named_columns(columns: Columns) -> list[str]:
    """Roles that the source names, the axes first."""
    return [role for role in (*AXES, "subject", "segment", "label", "time") if getattr(columns, role) is not None]
