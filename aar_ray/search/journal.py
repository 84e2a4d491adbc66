"""The journal of a study: an append-only file of events, and the only truth about what has happened.

One event a line, as JSON. A line that a kill has torn is dropped when the study goes on. The events and their fields:

- `study_started`: name, seed, simulated, search, arms, classes, folds, corpus, trials (planned), settings, versions
- `trial_started`: trial, settings (those that vary), origin (reference, sampled, arm, repeat or confirmation), seed (of
  pre-training and fine-tuning), repeat_of (number of the first trial of these settings, or null), arm (name or null)
- `pretrain_epoch`: trial, key, epoch, metrics
- `pretrain_collapsed`: trial, key, epoch, reason; once, after the first epoch whose embeddings are not spread
- `pretrained`: trial, key, seconds, cached
- `fold_finished`: trial, fold, validation, key, cached, seconds, result
- `trial_finished`: trial, state (complete or failed), macro_f1, reason
- `baseline_finished`: name, macro_f1, seconds, folds
- `study_finished`: stopped_by
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from aar_ray.search.proposals import Known
from aar_ray.search.space import hashable

Event = dict[str, Any]


class Journal:
    """An open journal; one process at a time may write a study's."""

    def __init__(self, path: Path) -> None:
        """Open or begin the journal.

        Raises:
            RuntimeError: another process has it open.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: IO[bytes] = path.open("ab+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise RuntimeError(
                f"{path} is being written by another run of this study; wait for it or stop it"
            ) from error
        self.events = list(read_events(path))
        self._drop_torn_line()

    def append(self, event: str, **fields: Any) -> Event:
        """Write an event, with the time, so that it outlives a kill of this process or a power cut."""
        record: Event = {"event": event, "at": datetime.now(UTC).isoformat(timespec="milliseconds"), **fields}
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.events.append(record)
        return record

    def close(self) -> None:
        """Give up the lock."""
        self._file.close()

    def _drop_torn_line(self) -> None:
        self._file.seek(0)
        text = self._file.read()
        whole = text.rfind(b"\n") + 1
        if whole != len(text):
            self._file.truncate(whole)


def read_events(path: Path) -> Iterator[Event]:
    """All whole events of a journal, first to last; none where there is no journal."""
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)


def known_trials(events: Sequence[Event]) -> list[Known]:
    """Every trial that was begun, by number; one that has no end is `running`."""
    trials: dict[int, Known] = {}
    for event in events:
        if event["event"] == "trial_started":
            settings = {name: hashable(value) for name, value in event["settings"].items()}
            trials[event["trial"]] = Known(settings, "running", repeat_of=event.get("repeat_of"))
        elif event["event"] == "trial_finished":
            begun = trials[event["trial"]]
            trials[event["trial"]] = replace(begun, state=event["state"], macro_f1=event["macro_f1"])
    return [trials[number] for number in sorted(trials)]
