"""A continuous recording of one animal, and the count of what had to be left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

AXES = ("x", "y", "z")
NOT_FINITE = "value missing or not finite"


class InputError(ValueError):
    """The user's data break a rule: the message names the file, the rule, what was found and the way out."""


@dataclass(frozen=True)
class Recording:
    """Samples of one animal without a gap in time.

    All stretches that one file holds of one animal share their `name`; `start_seconds` tells where each begins.
    """

    source: str
    species: str
    subject: str
    name: str
    rate_hz: float
    samples: NDArray[np.float64]
    """[T, 3], in g."""
    labels: NDArray[np.object_] | None = None
    """[T], a behaviour or None; None as a whole where the labels are not to be used."""
    start_seconds: float = 0.0
    continued: bool = False
    """Whether it goes on where the last one of its name ended: a file is read in pieces."""
    began: float | None = None
    """Seconds by the file's clock, since 1970 where it has dates, at `start_seconds` 0; None where it has no clock."""

    def piece(self, first: int, last: int) -> Recording:
        """Samples `first` to `last`, the latter excluded."""
        return replace(
            self,
            samples=self.samples[first:last],
            labels=None if self.labels is None else self.labels[first:last],
            start_seconds=self.start_seconds + first / self.rate_hz,
            continued=self.continued and first == 0,
        )


@dataclass
class Dropped:
    """Stretches left out, by reason: how many, and their seconds together."""

    stretches: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, reason: str, seconds: float, stretches: int = 1) -> None:
        """Count `stretches` more stretches that last `seconds` together."""
        if stretches:
            self.stretches[reason] = self.stretches.get(reason, 0) + stretches
            self.seconds[reason] = self.seconds.get(reason, 0.0) + seconds

    def update(self, other: Dropped) -> None:
        """Add what another count holds."""
        for reason, stretches in other.stretches.items():
            self.add(reason, other.seconds[reason], stretches)

    @classmethod
    def of(cls, plain: Mapping[str, Mapping[str, float]]) -> Dropped:
        """The count that `plain` wrote."""
        return cls(
            stretches={reason: int(found["stretches"]) for reason, found in plain.items()},
            seconds={reason: found["seconds"] for reason, found in plain.items()},
        )

    def plain(self) -> dict[str, dict[str, float]]:
        """By reason, as JSON holds it."""
        return {
            reason: {"stretches": self.stretches[reason], "seconds": round(self.seconds[reason], 3)}
            for reason in sorted(self.stretches)
        }


def runs(breaks: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and last (excluded) index of each unbroken run of len(breaks) + 1 items.

    Args:
        breaks: [T - 1], whether item t + 1 no longer belongs with item t.
    """
    return pairwise([0, *(np.flatnonzero(breaks) + 1).tolist(), len(breaks) + 1])


def finite_pieces(recording: Recording, dropped: Dropped) -> Iterator[Recording]:
    """The stretches in which every axis is finite; the others are counted in `dropped`.

    Split before resampling: a filter would spread one NaN over its whole length.
    """
    finite = np.atleast_1d(np.isfinite(recording.samples).all(axis=1))
    if finite.all():
        yield recording
        return
    for first, last in runs(finite[1:] != finite[:-1]):
        if finite[first]:
            yield recording.piece(first, last)
        else:
            dropped.add(NOT_FINITE, (last - first) / recording.rate_hz)
