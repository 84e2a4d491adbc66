"""Recordings at the study's rate, ready to be cut: the same windows in however many pieces a recording is read.

A file may be longer than memory, so that its recordings come piece by piece (`Recording.continued`). What a piece
cannot settle waits for the next one: old samples within the resampler's reach, new ones after the last window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aar_ray.config import Data
from aar_ray.corpus.recording import Recording
from aar_ray.corpus.resample import nearest_old, resampler
from aar_ray.corpus.windows import behaviour_runs


def harmonised(recordings: Iterable[Recording], data: Data) -> Iterator[Recording]:
    """Recordings at the study's rate, each of which begins where a window may begin.

    Args:
        recordings: at any rate, those of one name in the order of their time.
        data: rate, window and step.
    """
    open_: dict[str, Stretch] = {}
    for recording in recordings:
        if not recording.continued and recording.name in open_:
            yield from open_.pop(recording.name).end()
        stretch = open_.setdefault(recording.name, Stretch(recording, data))
        yield from stretch.add(recording)
    for stretch in open_.values():
        yield from stretch.end()


class Stretch:
    """One recording without a gap, of which more may come.

    Args:
        begun: its first piece.
        data: rate, window and step.
    """

    def __init__(self, begun: Recording, data: Data) -> None:
        self.rate_hz, self.length = data.rate_hz, data.window_samples
        self.step = round(data.step_seconds * data.rate_hz)
        self._begun = begun.piece(0, 0)
        self._resampler = resampler(begun.rate_hz, data.rate_hz)
        self._samples, self._labels = self._begun.samples, self._begun.labels
        """At the new rate, from sample `_first` on: what windows yet to come may hold."""
        self._first = 0
        self._within = False
        """Whether they go on with a run that windows were given of, and of which behaviour."""
        self._behaviour: object = None
        self._old_labels, self._old_first = self._begun.labels, 0

    def add(self, recording: Recording) -> Iterator[Recording]:
        """What a further piece settles."""
        yield from self._settled(recording.samples, recording.labels, last=False)

    def end(self) -> Iterator[Recording]:
        """What is left, since nothing follows."""
        yield from self._settled(self._begun.samples, self._begun.labels, last=True)

    def _settled(
        self, samples: NDArray[np.float64], labels: NDArray[np.object_] | None, *, last: bool
    ) -> Iterator[Recording]:
        fresh = self._resampler.add(samples, last=last)
        self._take_labels(labels, len(fresh))
        self._samples = np.concatenate([self._samples, fresh]) if len(self._samples) else fresh
        if not len(self._samples):
            return
        begin, until, keep = self._bounds(last=last)
        if until > begin:
            yield replace(
                self._begun,
                rate_hz=self.rate_hz,
                samples=self._samples[begin:until],
                labels=None if self._labels is None else self._labels[begin:until],
                start_seconds=self._begun.start_seconds + (self._first + begin) / self.rate_hz,
            )
        self._first += keep
        self._samples = self._samples[keep:].copy()
        self._labels = None if self._labels is None else self._labels[keep:]

    def _bounds(self, *, last: bool) -> tuple[int, int, int]:
        """First and last (excluded) sample to give, and the first one to keep."""
        runs = behaviour_runs(self._labels, len(self._samples))
        begin, end = runs[-1]
        behaviour = None if self._labels is None else self._labels[begin]
        within = self._within and (self._labels is None or self._labels[0] == self._behaviour)
        # the samples that a run's windows leave over are no run of their own
        left_over = runs[0][1] if within and runs[0][1] < self.length and (last or len(runs) > 1) else 0
        if last or (self._labels is not None and behaviour is None):
            self._within = False
            return left_over, end, end
        windows = max(0, min((end - begin - self.length) // self.step + 1, (end - begin) // self.step))
        self._within, self._behaviour = windows > 0 or (within and begin == 0), behaviour
        until = begin + (windows - 1) * self.step + self.length if windows else begin
        return left_over, until, begin + windows * self.step

    def _take_labels(self, labels: NDArray[np.object_] | None, fresh: int) -> None:
        """Each new sample has the label of the old one nearest in time."""
        if labels is None or self._labels is None or self._old_labels is None:
            return
        old = np.concatenate([self._old_labels, labels])
        first = self._first + len(self._samples)
        rates = self._begun.rate_hz, self.rate_hz
        nearest = nearest_old(first, first + fresh, *rates, self._old_first + len(old)) - self._old_first
        self._labels = np.concatenate([self._labels, old[nearest]])
        unneeded = int(nearest[-1]) if fresh else 0
        self._old_labels, self._old_first = old[unneeded:], self._old_first + unneeded
