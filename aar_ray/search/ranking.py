"""The ranking of a study's settings, and their comparison with each other, from the journal alone.

Trials of equal settings and different seeds are one row: its first trial names it. Settings that ran on fresh seeds
stand before all others, whose single score is over-stated by having been picked; `aar_ray.search.evidence` has the
statistics, with all the caution that three to ten animals call for. Macro-F1 ends at 0 and 1, so intervals of scores
are cut off there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aar_ray.search.evidence import (
    Difference,
    Interval,
    Scored,
    beside_winner,
    choose,
    interval,
    paired_difference,
    seed_spread,
    t_interval,
)
from aar_ray.search.pareto import on_front

Event = Mapping[str, Any]
"""One line of the journal."""


@dataclass
class TrialRecord:
    """What the journal says of one trial; of a fold that ran twice, the later run."""

    settings: dict[str, Any] = field(default_factory=dict)
    origin: str = "sampled"
    seed: int | None = None
    repeat_of: int | None = None
    """Number of the first trial of the same settings, for a later one with another seed."""
    arm: str | None = None
    pretrained: Event = field(default_factory=dict)
    folds: dict[str, Event] = field(default_factory=dict)
    finished: Event = field(default_factory=dict)

    @property
    def state(self) -> str:
        """`complete`, `failed`, `stopped`, or `unfinished` while the journal does not say."""
        return str(self.finished.get("state", "unfinished"))

    @property
    def seconds(self) -> float:
        """Of fine-tuning, all folds together."""
        return float(sum(fold["seconds"] for fold in self.folds.values()))

    @property
    def cost(self) -> float:
        """Seconds of its encoder and its folds when they were made, by it or by another trial."""
        return float(self.pretrained.get("seconds", 0.0)) + self.seconds


def rank(events: Iterable[Event]) -> pd.DataFrame:
    """One row a setting: complete ones by macro-F1, confirmed ones first, then all others, which have no rank.

    Equal scores go to the earlier trial.

    Returns:
        Columns `rank`, `trial` (its first), `arm`, `state` (of that one), `runs` (complete ones, each with a seed of
        its own), `beside_winner` (cannot be told from the winner), `pareto` (no other complete one scores as much for
        fewer seconds a run, or more for as many), `macro_f1` (that ranks; over the runs that choose), `macro_f1_low`,
        `macro_f1_high` (95 %, over animals and, where some settings have several, seeds),
        `macro_f1_fresh` (over the runs that had no part in the choice), `macro_f1_minus_trial_0` with `_low` and
        `_high` (paired by animal, over all runs), `macro_f1[<animal>]` for each validation animal, every setting that
        varies by its dotted name, `seconds_pretrain`, `seconds_finetune`, `encoder` (key), `encoder_cached`, `folds`,
        `reason`, and `data`: SIMULATED or recorded.
    """
    events = list(events)
    trials = trial_records(events)
    first = {number: trial for number, trial in trials.items() if trial.repeat_of not in trials}
    settings = scored_settings(trials)
    animals = validation_animals(trials.values())
    judged = _judged(settings, animals)
    rows = []
    for number, trial in first.items():
        runs = [trial, *(other for other in trials.values() if other.repeat_of == number)]
        rows.append({"trial": number, **_row(trial, runs), **judged.get(number, _unjudged(trial))})
    complete = [row for row in rows if row["state"] == "complete"]
    front = on_front([row["macro_f1"] for row in complete], [first[row["trial"]].cost for row in complete])
    for row, on in zip(complete, front, strict=True):
        row["pareto"] = on
    varied = _varied(events, trials.values())
    scores = [
        *("macro_f1", "macro_f1_low", "macro_f1_high", "macro_f1_fresh"),
        *("macro_f1_minus_trial_0", "macro_f1_minus_trial_0_low", "macro_f1_minus_trial_0_high"),
        *(f"macro_f1[{animal}]" for animal in animals),
    ]
    tail = ["seconds_pretrain", "seconds_finetune", "encoder", "encoder_cached", "folds", "reason"]
    columns = ["trial", "arm", "state", "runs", "beside_winner", "pareto", *scores, *varied, *tail]
    # object columns: a patch length stays 8 and None stays None also where another trial lacks the setting
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    numbers = dict.fromkeys([*scores, "seconds_pretrain", "seconds_finetune"], float)
    truths = dict.fromkeys(["encoder_cached", "beside_winner", "pareto"], "boolean")
    frame = frame.astype({**numbers, **truths, "trial": int, "folds": int, "runs": int})
    frame["data"] = data_kind(events)
    return _ranked(frame, confirmed={one.number for one in settings if one.sought.any() and not one.sought.all()})


def scored_settings(trials: Mapping[int, TrialRecord]) -> list[Scored]:
    """Scores of every setting that has a complete run, by the number of its first trial.

    In a search the first run of a setting is what picked it out; in a study of arms nothing was picked.
    """
    animals = validation_animals(trials.values())
    return [
        Scored(
            number,
            np.array([[_of_animal(trial).get(animal, np.nan) for animal in animals] for trial in own]),
            np.array([trial.repeat_of is None and trial.arm is None for trial in own]),
        )
        for number, own in _runs(trials).items()
    ]


def _runs(trials: Mapping[int, TrialRecord]) -> dict[int, list[TrialRecord]]:
    """Complete runs of every setting, by the number of its first trial."""
    runs: defaultdict[int, list[TrialRecord]] = defaultdict(list)
    for number, trial in trials.items():
        if trial.state == "complete" and trial.folds:
            runs[number if trial.repeat_of is None else trial.repeat_of].append(trial)
    return dict(sorted(runs.items()))


def baselines(events: Iterable[Event]) -> pd.DataFrame:
    """One row a baseline, in the order of the journal; of one that was scored twice, the later.

    Returns:
        Columns `name`, `macro_f1`, `macro_f1_low`, `macro_f1_high`, `macro_f1[<animal>]`, `seconds`, `folds`, `data`,
        with the meaning that they have in `rank`.
    """
    events = list(events)
    latest = {event["name"]: event for event in events if event["event"] == "baseline_finished"}
    animals = sorted({_animal(fold) for event in latest.values() for fold in event["folds"]})
    columns = ["macro_f1", "macro_f1_low", "macro_f1_high", *(f"macro_f1[{animal}]" for animal in animals)]
    rows = []
    for name, event in latest.items():
        scores = baseline_scores(event)
        seconds, folds = event["seconds"], len(event["folds"])
        by_animal = {f"macro_f1[{animal}]": value for animal, value in scores.items()}
        score = t_interval(list(scores.values()))
        rows.append({"name": name, **_cut_off(score), **by_animal, "seconds": seconds, "folds": folds})
    frame = pd.DataFrame(rows, columns=["name", *columns, "seconds", "folds"])
    frame["data"] = data_kind(events)
    return frame.astype({**dict.fromkeys([*columns, "seconds"], float), "folds": int})


def baseline_scores(event: Event) -> dict[str, float]:
    """Macro-F1 of each validation animal in a `baseline_finished` event, mean over its seeds."""
    return _of_animal(TrialRecord(folds={str(number): fold for number, fold in enumerate(event["folds"])}))


def difference(events: Iterable[Event], trial: int, reference: int = 0) -> Difference:
    """By how much the settings of `trial` beat those of `reference`, animal by animal, over all their runs.

    Not seed by seed, as arms are compared (`gain`): the one seed that two settings of a search always share is the
    search's, by which one of them was picked, and the fresh ones, which no choice flatters, are the winner's alone
    unless the reference was confirmed too. So seeds count as independent; shared ones would only narrow the interval.

    Raises:
        ValueError: one of the two has no complete run in the journal.
    """
    settings = {one.number: one for one in scored_settings(trial_records(events))}
    for number in (trial, reference):
        if number not in settings:
            raise ValueError(f"both trials must be complete in the journal, got {number}; it has {sorted(settings)}")
    return paired_difference(settings[trial], settings[reference], seed_spread(settings.values()))


def arms(events: Iterable[Event]) -> pd.DataFrame:
    """One row an arm that has a complete run, in the order of the study file; the first arm is the reference.

    Returns:
        Columns `arm`, `runs`, `macro_f1`, `macro_f1_low`, `macro_f1_high`, and `difference`, `difference_low`,
        `difference_high`: from the first arm, paired over the animals and seeds, 95 % over both; NaN for itself.
    """
    trials = trial_records(events)
    settings = scored_settings(trials)
    seeds = seed_spread(settings)
    gains = [gain(trials, one, settings[0]) for one in settings[1:]]
    seeds_of_gains = seed_spread(gains)
    rows = []
    for one, gained in zip(settings, [None, *gains], strict=True):
        score = _cut_off(interval(one, seeds))
        found = interval(gained, seeds_of_gains) if gained else (np.nan,) * 3
        difference = dict(zip(("difference", "difference_low", "difference_high"), found, strict=True))
        rows.append({"arm": trials[one.number].arm, "runs": len(one.scores), **score, **difference})
    return pd.DataFrame(rows)


def gain(trials: Mapping[int, TrialRecord], ours: Scored, theirs: Scored) -> Scored:
    """What `ours` has more than `theirs`, run by run: equal seeds give both equal draws, which a difference cancels."""
    of_ours, of_theirs = (
        {trial.seed: row for row, trial in enumerate(_runs(trials)[one.number])} for one in (ours, theirs)
    )
    shared = [seed for seed in of_ours if seed in of_theirs]
    rows = [of_ours[seed] for seed in shared]
    return Scored(
        ours.number, ours.scores[rows] - theirs.scores[[of_theirs[seed] for seed in shared]], ours.sought[rows]
    )


def write_ranking(frame: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV; whoever reads `path` meanwhile sees the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.partial")
    frame.to_csv(scratch, index=False)
    scratch.replace(path)


def trial_records(events: Iterable[Event]) -> dict[int, TrialRecord]:
    """The trials of a journal by number, in the order of their numbers."""
    trials: defaultdict[int, TrialRecord] = defaultdict(TrialRecord)
    for event in events:
        match event["event"]:
            case "trial_started":
                trial = trials[event["trial"]]
                trial.settings = dict(event["settings"])
                # a journal of an older version knows neither seeds nor arms
                trial.origin, trial.seed = event.get("origin", "sampled"), event.get("seed")
                trial.repeat_of, trial.arm = event.get("repeat_of"), event.get("arm")
            case "pretrained":
                trials[event["trial"]].pretrained = event
            case "fold_finished":
                trials[event["trial"]].folds[event["fold"]] = event
            case "trial_retried":
                trials[event["trial"]].finished = {}
            case "trial_finished":
                trials[event["trial"]].finished = event
            case "trial_retried" | "trial_promoted":
                trials[event["trial"]].finished = {}
    return dict(sorted(trials.items()))


def validation_animals(trials: Iterable[TrialRecord]) -> list[str]:
    """Names of the validation animals; several that were scored as one are joined by a plus sign."""
    return sorted({_animal(fold) for trial in trials for fold in trial.folds.values()})


def data_kind(events: Iterable[Event]) -> str:
    """`SIMULATED` or `recorded`."""
    simulated = any(event["simulated"] for event in events if event["event"] == "study_started")
    return "SIMULATED" if simulated else "recorded"


def _ranked(frame: pd.DataFrame, confirmed: set[int]) -> pd.DataFrame:
    ranked = (frame["state"] == "complete") & frame["macro_f1"].notna()
    first = frame[ranked]
    first = first.assign(confirmed=first["trial"].isin(confirmed))
    first = first.sort_values(["confirmed", "macro_f1", "trial"], ascending=[False, False, True])
    frame = pd.concat([first.drop(columns="confirmed"), frame[~ranked].sort_values("trial")], ignore_index=True)
    places = [*range(1, len(first) + 1), *[pd.NA] * (len(frame) - len(first))]
    frame.insert(0, "rank", pd.Series(places, dtype="Int64"))
    return frame


def _row(trial: TrialRecord, runs: Sequence[TrialRecord]) -> dict[str, Any]:
    """What a setting's row has besides its scores; `trial` is the first of the `runs`."""
    pretrained = [run.pretrained["seconds"] for run in runs if run.pretrained]
    return {
        "arm": trial.arm,
        "state": trial.state,
        "runs": sum(run.state == "complete" for run in runs),
        **trial.settings,
        "seconds_pretrain": sum(pretrained) if pretrained else np.nan,
        "seconds_finetune": sum(run.seconds for run in runs),
        "encoder": trial.pretrained.get("key"),
        "encoder_cached": trial.pretrained.get("cached"),
        "folds": len(trial.folds),
        "reason": trial.finished.get("reason"),
    }


