"""The ranking of a study's trials, and their comparison with each other, from the journal alone.

A trial's score is the mean of its folds' validation macro-F1. Its 95 % interval is Student's t over the folds, that is
over validation animals: it tells how far the mean would move with other animals of the same kind, with all the caution
that three to ten of them call for. Macro-F1 ends at 0 and 1, so the interval is cut off there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

Event = Mapping[str, Any]
"""One line of the journal."""

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean and its 95 % t-interval; the ends are NaN where there are fewer than two values."""

    mean: float
    low: float
    high: float


class PairedDifference(NamedTuple):
    """Mean difference of macro-F1 over the folds that two trials share, its 95 % t-interval, and their number."""

    mean: float
    low: float
    high: float
    folds: int


@dataclass
class TrialRecord:
    """What the journal says of one trial; of a fold that ran twice, the later run."""

    settings: dict[str, Any] = field(default_factory=dict)
    pretrained: Event = field(default_factory=dict)
    folds: dict[str, Event] = field(default_factory=dict)
    finished: Event = field(default_factory=dict)

    @property
    def state(self) -> str:
        """`complete`, `failed`, `stopped`, or `unfinished` while the journal does not say."""
        return str(self.finished.get("state", "unfinished"))


def rank(events: Iterable[Event]) -> pd.DataFrame:
    """One row a trial: complete ones first, by macro-F1, then all others, which have no rank.

    Equal scores go to the earlier trial.

    Returns:
        Columns `rank`, `trial`, `state`, `macro_f1`, `macro_f1_low`, `macro_f1_high` (95 %, cut off at 0 and 1),
        `macro_f1[<animal>]` for each validation animal, every searched setting by its dotted name, `seconds_pretrain`,
        `seconds_finetune`, `encoder` (its key), `encoder_cached`, `folds`, `reason`, and `data`: SIMULATED or recorded.
    """
    events = list(events)
    trials = trial_records(events)
    rows = [
        {
            "trial": number,
            "state": trial.state,
            **_score_columns(trial.finished.get("macro_f1"), trial.folds.values()),
            **trial.settings,
            "seconds_pretrain": trial.pretrained.get("seconds", np.nan),
            "seconds_finetune": sum(fold["seconds"] for fold in trial.folds.values()),
            "encoder": trial.pretrained.get("key"),
            "encoder_cached": trial.pretrained.get("cached"),
            "folds": len(trial.folds),
            "reason": trial.finished.get("reason"),
        }
        for number, trial in trials.items()
    ]
    searched = _searched(events, trials.values())
    scores = _score_names(fold for trial in trials.values() for fold in trial.folds.values())
    tail = ["seconds_pretrain", "seconds_finetune", "encoder", "encoder_cached", "folds", "reason"]
    # object columns: a patch length stays 8 and None stays None also where another trial lacks the setting
    frame = pd.DataFrame(rows, columns=["trial", "state", *scores, *searched, *tail], dtype=object)
    numbers = dict.fromkeys([*scores, "seconds_pretrain", "seconds_finetune"], float)
    frame = frame.astype({**numbers, "trial": int, "folds": int, "encoder_cached": "boolean"})
    frame["data"] = _data(events)
    return _ranked(frame)


def baselines(events: Iterable[Event]) -> pd.DataFrame:
    """One row a baseline, in the order of the journal; of one that was scored twice, the later.

    Returns:
        Columns `name`, `macro_f1`, `macro_f1_low`, `macro_f1_high`, `macro_f1[<animal>]`, `seconds`, `folds`, `data`,
        with the meaning that they have in `rank`.
    """
    events = list(events)
    latest = {event["name"]: event for event in events if event["event"] == "baseline_finished"}
    scores = _score_names(fold for event in latest.values() for fold in event["folds"])
    rows = [
        {
            "name": name,
            **_score_columns(event["macro_f1"], event["folds"]),
            "seconds": event["seconds"],
            "folds": len(event["folds"]),
        }
        for name, event in latest.items()
    ]
    frame = pd.DataFrame(rows, columns=["name", *scores, "seconds", "folds"])
    frame["data"] = _data(events)
    return frame.astype({**dict.fromkeys([*scores, "seconds"], float), "folds": int})


