"""From one part of a source to its windows: read, bring to the study's rate, cut. Plain loops, no Ray."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aar_ray.config import Data
from aar_ray.corpus.harmonise import harmonised
from aar_ray.corpus.parts import Part
from aar_ray.corpus.readers import read
from aar_ray.corpus.recording import Dropped, Recording
from aar_ray.corpus.stretches import Findings
from aar_ray.corpus.windows import Cut, cut_windows

GATHERED = 4096
"""Windows handed on at a time: a burst of a bird's logger holds one."""
BATCH_SAMPLES = 2**19
"""Samples at the study's rate that are handed on at a time, about: 12 MB."""


@dataclass(frozen=True)
class Harvest:
    """Some windows of one part, in order."""

    windows: NDArray[np.float32]
    """[n, 3, L], in g."""
    subjects: list[str]
    recordings: list[str]
    starts: NDArray[np.float64]
    """[n], seconds since the recording's first sample."""
    times: NDArray[np.float64]
    """[n], the same by the file's clock, since 1970 where it has dates; NaN where it has none."""
    behaviours: list[str | None]
    """None throughout where labels are not used."""


@dataclass(frozen=True)
class ReadBatch:
    """Recordings of a part that are read together; the same ones wherever and however often they are read."""

    number: int
    """Of the batch in its part."""
    recordings: list[Recording]
    """At the study's rate."""
    findings: Findings
    """What was found since the batch before."""
    last: bool
    """Of its part."""


def harvest(part: Part, data: Data, findings: Findings) -> Iterator[Harvest]:
    """All windows of a part, some thousand at a time.

    Args:
        part: what to read.
        data: rate, window and step.
        findings: counts what is left out.

    Raises:
        InputError: the part's file breaks a rule.
    """
    return windows_of(harmonised(read(part, findings), data), data, findings.dropped)


def read_batches(part: Part, data: Data) -> Iterator[ReadBatch]:
    """A part's recordings, about BATCH_SAMPLES samples at a time; the last batch may have findings alone.

    Raises:
        InputError: the part's file breaks a rule.
    """
    findings, waiting, number = Findings(), list[Recording](), 0
    for recording in harmonised(read(part, findings), data):
        waiting.append(recording)
        if sum(len(one.samples) for one in waiting) >= BATCH_SAMPLES:
            yield ReadBatch(number, waiting, findings.taken(), last=False)
            waiting, number = [], number + 1
    yield ReadBatch(number, waiting, findings.taken(), last=True)


def windows_of(recordings: Iterable[Recording], data: Data, dropped: Dropped) -> Iterator[Harvest]:
    """All windows of recordings, some thousand at a time.

    Args:
        recordings: at the study's rate.
        data: rate, window and step.
        dropped: counts what is left out.
    """
    step = round(data.step_seconds * data.rate_hz)
    waiting: list[Cut] = []
    for recording in recordings:
        cut = cut_windows(recording, data.window_samples, step, dropped)
        if len(cut.windows):
            waiting.append(cut)
        if sum(len(cut.windows) for cut in waiting) >= GATHERED:
            yield _together(waiting)
            waiting = []
    if waiting:
        yield _together(waiting)


def _together(cuts: list[Cut]) -> Harvest:
    return Harvest(
        windows=np.concatenate([cut.windows for cut in cuts]),
        subjects=[cut.recording.subject for cut in cuts for _ in cut.starts],
        recordings=[cut.recording.name for cut in cuts for _ in cut.starts],
        starts=np.concatenate([cut.starts for cut in cuts]),
        times=np.concatenate(
            [cut.starts + (np.nan if cut.recording.began is None else cut.recording.began) for cut in cuts]
        ),
        behaviours=[
            label for cut in cuts for label in ([None] * len(cut.starts) if cut.labels is None else cut.labels)
        ],
    )