def _judged(settings: Sequence[Scored], animals: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Score columns of each setting that has a complete run, by number."""
    seeds, winner = seed_spread(settings), choose(settings)
    if winner is None:
        return {}
    beside = beside_winner(winner, settings, seeds)
    reference = next((one for one in settings if one.number == 0), None)
    judged = {}
    for one in settings:
        score, reports = interval(one, seeds, one.chooses), one.reports
        judged[one.number] = {
            "beside_winner": beside[one.number],
            **_cut_off(score),
            "macro_f1_fresh": one.mean(reports) if reports.any() else np.nan,
            **{f"macro_f1[{animal}]": value for animal, value in zip(animals, one.by_animal(), strict=True)},
        }
        if reference is not None and reference is not one:
            against = paired_difference(one, reference, seeds)
            named = ("macro_f1_minus_trial_0", "macro_f1_minus_trial_0_low", "macro_f1_minus_trial_0_high")
            judged[one.number] |= dict(zip(named, against[:3], strict=True))
    return judged


def _unjudged(trial: TrialRecord) -> dict[str, Any]:
    """Score columns of a setting that was stopped or has failed; no interval: it is not in the comparison."""
    score = trial.finished.get("macro_f1")
    return {
        "macro_f1": np.nan if score is None else score,
        **{f"macro_f1[{animal}]": value for animal, value in _of_animal(trial).items()},
    }


def _animal(fold: Event) -> str:
    return "+".join(fold["validation"])


def _of_animal(trial: TrialRecord) -> dict[str, float]:
    """Macro-F1 of each validation animal, mean over its folds."""
    scores = defaultdict(list)
    for fold in trial.folds.values():
        scores[_animal(fold)].append(fold["result"]["macro_f1"])
    return {animal: float(np.mean(values)) for animal, values in scores.items()}


def _cut_off(score: Interval) -> dict[str, float]:
    low, high = np.clip(score[1:], 0, 1)
    return {"macro_f1": score.mean, "macro_f1_low": low, "macro_f1_high": high}


def _varied(events: Iterable[Event], trials: Iterable[TrialRecord]) -> list[str]:
    """Names of settings that vary, in the order of the study file; then those that only an earlier start varied."""
    names: dict[str, None] = {}
    for event in events:
        if event["event"] == "study_started":
            names |= dict.fromkeys(event["search"])
    for trial in trials:
        names |= dict.fromkeys(trial.settings)
    return list(names)
