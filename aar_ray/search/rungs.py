"""Trials that are run in parts: begun on a few folds, paused, and promoted to more while they promise more.

A part is an action: what a free slot is given to do. Actions stand in the journal in their order, and a decision knows
the results of those only that are `trial_slots` older, so that it does not depend on which one happens to end first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aar_ray.search.proposals import Known
from aar_ray.search.stage_aware import Seen


@dataclass(frozen=True)
class Action:
    """A trial that is begun, or goes on, until it has so many of the study's folds; None: all of them.

    With 0 folds its encoder gets its first epochs, and is judged by its linear probe.
    """

    trial: int
    folds: int | None


@dataclass(frozen=True)
class History:
    """What a decision goes by."""

    trials: Sequence[Known]
    """Every trial so far, by number."""
    actions: Sequence[Action] = ()
    """In their order."""
    price: float = 1.0
    """Of a pre-train, in folds of fine-tuning; see `price`."""

    def searched(self) -> list[int]:
        """Numbers of the trials that are a setting's first."""
        return [number for number, trial in enumerate(self.trials) if trial.repeat_of is None]


def hidden(history: History, slots: int) -> list[Action] | None:
    """The latest actions, whose results a decision must not know; None while an older one runs."""
    actions = [action for action in history.actions if history.trials[action.trial].repeat_of is None]
    old = max(0, len(actions) + 1 - slots)
    latest = {action.trial: index for index, action in enumerate(actions)}
    for index, action in enumerate(actions[:old]):
        if latest[action.trial] == index and history.trials[action.trial].state == "running":
            return None
    return actions[old:]


def seen(history: History, unknown: Sequence[Action], folds: int) -> list[Seen]:
    """The searched trials as a decision may know them.

    Args:
        history: everything.
        unknown: actions whose results it must not know.
        folds: of the study.
    """
    pending = {action.trial for action in unknown}
    reached: dict[int, int] = {}
    for action in history.actions:
        if action not in unknown:
            reached[action.trial] = folds if action.folds is None else action.folds
    found = []
    for number in history.searched():
        trial = history.trials[number]
        known = reached.get(number, 0 if number in pending else folds)
        scores = {fold: score for fold, score in trial.scores.items() if fold < known}
        if number in pending:
            found.append(Seen(trial.settings, scores, "running", trial.probe if number in reached else None))
        else:
            state = "open" if trial.state == "stopped" else trial.state
            found.append(Seen(trial.settings, scores, state, trial.probe))
    return found
