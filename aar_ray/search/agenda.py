"""What a study runs next: the sampler's proposals and then the best few again, or its arms one seed after another.

A pure function of the study and of the trials known so far, as `proposals` is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aar_ray.config import Study, dotted
from aar_ray.search.evidence import choosing
from aar_ray.search.proposals import Known, Proposal, Proposer
from aar_ray.search.rungs import History, hidden, seen
from aar_ray.search.space import hashable
from aar_ray.search.stage_aware import Promote, StageAware, Start
from aar_ray.search.worth import not_worth_it


@dataclass(frozen=True)
class Wait:
    """A trial that runs has to end before the next one is known."""


@dataclass(frozen=True)
class End:
    """No trial is to come."""

    reason: str


@dataclass(frozen=True)
class Promotion:
    """A paused trial goes on until it has so many folds."""

    trial: int
    folds: int


class Agenda:
    """The trials of a study, one after another."""

    def __init__(self, study: Study, folds: int, earlier: Sequence[Known] = ()) -> None:
        """`folds` is their number in the study, `earlier` are trials of other studies, which a sampler is told."""
        self.study, self.folds = study, folds
        self.proposer = Proposer(study, earlier) if study.search else None
        sampler = study.sampler
        self.spending: StageAware | None = None
        if self.proposer is not None and sampler.name == "stage_aware":
            self.spending = StageAware(
                self.proposer.space,
                folds=folds,
                first_folds=sampler.first_folds,
                startup_trials=sampler.startup_trials,
                trials_per_encoder=sampler.trials_per_encoder,
                seed=study.seed,
                first_epochs=sampler.first_epochs,
            )

    def next(self, history: History, *, time_is_up: bool = False) -> Proposal | Promotion | Wait | End:
        """What follows.

        Args:
            history: all that was begun so far.
            time_is_up: whether the budget's hours are over: nothing is begun any more.
        """
        if time_is_up:
            return End(f"budget of {self.study.budget.hours:g} hours")
        if self.proposer is None:
            return self._next_arm(history.trials)
        searched = [history.trials[number] for number in history.searched()]
        if self.spending is not None and len(searched) > len(self.proposer.enqueued):
            found = self._spend(self.spending, history)
        else:
            found = self._next_of_search(self.proposer, searched)
        if not isinstance(found, End) or not self.study.confirm.best:
            return found
        if any(trial.state == "running" for trial in searched):
            return Wait()
        return self._next_confirmation(history.trials) or found

    def _spend(self, spending: StageAware, history: History) -> Proposal | Promotion | Wait | End:
        """A new setting, or more folds for one that promises most."""
        numbers = history.searched()
        may_start = len(numbers) < (self.study.budget.trials or math.inf)
        unknown = hidden(history, self.study.resources.trial_slots)
        if unknown is None:
            return Wait()
        waited_for = {action.trial for action in unknown}
        reason = not_worth_it(self.study, [history.trials[number] for number in numbers if number not in waited_for])
        may_start = may_start and reason is None
        action = spending.next(seen(history, unknown, self.folds), history.price, may_start=may_start)
        if action is None and unknown:
            # nothing by what is known: by all results, once they are there
            if any(history.trials[number].state == "running" for number in numbers):
                return Wait()
            action = spending.next(seen(history, [], self.folds), history.price, may_start=may_start)
        if isinstance(action, Start):
            return Proposal(action.settings, "sampled", folds=action.folds)
        if isinstance(action, Promote):
            return Promotion(numbers[action.trial], action.folds)
        if reason is not None:
            return End(reason)
        if may_start:
            return End("every setting of the space has been tried")
        return End(f"budget of {self.study.budget.trials} trials")

    def _next_arm(self, known: Sequence[Known]) -> Proposal | End:
        """Arms by turns, so that an interrupted comparison has every arm as often as the others."""
        arms = list(self.study.arms)
        if len(known) >= len(arms) * self.study.seeds:
            return End(f"{len(arms)} arms with {self.study.seeds} seeds each")
        repeat, number = divmod(len(known), len(arms))
        values = dotted(self.study.arm(arms[number]))
        settings = {name: hashable(values[name]) for name in self.study.varied}
        if repeat == 0:
            return Proposal(settings, "arm", arm=arms[number])
        return Proposal(settings, "repeat", repeat, repeat_of=number, arm=arms[number])

    def _next_of_search(self, proposer: Proposer, searched: Sequence[Known]) -> Proposal | Wait | End:
        if len(searched) >= (self.study.budget.trials or math.inf):
            return End(f"budget of {self.study.budget.trials} trials")
        visible = self._visible(searched)
        if visible is None:
            return Wait()
        if reason := not_worth_it(self.study, visible):
            return End(reason)
        return proposer.propose(visible) or End("every setting of the space has been tried")

    def _visible(self, searched: Sequence[Known]) -> list[Known] | None:
        """What a proposal may know: results of trials that are at least `trial_slots` older, settings of the others.

        So the proposals do not depend on which trial happens to end first. None while one of the older ones runs.
        """
        old_enough = max(0, len(searched) + 1 - self.study.resources.trial_slots)
        if any(trial.state == "running" for trial in searched[:old_enough]):
            return None
        return [*searched[:old_enough], *(Known(trial.settings, "running") for trial in searched[old_enough:])]

    def _next_confirmation(self, known: Sequence[Known]) -> Proposal | None:
        """The best few settings on fresh seeds, the best first."""
        complete = [n for n, trial in enumerate(known) if trial.state == "complete" and trial.repeat_of is None]
        best = sorted(complete, key=lambda n: (-(known[n].macro_f1 or 0.0), n))[: self.study.confirm.best]
        for repeat in range(1, self.study.confirm.seeds + 1):
            for number in best:
                if sum(trial.repeat_of == number for trial in known) < repeat:
                    return Proposal(dict(known[number].settings), "confirmation", repeat, repeat_of=number)
        return None


def runs_of(known: Sequence[Known], number: int) -> list[int]:
    """Numbers of the complete trials of the settings that trial `number` was the first to have."""
    return [n for n, trial in enumerate(known) if trial.state == "complete" and number in (trial.repeat_of, n)]


def winner(known: Sequence[Known]) -> int | None:
    """Number of the first trial of the best settings by mean macro-F1 over seeds; None where no trial is complete.

    Where some settings were confirmed, one of them is named: the single score of any other is over-stated. The later
    half of the fresh seeds has no say, so that it can report the winner without flattering it.
    """
    complete = [n for n, trial in enumerate(known) if trial.state == "complete" and trial.repeat_of is None]
    confirmed = [n for n in complete if len(runs_of(known, n)) > 1]

    def score(number: int) -> float:
        first, *fresh = runs_of(known, number)
        runs = [first, *fresh[: choosing(len(fresh))]]
        return math.fsum(known[n].macro_f1 or 0.0 for n in runs) / len(runs)

    return max(confirmed or complete, key=lambda n: (score(n), -n), default=None)
