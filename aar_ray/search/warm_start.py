"""What earlier studies know: their complete trials, as far as they are points of the present space.

They are copied into the journal when a study first starts, so an earlier study that changes or goes away changes
nothing in one that has begun.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aar_ray.config import Study, dotted
from aar_ray.search.journal import Event, known_trials, read_events
from aar_ray.search.proposals import Known
from aar_ray.search.space import Space, hashable
from aar_ray.study_file.settings import DEFAULTS
from aar_ray.study_file.wording import did_you_mean


def find_earlier(study: Study, results: Path, events: Sequence[Event]) -> dict[str, Path]:
    """Journals of the studies that are to be told, by the names that the study file gives them.

    Args:
        study: says in `warm_start` which.
        results: folder of all studies' results, where a name is looked for.
        events: of the present study; an earlier study that they hold is not looked for again.

    Raises:
        ValueError: there is no such study.
    """
    told = {event["study"] for event in events if event["event"] == "warm_started"}
    found = {}
    for name in study.warm_start:
        if name in told:
            continue
        folders = [results / name, Path(name)]
        journal = next((folder / "journal.jsonl" for folder in folders if (folder / "journal.jsonl").is_file()), None)
        if journal is None:
            there = [path.parent.name for path in results.glob("*/journal.jsonl")]
            raise ValueError(
                f"warm_start: must name an earlier study under {results} or the folder of its results, got {name}"
                f"{did_you_mean(name, there)}"
            )
        found[name] = journal
    return found


def warm_started(study: Study, name: str, journal: Path, labelled: str) -> dict[str, Any]:
    """Fields of the event that tells an earlier study's trials.

    Args:
        study: the present one.
        name: of the earlier one, as the present study file gives it.
        journal: of the earlier one.
        labelled: key of the present labelled windows.

    Returns:
        `study`; `told`, each with its settings, macro_f1 (mean over its seeds) and seconds; `left_out`, reasons with
        the number of trials; `other_data`, whether other labelled windows were scored.
    """
    events = list(read_events(journal))
    started = next((event for event in reversed(events) if event["event"] == "study_started"), {})
    space, here = Space(study), dotted(study.reference())
    told, left_out = [], Counter[str]()
    for trial in _complete(events, left_out):
        there = {**DEFAULTS, **started.get("settings", {}), **trial.settings}
        reason = _misfit(space, study, {key: hashable(value) for key, value in there.items()}, here)
        if reason is None:
            settings = {setting: there[setting] for setting in study.search}
            told.append({"settings": settings, "macro_f1": trial.macro_f1, "seconds": trial.seconds})
        else:
            left_out[reason] += 1
    other = started.get("labelled", {}).get("key") != labelled
    return {"study": name, "told": told, "left_out": dict(left_out), "other_data": other}


def told_trials(events: Sequence[Event]) -> list[Known]:
    """The earlier studies' trials that a study's journal holds."""
    return [
        Known(
            {name: hashable(value) for name, value in trial["settings"].items()},
            "complete",
            trial["macro_f1"],
            seconds=trial["seconds"],
        )
        for event in events
        if event["event"] == "warm_started"
        for trial in event["told"]
    ]


def _complete(events: Sequence[Event], left_out: Counter[str]) -> Iterator[Known]:
    """Each setting that has complete runs, with the mean of their scores."""
    known = known_trials(events)
    for number, first in enumerate(known):
        if first.repeat_of is not None:
            continue
        runs = [first, *(trial for trial in known if trial.repeat_of == number)]
        scores = [run.macro_f1 for run in runs if run.state == "complete" and run.macro_f1 is not None]
        if first.state == "complete" and scores:
            yield Known(first.settings, "complete", math.fsum(scores) / len(scores), seconds=first.seconds)
        else:
            left_out["not complete"] += 1


def _misfit(space: Space, study: Study, there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """Why the present study could not propose an earlier trial's settings, or None."""
    unknown = [name for name in there if name not in here]
    if unknown:
        return f"{unknown[0]} is no setting any more"
    for name, value in here.items():
        if name not in study.search and there[name] != hashable(value):
            return f"{name} is not {value!r} there, and not searched here"
    outside = space.outside(there)
    return None if outside is None else f"{outside} lies outside what is searched here"
