"""From one animal's rows of a file to stretches without a gap: repeats, disorder, clocks set back, changing rates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aar_ray.corpus.recording import AXES, Dropped, InputError, runs

LARGEST_GAP = 1.5
"""Sample periods between two rows of one continuous recording."""
SMALLEST_INTERVAL = 0.5
"""Sample periods: rows that stand closer belong to two clocks."""
UNSORTED = 0.99
"""Share of intervals of at least SMALLEST_INTERVAL, once sorted, that tells disorder from a clock set back."""
RATE_TOLERANCE = 0.02
"""Largest difference between `rate_hz` and the time column, as a share."""
CHANGE_TOLERANCE = 0.1
"""The same within a file, over RATE_ROWS rows."""
RATE_ROWS = 512
REPEATED = "time stamp repeated"
CLOCK_SET_BACK = "recordings begun by a clock set back"
GAPS = "gaps in time"


@dataclass
class Clock:
    """What is known of an animal's time in a file, from piece to piece."""

    origin: float | None = None
    """Seconds at which its recording begins."""
    restarts: int = 0
    latest: float = -np.inf
    """Seconds of the last row, or its place where there are no time stamps; and its segment."""
    segment: object = ""


@dataclass
class Findings:
    """What a part's reading found besides recordings."""

    dropped: Dropped = field(default_factory=Dropped)
    constant_axes: dict[str, list[str]] = field(default_factory=dict)
    """Recording: axes that never change in it, where not all three do."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of usable signal, by animal; 0 for an animal that is named and has none."""
    gaps: Dropped = field(default_factory=Dropped)
    """Holes in time between stretches, and clocks set back; nothing of them was there to be dropped."""
    sketches: dict[str, set[int]] = field(default_factory=dict)
    """By recording, what it is known again by."""
    rates_hz: set[float] = field(default_factory=set)
    """Of the recordings, as they are in their files."""

    def taken(self) -> Findings:
        """What was found so far; this one is empty then."""
        so_far = replace(self)
        self.dropped, self.gaps = Dropped(), Dropped()
        self.constant_axes, self.seconds, self.sketches, self.rates_hz = {}, {}, {}, set()
        return so_far

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "dropped": self.dropped.plain(),
            "constant_axes": self.constant_axes,
            "seconds": self.seconds,
            "gaps": self.gaps.plain(),
            "sketches": {name: sorted(found) for name, found in self.sketches.items()},
        }


@dataclass(frozen=True)
class Stretch:
    """Rows that follow each other without a gap."""

    rows: pd.DataFrame
    start_seconds: float
    clock: int
    """How often the animal's clock had been set back before it."""
    continued: bool
    """Whether it goes on where the last stretch of the piece before ended."""
    began: float | None = None
    """Seconds by the file's clock at which its recording begins; None without time stamps."""


def stretches(rows: pd.DataFrame, rate_hz: float, clock: Clock, findings: Findings, where: str) -> Iterator[Stretch]:
    """Divide one animal's rows of a piece of a file.

    Where time rises, a stretch goes on from piece to piece. Rows out of order are put right within a piece; a piece
    that begins before the end of the one before it is a clock set back.

    Args:
        rows: by role, indexed by their place in the file.
        rate_hz: samples a second.
        clock: of this animal in this file; moved on.
        findings: counts what is dropped.
        where: names the file and the animal in errors.

    Raises:
        InputError: the time column denies `rate_hz`, throughout or from some row on.
    """
    if "time" in rows:
        yield from _by_time(rows, rate_hz, clock, findings, where)
    else:
        yield from _by_place(rows, rate_hz, clock)


def _by_place(rows: pd.DataFrame, rate_hz: float, clock: Clock) -> Iterator[Stretch]:
    """Without time stamps, rows of one animal go on only where no other animal's rows stand between them."""
    place = rows.index.to_numpy()
    if clock.origin is None:
        clock.origin = place[0] / rate_hz
    segments = _segments(rows)
    goes_on = place[0] == clock.latest + 1 and _ends(rows)[0] == clock.segment
    for first, last in runs((segments[1:] != segments[:-1]) | (np.diff(place) != 1)):
        yield Stretch(rows.iloc[first:last], place[first] / rate_hz - clock.origin, 0, goes_on and first == 0)
    clock.latest, clock.segment = place[-1], _ends(rows)[1]


