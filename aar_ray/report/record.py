"""What a study's folder holds, read without trust: unfinished, killed, empty, of an older version, or incomplete.

Whatever is not there is said in `missing`, one sentence each, and nothing is made up for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from aar_ray.search.evidence import Scored, Spread, Winner, report_winner, seed_spread
from aar_ray.search.ranking import (
    TrialRecord,
    baseline_scores,
    baselines,
    data_kind,
    rank,
    scored_settings,
    trial_records,
    validation_animals,
)

Event = dict[str, Any]

JOURNAL, STUDY = "journal.jsonl", "study.yaml"

EXPECTED: dict[str, dict[str, Any]] = {
    "study_started": {"search": {}, "arms": {}, "simulated": False, "classes": [], "folds": [], "settings": {}},
    "trial_started": {"trial": None, "settings": {}},
    "pretrain_epoch": {"trial": None, "epoch": 0, "metrics": {}},
    "pretrained": {"trial": None, "key": None, "seconds": 0.0, "cached": False},
    "fold_finished": {"trial": None, "fold": "", "validation": [], "seconds": 0.0, "result": {}},
    "trial_finished": {"trial": None, "state": "unfinished", "macro_f1": None, "reason": None},
    "baseline_finished": {"name": "", "macro_f1": None, "seconds": 0.0, "folds": []},
    "study_finished": {"stopped_by": "unknown"},
    "unsealed": {"at": None, "commit": None, "changed": None, "animals": [], "scores": []},
}
"""Fields that are read of each event, with what stands for one that a journal of another version lacks."""


class NotAStudy(ValueError):
    """A folder that no study has written."""


@dataclass
class StudyRecord:
    """A study as its folder tells it."""

    folder: Path
    events: list[Event]
    file: Mapping[str, Any]
    """`study.yaml`; empty where it is missing."""
    missing: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the study; its folder's where nothing says it."""
        return str(self.started.get("name") or self.file.get("name") or self.folder.resolve().name)

    @property
    def simulated(self) -> bool:
        """Whether any animal is."""
        return data_kind(self.events) == "SIMULATED"

    @cached_property
    def starts(self) -> list[Event]:
        """Every start, the first one and those after an interruption."""
        return [event for event in self.events if event["event"] == "study_started"]

    @property
    def started(self) -> Event:
        """The last start; empty where there is none."""
        return self.starts[-1] if self.starts else {}

    @cached_property
    def finished(self) -> Event | None:
        """The end, unless the study has started again since."""
        last: Event | None = None
        for event in self.events:
            if event["event"] == "study_finished":
                last = event
            elif event["event"] == "study_started":
                last = None
        return last

    @property
    def planned(self) -> Event:
        """What `--plan` said last; empty where it was not asked."""
        return next((event for event in reversed(self.events) if event["event"] == "planned"), {})

    @property
    def unsealed(self) -> Event | None:
        """The scores on the test animals, if they were taken."""
        return next((event for event in self.events if event["event"] == "unsealed"), None)

    @cached_property
    def trials(self) -> dict[int, TrialRecord]:
        """By number."""
        return trial_records(self.events)

    @cached_property
    def times(self) -> dict[int, tuple[datetime | None, datetime | None]]:
        """First start and last end of each trial."""
        found: dict[int, tuple[datetime | None, datetime | None]] = {}
        for event in self.events:
            if event["event"] in ("trial_started", "trial_finished"):
                begun, ended = found.get(event["trial"], (None, None))
                at = time_of(event)
                found[event["trial"]] = (begun or at, ended) if event["event"] == "trial_started" else (begun, at)
        return found

    @cached_property
    def scored(self) -> list[Scored]:
        """Settings with a complete run."""
        return scored_settings(self.trials)

    @cached_property
    def seeds(self) -> Spread | None:
        """How much a score changes from seed to seed."""
        return seed_spread(self.scored)

    @cached_property
    def winner(self) -> Winner | None:
        """The best setting; None where no trial is complete."""
        return report_winner(self.scored)

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """As `aar_ray.search.ranking.rank` gives it."""
        return rank(self.events)

    @cached_property
    def baselines(self) -> pd.DataFrame:
        """As `aar_ray.search.ranking.baselines` gives it."""
        return baselines(self.events)

    @cached_property
    def baseline_events(self) -> dict[str, Event]:
        """The latest score of each baseline, by name."""
        return {event["name"]: event for event in self.events if event["event"] == "baseline_finished"}

    def baseline_scored(self, name: str) -> Scored | None:
        """A baseline as a setting with one run, on the animals that trials are scored on."""
        if name not in self.baseline_events:
            return None
        scores = baseline_scores(self.baseline_events[name])
        return scored_row([scores.get(animal, float("nan")) for animal in self.animals])

    @cached_property
    def animals(self) -> list[str]:
        """Validation animals."""
        return validation_animals(self.trials.values())

    @property
    def varied(self) -> list[str]:
        """Settings that differ between trials."""
        names: dict[str, None] = {}
        for start in self.starts:
            names |= dict.fromkeys(start["search"])
        for trial in self.trials.values():
            names |= dict.fromkeys(trial.settings)
        return list(names)

    def setting(self, number: int) -> Scored:
        """A setting by the number of its first trial."""
        return next(one for one in self.scored if one.number == number)

    def runs(self, number: int) -> dict[int, TrialRecord]:
        """Complete trials of a setting, by their numbers."""
        return {
            other: trial
            for other, trial in self.trials.items()
            if number in (other, trial.repeat_of) and trial.state == "complete"
        }