def paired_difference(events: Iterable[Event], trial: int, reference: int = 0) -> PairedDifference:
    """By how much `trial` beats `reference`, fold by fold: animals differ far more than trials do.

    Raises:
        ValueError: one of the two is not in the journal.
    """
    trials = trial_records(events)
    for number in (trial, reference):
        if number not in trials:
            raise ValueError(f"both trials must be in the journal, got {number}; it has {sorted(trials)}")
    ours, theirs = trials[trial].folds, trials[reference].folds
    shared = [name for name in ours if name in theirs]
    differences = [ours[name]["result"]["macro_f1"] - theirs[name]["result"]["macro_f1"] for name in shared]
    return PairedDifference(*t_interval(differences), folds=len(differences))


def write_ranking(frame: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV; whoever reads `path` meanwhile sees the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.partial")
    frame.to_csv(scratch, index=False)
    scratch.replace(path)


def t_interval(values: Sequence[float]) -> Interval:
    """Mean of the values with its 95 % interval by Student's t, mean ± t(.975, n - 1) s / √n."""
    if len(values) < 2:
        return Interval(values[0] if values else np.nan, np.nan, np.nan)
    mean = float(np.mean(values))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half)


def trial_records(events: Iterable[Event]) -> dict[int, TrialRecord]:
    """The trials of a journal by number, in the order of their numbers."""
    trials: defaultdict[int, TrialRecord] = defaultdict(TrialRecord)
    for event in events:
        match event["event"]:
            case "trial_started":
                trials[event["trial"]].settings = dict(event["settings"])
            case "pretrained":
                trials[event["trial"]].pretrained = event
            case "fold_finished":
                trials[event["trial"]].folds[event["fold"]] = event
            case "trial_finished":
                trials[event["trial"]].finished = event
    return dict(sorted(trials.items()))


def _ranked(frame: pd.DataFrame) -> pd.DataFrame:
    ranked = (frame["state"] == "complete") & frame["macro_f1"].notna()
    first = frame[ranked].sort_values(["macro_f1", "trial"], ascending=[False, True])
    frame = pd.concat([first, frame[~ranked].sort_values("trial")], ignore_index=True)
    places = [*range(1, len(first) + 1), *[pd.NA] * (len(frame) - len(first))]
    frame.insert(0, "rank", pd.Series(places, dtype="Int64"))
    return frame


def _animal(fold: Event) -> str:
    """The fold's validation animal; several that were scored as one are joined by a plus sign."""
    return "+".join(fold["validation"])


def _score_columns(score: float | None, folds: Iterable[Event]) -> dict[str, float]:
    """The score, its interval cut off at 0 and 1, and the score of each validation animal."""
    by_animal = defaultdict(list)
    for fold in folds:
        by_animal[f"macro_f1[{_animal(fold)}]"].append(fold["result"]["macro_f1"])
    interval = t_interval([value for values in by_animal.values() for value in values])
    low, high = (np.nan, np.nan) if score is None else np.clip([interval.low, interval.high], 0, 1)
    return {
        "macro_f1": np.nan if score is None else score,
        "macro_f1_low": low,
        "macro_f1_high": high,
        **{name: float(np.mean(values)) for name, values in by_animal.items()},
    }


def _score_names(folds: Iterable[Event]) -> list[str]:
    """Names of the columns that `_score_columns` fills for these folds."""
    animals = sorted({_animal(fold) for fold in folds})
    return ["macro_f1", "macro_f1_low", "macro_f1_high", *(f"macro_f1[{animal}]" for animal in animals)]


def _searched(events: Iterable[Event], trials: Iterable[TrialRecord]) -> list[str]:
    """Names of searched settings in the order of the study file; then those that only an earlier start searched."""
    names: dict[str, None] = {}
    for event in events:
        if event["event"] == "study_started":
            names |= dict.fromkeys(event["search"])
    for trial in trials:
        names |= dict.fromkeys(trial.settings)
    return list(names)


def _data(events: Iterable[Event]) -> str:
    simulated = any(event["simulated"] for event in events if event["event"] == "study_started")
    return "SIMULATED" if simulated else "recorded"
