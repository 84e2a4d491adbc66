"""Long CSV files of plain numbers, several times as fast as a general reader: one compiled pass over the bytes.

Loggers write most of all recordings so: no quotes, no text in the columns that are wanted, a point and a few digits.
Whatever else a file holds ends the pass with `NotPlain`, and a general reader goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from aar_ray.corpus.recording import NotPlain

BLOCK_BYTES = 2**20
POWERS = np.power(10.0, np.arange(23), dtype=np.float64)
"""Those of ten that float64 holds exactly: a number of up to 15 digits divided by one of them is correctly rounded."""
MARK = b"\xef\xbb\xbf"


def plain_pieces(
    path: Path, header: Sequence[str], wanted: Sequence[str], delimiter: str, decimal: str, rows_at_once: int
) -> Iterator[pd.DataFrame]:
    """Columns of a file in UTF-8, `rows_at_once` rows at a time; an empty cell is NaN.

    Args:
        path: of the file.
        header: names of its columns.
        wanted: those to read; the others may hold any text without quotes.
        delimiter: between columns.
        decimal: the sign before a fraction.
        rows_at_once: rows of each frame but the last.

    Raises:
        NotPlain: at the first row, perhaps deep in the file, that is not plain.
    """
    places = np.array([wanted.index(name) if name in wanted else -1 for name in header], dtype=np.int64)
    found, filled = np.empty((len(wanted), rows_at_once)), 0
    for text in _whole_lines(path, header, delimiter):
        at = 0
        while at < len(text):
            rows, used = _parse(text[at:], places, ord(delimiter), ord(decimal), POWERS, found[:, filled:])
            filled, at = filled + rows, at + used
            if filled == rows_at_once:
                yield pd.DataFrame(dict(zip(wanted, found, strict=True)))
                found, filled = np.empty((len(wanted), rows_at_once)), 0
            elif at < len(text):
                raise NotPlain(f"{path} holds other cells than plain numbers")
    if filled:
        yield pd.DataFrame(dict(zip(wanted, found[:, :filled], strict=True)))


def _whole_lines(path: Path, header: Sequence[str], delimiter: str) -> Iterator[NDArray[np.uint8]]:
    """The file's lines after its header, many at a time; each array is overwritten by the next one."""
    with path.open("rb") as file:
        first = file.readline().removeprefix(MARK).rstrip(b"\r\n").replace(b'"', b"")
        if first.split(delimiter.encode()) != [name.encode() for name in header]:
            raise NotPlain(f"{path} has a header that is not plain")
        lines, kept = bytearray(BLOCK_BYTES), 0
        while count := file.readinto(memoryview(lines)[kept:]):
            end = lines.rfind(b"\n", 0, kept + count) + 1
            if not end and kept + count == len(lines):
                raise NotPlain(f"{path} has a line of more than {len(lines)} bytes")
            yield np.frombuffer(lines, dtype=np.uint8, count=end)
            kept += count - end
            lines[:kept] = lines[end : end + kept]
        if kept:
            yield np.frombuffer(bytes(lines[:kept]) + b"\n", dtype=np.uint8)


def _lines(
    text: NDArray[np.uint8],
    places: NDArray[np.int64],
    delimiter: int,
    decimal: int,
    powers: NDArray[np.float64],
    found: NDArray[np.float64],
) -> tuple[int, int]:
    """Rows and bytes taken, up to the end, a full `found` [columns, rows] or a line that is not plain."""
    at, row, last = 0, 0, len(places) - 1
    while at < len(text) and row < found.shape[1]:
        begin = at
        for column in range(last + 1):
            end = 10 if column == last else delimiter
            if places[column] < 0:
                while text[at] != end and text[at] != 10 and text[at] != 34:
                    at += 1
                if text[at] != end:
                    return row, begin
                at += 1
                continue
            negative = text[at] == 45
            at += negative
            mantissa, start = 0, at
            while 48 <= text[at] <= 57:
                digit: Any = np.int64(text[at]) - 48
                mantissa = mantissa * 10 + digit
                at += 1
            cells, scale, seen = at - start, 0, text[at] == decimal and decimal != end
            if seen:
                at += 1
                start = at
                while 48 <= text[at] <= 57:
                    digit = np.int64(text[at]) - 48
                    mantissa = mantissa * 10 + digit
                    at += 1
                cells, scale = cells + at - start, start - at
            if cells and (text[at] == 101 or text[at] == 69):
                at += 1
                down = text[at] == 45
                at += down or text[at] == 43
                exponent = 0
                while 48 <= text[at] <= 57 and exponent < 100:
                    digit = np.int64(text[at]) - 48
                    exponent = exponent * 10 + digit
                    at += 1
                scale += -exponent if down else exponent
            if column == last and text[at] == 13:
                at += 1
            if text[at] != end or cells > 18 or abs(scale) > 22 or (cells == 0 and (negative or seen)):
                return row, begin
            at += 1
            value = np.nan
            if cells:
                value = mantissa * powers[scale] if scale > 0 else mantissa / powers[-scale]
            found[places[column], row] = -value if negative else value
        row += 1
    return row, at


_parse: Any = njit(nogil=True, cache=True)(_lines)