def read_study(folder: Path) -> StudyRecord:
    """Read a results folder.

    Raises:
        NotAStudy: it is no folder, or holds neither a journal nor a study file.
    """
    journal, file = folder / JOURNAL, folder / STUDY
    if not folder.is_dir():
        raise NotAStudy(f"a report is made from the folder of a study, got {folder}, which is none; see results/")
    if not journal.is_file() and not file.is_file():
        raise NotAStudy(f"a study's folder holds {JOURNAL} or {STUDY}, {folder} holds neither; name another folder")
    missing: list[str] = []
    events = list(_events(journal, missing))
    record = StudyRecord(folder, events, _study_file(file, missing), missing)
    missing += _unfinished(record)
    missing += _artifacts(record)
    return record


def scored_row(scores: Iterable[float]) -> Scored:
    """One run's scores by animal, as a setting that nothing picked out."""
    import numpy as np

    return Scored(-1, np.array([list(scores)]), np.array([False]))


def time_of(event: Mapping[str, Any]) -> datetime | None:
    """When an event was written, where it says so."""
    return datetime.fromisoformat(event["at"]) if event.get("at") else None


def store_of(record: StudyRecord) -> Path:
    """Where the study keeps its artifacts; a relative path is as seen from where it was started, or from its folder."""
    store = Path(str(record.file.get("store", "results/.store")))
    beside = record.folder.resolve().parent.parent / store
    return beside if not store.is_dir() and beside.is_dir() else store


def _events(path: Path, missing: list[str]) -> Iterator[Event]:
    if not path.is_file():
        missing.append(f"{JOURNAL} is not there: nothing is known of what the study did.")
        return
    unread, lacking = 0, set()
    for line in path.read_bytes().splitlines():
        try:
            event = json.loads(line)
            expected = EXPECTED.get(event["event"], {})
        except (ValueError, TypeError, KeyError):
            unread += 1
            continue
        lacking |= {f"{event['event']}.{name}" for name in expected if name not in event}
        filled = {**expected, **event}
        if "trial" not in expected or isinstance(filled["trial"], int):
            yield filled
    if unread:
        missing.append(f"{unread} lines of {JOURNAL} cannot be read, as after a kill; what they held is not here.")
    lacking -= {"study_started.arms"}
    if lacking:
        names = ", ".join(sorted(lacking))
        missing.append(f"{JOURNAL} is of another version and lacks {names}; what is drawn from them is not here.")


def _study_file(path: Path, missing: list[str]) -> Mapping[str, Any]:
    if not path.is_file():
        missing.append(f"{STUDY} is not there: budget, resources and fixed settings are not known.")
        return {}
    try:
        found = YAML(typ="safe").load(path)
    except YAMLError:
        found = None
    if not isinstance(found, dict):
        missing.append(f"{STUDY} cannot be read.")
        return {}
    return found


def _unfinished(record: StudyRecord) -> Iterator[str]:
    if not record.events:
        yield "No event is in the journal: the study has not begun."
        return
    states = [trial.state for trial in record.trials.values()]
    planned = record.started.get("trials")
    if not states:
        yield "No trial has begun."
    elif record.finished is None:
        of = f" of {planned} planned" if planned else ""
        yield (
            f"The study is not finished: {states.count('complete')} trials{of} are complete, "
            f"{states.count('unfinished')} have begun and not ended. The same command goes on."
        )
    if record.scored and not record.baseline_events:
        yield "No baseline has been scored: nothing says whether the network earns its keep."


def _artifacts(record: StudyRecord) -> Iterator[str]:
    """Files of the winner that the store should hold."""
    if record.winner is None:
        return
    store = store_of(record)
    if not store.is_dir():
        yield f"The store {store} is not there: weights and probabilities of the winner cannot be found."
        return
    for number, trial in record.runs(record.winner.number).items():
        gone = [
            fold["fold"] for fold in trial.folds.values() if not (store / "finetune" / str(fold.get("key"))).is_dir()
        ]
        if gone:
            yield f"Weights of trial {number} are not in the store for {', '.join(gone)}."