def _by_time(rows: pd.DataFrame, rate_hz: float, clock: Clock, findings: Findings, where: str) -> Iterator[Stretch]:
    # stamps that only rise, as most do, repeat nothing; to look for repeats costs more than to read the rows
    rises = bool((np.diff(rows["time"].to_numpy()) > 0).all())
    if not rises:
        rows = _without(rows, rows.duplicated(["time", *AXES]).to_numpy(), rate_hz, findings)
    rows, back = _in_order(rows, rate_hz, rises=rises)
    seconds, segments = rows["time"].to_numpy(), _segments(rows)
    within = (segments[1:] == segments[:-1]) & ~back
    same = _ends(rows)[0] == clock.segment
    again = np.concatenate([[same and seconds[0] == clock.latest], (np.diff(seconds) == 0) & within])
    if again.any():
        _check_rate(np.diff(seconds)[within], rate_hz, where)
        rows, back = _without(rows, again, rate_hz, findings), back[~again[1:]][: len(rows) - 1 - again.sum()]
        if rows.empty:
            return
        seconds, segments = rows["time"].to_numpy(), _segments(rows)
        within = (segments[1:] == segments[:-1]) & ~back
    intervals = np.diff(seconds)
    _check_rate(intervals[within], rate_hz, where)
    gaps = within & (intervals > LARGEST_GAP / rate_hz)
    findings.gaps.add(GAPS, float(intervals[gaps].sum()), int(gaps.sum()))
    # between the last piece and this one
    since = seconds[0] - clock.latest if same else np.nan
    goes_on = since <= LARGEST_GAP / rate_hz
    if np.isfinite(since) and not goes_on:
        findings.gaps.add(GAPS, float(since))
    set_back = np.concatenate([[since < 0], back])
    findings.gaps.add(CLOCK_SET_BACK, 0.0, int(set_back.sum()))
    restarts = clock.restarts + np.cumsum(set_back)
    for first, last in runs(~within | gaps):
        if clock.origin is None or restarts[first] > clock.restarts:
            own = seconds[restarts == restarts[first]]
            clock.origin, clock.restarts = float(own.min()), int(restarts[first])
        start = float(seconds[first] - clock.origin)
        continued = bool(since > 0) and goes_on and first == 0
        yield Stretch(rows.iloc[first:last], start, clock.restarts, continued, clock.origin)
    clock.latest, clock.segment = float(seconds[-1]), _ends(rows)[1]


def _ends(rows: pd.DataFrame) -> tuple[object, object]:
    """Segments of the first and the last row."""
    return (rows["segment"].iat[0], rows["segment"].iat[-1]) if "segment" in rows else ("", "")


def _segments(rows: pd.DataFrame) -> NDArray[np.intp]:
    if "segment" not in rows:
        return np.zeros(len(rows), dtype=np.intp)
    codes, _ = pd.factorize(rows["segment"])
    return np.asarray(codes, dtype=np.intp)


def _without(rows: pd.DataFrame, out: NDArray[np.bool_], rate_hz: float, findings: Findings) -> pd.DataFrame:
    if not out.any():
        return rows
    begins = int((np.diff(out.astype(np.int8), prepend=0) == 1).sum())
    findings.dropped.add(REPEATED, float(out.sum()) / rate_hz, begins)
    return rows[~out]


def _in_order(rows: pd.DataFrame, rate_hz: float, *, rises: bool) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Rows by segment and time, and [T - 1] where a clock was set back.

    A time stamp says where its row belongs, so rows in another order are sorted. Where that would put rows of two
    clocks between each other, the order of the file stays, and each step back begins a recording of its own.
    """
    none = np.zeros(max(len(rows) - 1, 0), dtype=np.bool_)
    if rises and "segment" not in rows:
        return rows, none
    segments, seconds = _segments(rows), rows["time"].to_numpy()
    filed = np.argsort(segments, kind="stable")
    back = (np.diff(seconds[filed]) < 0) & (np.diff(segments[filed]) == 0)
    if not back.any():
        return rows.iloc[filed], none
    sorted_ = np.lexsort((seconds, segments))
    intervals = np.diff(seconds[sorted_])[np.diff(segments[sorted_]) == 0]
    if np.mean(intervals >= SMALLEST_INTERVAL / rate_hz) >= UNSORTED:
        return rows.iloc[sorted_], none
    return rows.iloc[filed], back


def _check_rate(intervals: NDArray[np.float64], rate_hz: float, where: str) -> None:
    if not len(intervals):
        return
    # no median can be beyond the extremes, which take less time
    if np.abs(np.array([intervals.min(), intervals.max()]) * rate_hz - 1).max() < RATE_TOLERANCE / 2:
        return
    median = float(np.median(intervals))
    found = 1 / median if median else np.inf
    if abs(found / rate_hz - 1) > RATE_TOLERANCE:
        raise InputError(
            f"{where}: rate_hz must agree with the time column to {RATE_TOLERANCE:.0%}, got rate_hz {rate_hz:g} and "
            f"{found:.4g} samples a second by the median interval; correct rate_hz or time_unit, or leave out "
            "columns.time where its stamps are coarser than a sample"
        )
    blocks = intervals[: len(intervals) // RATE_ROWS * RATE_ROWS].reshape(-1, RATE_ROWS)
    medians = np.median(blocks, axis=1)
    changed = np.flatnonzero(np.abs(medians * rate_hz - 1) > CHANGE_TOLERANCE)
    if len(changed):
        raise InputError(
            f"{where}: the rate must be the same throughout, got {1 / medians[changed[0]]:.4g} samples a second "
            f"instead of {rate_hz:g} from about its row {changed[0] * RATE_ROWS + 1} on; divide the file there, and "
            "make each rate a source of its own"
        )
