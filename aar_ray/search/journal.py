"""The journal of a study: an append-only file of events, and the only truth about what has happened.

One event a line, as JSON. A line that a kill has torn is dropped when the study goes on. The events and their fields:

- `study_started`: name, seed, simulated, search, arms, classes, folds, corpus, trials (planned, or null), settings,
  versions, trial_slots, gpus (of a worker group and of a fine-tuning task), provenance (commit, command, hardware,
  cluster), warnings
- `planned`: what `plan.make_plan` says
- `warm_started`: study (an earlier one), told (its trials that fit: settings, macro_f1, seconds), left_out (number of
  trials by reason), other_data (whether other labelled windows were scored)
- `trial_started`: trial, settings (those that vary), origin (reference, enqueued, sampled, arm, repeat or
  confirmation), seed (of pre-training and fine-tuning), repeat_of (number of the first trial of these settings, or
  null), arm (name or null), folds (how many it runs at first, 0 for its encoder's first epochs alone; null: all)
- `trial_paused`: trial, folds (that it has), probe (of its encoder, where it has no folds)
- `trial_promoted`: trial, folds (that it is to have), after a pause or a stop
- `pretrain_epoch`: trial, key, epoch, metrics
- `pretrain_collapsed`: trial, key, epoch, reason; once, after the first epoch whose embeddings are not spread
- `pretrained`: trial, key, seconds, cached
- `fold_finished`: trial, fold, validation, key, cached, seconds, result
- `trial_finished`: trial, state (complete, failed, or stopped: paused when the study ended), macro_f1, reason, encoder
  (key, if it failed to get it), pooled (scores of all folds' windows together, if complete)
- `trial_retried`: trial (one that failed and runs again)
- `priced`: price (of an encoder, in folds), epoch_seconds, fold_seconds (the quickest of trial 0, or null); once, and
  only where the sampler weighs costs
- `baseline_finished`: name, macro_f1, pooled, seconds, folds
- `study_stopped`: reason (it could not go on)
- `study_finished`: stopped_by, groups_started (worker groups of the last start)
- `unsealed`: commit, changed, animals, scores (of each model: name, macro_f1, by_animal, models, confusion)
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aar_ray.search.price import price_of
from aar_ray.search.proposals import Known
from aar_ray.search.rungs import Action, History
from aar_ray.search.space import hashable

Event = dict[str, Any]


class Refused(ValueError):
    """A study whose state forbids what is asked of it."""


class Journal:
    """An open journal; one process at a time may write a study's."""

    def __init__(self, path: Path) -> None:
        """Open or begin the journal.

        Raises:
            RuntimeError: another process has it open.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            self._descriptor = -1
            raise RuntimeError(
                f"{path} is being written by another run of this study; wait for it or stop it"
            ) from error
        self.events = list(read_events(path))
        self._drop_torn_line()

    def append(self, event: str, **fields: Any) -> Event:
        """Write an event, with the time, so that it outlives a kill of this process or a power cut.

        Raises:
            OSError: it could not be written whole, as on a full disk; the journal is as it was before.
        """
        record: Event = {"event": event, "at": datetime.now(UTC).isoformat(timespec="milliseconds"), **fields}
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        before = os.fstat(self._descriptor).st_size
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, before)
            raise OSError(error.errno, f"{error.strerror}; the same command goes on", str(self.path)) from error
        self.events.append(record)
        return record

    def close(self) -> None:
        """Give up the lock; a journal in which nothing was ever written leaves no file."""
        if self._descriptor < 0:
            return
        if not os.fstat(self._descriptor).st_size:
            self.path.unlink(missing_ok=True)
            # a folder that holds anything else stays
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()
        os.close(self._descriptor)
        self._descriptor = -1

    def _drop_torn_line(self) -> None:
        whole = self.path.read_bytes().rfind(b"\n") + 1
        if whole != os.fstat(self._descriptor).st_size:
            os.ftruncate(self._descriptor, whole)


def read_events(path: Path) -> Iterator[Event]:
    """All whole events of a journal, first to last; none where there is no journal."""
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)


def history(events: Sequence[Event]) -> History:
    """What a decision goes by."""
    trials = known_trials(events)
    actions = [
        Action(event["trial"], event.get("folds"))
        for event in events
        if event["event"] in ("trial_started", "trial_promoted")
    ]
    return History(trials, actions, price_of(events))


def number_of_folds(events: Sequence[Event]) -> int:
    """Of the study, by its latest start; 1 before there was one."""
    return next((len(event["folds"]) for event in reversed(events) if event["event"] == "study_started"), 1)


def has_begun(events: Iterable[Event]) -> bool:
    """Whether a study has done anything; a plan is none of it."""
    return any(event["event"] != "planned" for event in events)


def refuse_after_unsealing(events: Sequence[Event]) -> None:
    """A study whose test animals were scored must not go on: it would be tuned on them.

    Raises:
        Refused: it was unsealed.
    """
    for event in events:
        if event["event"] == "unsealed":
            commit = event["commit"] or "unknown"
            raise Refused(
                f"the test animals of this study ({', '.join(event['animals'])}) were scored on {event['at'][:19]} at "
                f"commit {commit[:10]}; a test is made once, its scores stand in the journal and in the report"
            )


def known_trials(events: Sequence[Event]) -> list[Known]:
    """Every trial that was begun, by number; one that has no end and is not paused is `running`."""
    trials: dict[int, Known] = {}
    positions: dict[str, int] = {}
    # of a stage that was done twice, the later one counts
    seconds: dict[int, dict[str, float]] = {}
    for event in events:
        number: int = event.get("trial", -1)
        if event["event"] in ("pretrained", "fold_finished"):
            seconds.setdefault(number, {})[f"{event['event']} {event.get('fold')}"] = event.get("seconds", 0.0)
        match event["event"]:
            case "study_started":
                positions = {fold["name"]: position for position, fold in enumerate(event["folds"])}
            case "trial_started":
                settings = {name: hashable(value) for name, value in event["settings"].items()}
                trials[number] = Known(settings, "running", repeat_of=event.get("repeat_of"))
            case "fold_finished" if event["fold"] in positions:
                scores = {**trials[number].scores, positions[event["fold"]]: event["result"]["macro_f1"]}
                trials[number] = replace(trials[number], scores=scores)
            case "trial_paused":
                probe = event.get("probe", trials[number].probe)
                trials[number] = replace(trials[number], state="open", probe=probe)
            case "trial_finished":
                cost = sum(seconds[number].values()) if number in seconds else None
                ended = replace(trials[number], state=event["state"], macro_f1=event["macro_f1"], seconds=cost)
                trials[number] = ended
            case "trial_promoted" | "trial_retried":
                trials[number] = replace(trials[number], state="running", macro_f1=None)
    return [trials[number] for number in sorted(trials)]
