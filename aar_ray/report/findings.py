"""What a study says, in sentences: what won and by how much, whether to believe it, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from aar_ray.report.importance import Importance
from aar_ray.report.names import value_text
from aar_ray.report.record import StudyRecord
from aar_ray.search.evidence import (
    Difference,
    Interval,
    Scored,
    paired_difference,
    resolvable_difference,
    smallest_sign_p,
)

NEAR_END = 0.03
"""Share of a range that counts as its end."""


@dataclass(frozen=True)
class Note:
    """A sentence with its weight: good news, a warning, or neither."""

    text: str
    kind: Literal["good", "warn", "plain"] = "plain"


@dataclass(frozen=True)
class Comparison:
    """The winner against another model, animal by animal."""

    other: str
    difference: Difference

    @property
    def text(self) -> str:
        """As `+0.05 (-0.02 to 0.12), 4 animals`."""
        mean, low, high, animals, _ = self.difference
        if not animals:
            return "no animal in common"
        interval = "" if np.isnan(low) else f" ({low:+.3f} to {high:+.3f})"
        return f"{mean:+.3f}{interval}, paired over {animals} animals"

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return bool(self.difference.low > 0 or self.difference.high < 0)


def name_of(record: StudyRecord, number: int) -> str:
    """A setting as the report calls it: its arm, or its first trial."""
    arm = record.trials[number].arm
    return f"trial {number}" if arm is None else f"arm {arm}"


def interval_text(interval: Interval) -> str:
    """As `0.612 (95 %: 0.580 to 0.644)`; ends that are not known are left out."""
    mean, low, high = interval
    return f"{mean:.3f}" if np.isnan(low) else f"{mean:.3f} (95 %: {max(low, 0):.3f} to {min(high, 1):.3f})"


def reported(record: StudyRecord) -> Scored:
    """The winner with the runs that had no part in choosing it, or with all where none is left."""
    assert record.winner is not None
    winner = record.setting(record.winner.number)
    runs = winner.reports if record.winner.runs else winner.chooses
    return Scored(winner.number, winner.scores[runs], np.zeros(int(runs.sum()), dtype=bool))


def comparisons(record: StudyRecord) -> list[Comparison]:
    """The winner against trial 0 and each baseline, from the runs that report it."""
    if record.winner is None:
        return []
    winner = reported(record)
    others = {
        f"{name_of(record, one.number)} (reference)": one for one in record.scored if one.number == 0 != winner.number
    }
    others |= {name: one for name in record.baseline_events if (one := record.baseline_scored(name)) is not None}
    return [Comparison(name, paired_difference(winner, other, record.seeds)) for name, other in others.items()]


def verdict(record: StudyRecord) -> list[Note]:
    """What won, and by how much."""
    winner = record.winner
    if winner is None:
        return [Note("No trial is complete: nothing has won yet.", "warn")]
    name, settings = name_of(record, winner.number), record.trials[winner.number].settings
    chosen = ", ".join(f"{key} {value_text(value)}" for key, value in settings.items())
    notes = [
        Note(f"{name.capitalize()} won of {winner.candidates} complete settings{': ' + chosen if chosen else ''}.")
    ]
    arms = bool(record.started.get("arms"))
    if winner.runs:
        fresh = f"{winner.runs} {'run' if winner.runs == 1 else 'runs'}" + (
            "" if arms else " that had no part in choosing it"
        )
        notes.append(
            Note(f"Its macro-F1 on these {len(record.animals)} animals is {interval_text(winner.score)}, over {fresh}.")
        )
        notes.append(Note(f"On other animals of the kind it is expected at {interval_text(winner.elsewhere)}."))
    else:
        score = f"Its macro-F1 of {winner.chosen_by:.3f} is the best of {winner.candidates} single scores"
        notes.append(Note(f"{score}, so it is overstated; no run on a fresh seed says by how much.", "warn"))
    if not arms and winner.runs and winner.chosen_by > winner.score.mean:
        off = winner.chosen_by - winner.score.mean
        notes.append(
            Note(f"The score that chose it, {winner.chosen_by:.3f}, was {off:.3f} higher: the best of many is lucky.")
        )
    if record.unsealed is not None:
        scores = ", ".join(f"{score['name']} {score['macro_f1']:.3f}" for score in record.unsealed["scores"])
        notes.append(Note(f"On the sealed test animals ({', '.join(record.unsealed['animals'])}): {scores}."))
    for comparison in comparisons(record):
        kind: Literal["good", "warn", "plain"] = "plain"
        if comparison.clear:
            kind = "good" if comparison.difference.mean > 0 else "warn"
        unclear = "" if comparison.clear else "; the interval holds 0, so neither is shown to be better"
        notes.append(Note(f"Against {comparison.other}: {comparison.text}{unclear}.", kind))
    return notes


def believe(record: StudyRecord) -> list[Note]:
    """How far the numbers carry."""
    notes = []
    if record.simulated:
        notes.append(Note("The animals are SIMULATED: no number here is evidence about real ones.", "warn"))
    notes += _resolution(record)
    if record.seeds is not None:
        deviation = np.sqrt(record.seeds.variance)
        freedom = f"{record.seeds.freedom:g} degrees of freedom"
        notes.append(Note(f"From seed to seed a score moves by {deviation:.3f} (standard deviation, {freedom})."))
    elif record.scored:
        text = "No setting ran on two fresh seeds: intervals are over animals alone, and another seed moves scores too."
        notes.append(Note(text, "warn"))
    if record.scored:
        beside = int(record.ranking["beside_winner"].fillna(False).sum())
        text = f"{beside} of {len(record.scored)} settings cannot be told from the winner, the winner included"
        notes.append(Note(f"{text} (paired t-tests over animals, level .05 shared by all)."))
        notes.append(
            Note(
                "Each fold keeps the epoch that is best on its validation animal, so scores of networks are a little "
                "flattered, those of the random forest are not."
            )
        )
    notes += [Note(f"{text}.", "warn") for text in record.started.get("warnings", ())]
    failed = [number for number, trial in record.trials.items() if trial.state == "failed"]
    if failed:
        reasons = {str(record.trials[number].finished.get("reason")) for number in failed}
        notes.append(Note(f"{len(failed)} trials failed: {'; '.join(sorted(reasons))}.", "warn"))
    return notes


def _resolution(record: StudyRecord) -> Iterator[Note]:
    """What so many animals can show at all."""
    count = len(record.animals)
    if not count or record.winner is None:
        return
    p = smallest_sign_p(count)
    text = f"With {count} animals the smallest two-sided p of a paired sign test is {p:.4g}"
    yield Note(f"{text}{': no difference can reach .05 by it' if p > 0.05 else ''}.", "warn" if p > 0.05 else "plain")
    winner = record.setting(record.winner.number)
    differences = [winner.by_animal() - one.by_animal() for one in record.scored if one is not winner]
    deviations = [float(np.nanstd(one, ddof=1)) for one in differences if np.isfinite(one).sum() > 1]
    if deviations:
        deviation = float(np.median(deviations))
        single, shared = (resolvable_difference(deviation, count, number) for number in (1, len(deviations)))
        yield Note(
            f"Two settings usually differ by {deviation:.3f} from animal to animal (standard deviation), so {count} "
            f"animals show a true difference of {single:.3f} in four of five studies; among {len(deviations) + 1} "
            f"settings it takes {shared:.3f}."
        )


def next_steps(record: StudyRecord, found: list[Importance]) -> list[Note]:
    """What would tell most, from what is there."""
    steps = []
    winner = record.winner
    if record.finished is None and record.events:
        steps.append("Run the same command again: the study goes on where it stopped.")
    if winner is None:
        return [Note(step) for step in steps]
    if not winner.runs:
        steps.append("Confirm the best few on fresh seeds (confirm: {best: 3, seeds: 4}) before the winner is named.")
    elif record.seeds is None or record.seeds.freedom < 6:
        steps.append("Confirm on four seeds (confirm.seeds: 4): two say little of how a score moves from seed to seed.")
    if record.finished and record.file.get("protocol", {}).get("sealed") and record.unsealed is None:
        steps.append("When nothing is to be changed any more: --unseal scores the test animals, once.")
    if len(record.animals) < 6:
        steps.append("Label more animals rather than run more trials: animals, not settings, limit what can be told.")
    for name, end in _at_an_end(record):
        steps.append(f"Widen {name}: the winner stands at the {end} end of its range.")
    without = [one.name for one in found if not one.shown]
    if without:
        steps.append(f"Fix what showed no effect, and search the rest: {', '.join(without)}.")
    compared = comparisons(record)
    if any(one.other.startswith("random forest") and one.difference.low < 0 for one in compared):
        steps.append("The network is not shown to beat a random forest on simple features: start there.")
    for comparison in compared:
        if comparison.other.startswith("scratch, winner") and comparison.difference.low < 0:
            steps.append(
                "Pre-training is not shown to help: compare arms, pre-trained and scratch, over several seeds."
            )
    if record.finished:
        steps.append(
            f"To label other recordings by the winner: python -m aar_ray.label {record.folder} RECORDINGS, where "
            "RECORDINGS is a YAML file with one source, written as under data."
        )
    return [Note(step) for step in steps]


def _at_an_end(record: StudyRecord) -> Iterator[tuple[str, str]]:
    """Settings of the winner that stand at an end of their range."""
    assert record.winner is not None
    settings = record.trials[record.winner.number].settings
    for name, distribution in record.started.get("search", {}).items():
        place = _place(distribution, settings.get(name))
        if place is not None and (place <= NEAR_END or place >= 1 - NEAR_END):
            yield name, "lower" if place <= NEAR_END else "upper"


def _place(distribution: Mapping[str, Any], value: Any) -> float | None:
    """Where in its range a number stands, from 0 to 1; None for a choice."""
    for kind in ("uniform", "log_uniform", "integer"):
        if kind in distribution and isinstance(value, int | float):
            low, high = distribution[kind]
            if kind == "log_uniform":
                low, high, value = np.log(low), np.log(high), np.log(value)
            return float((value - low) / (high - low)) if high > low else None
    return None
