"""Ray Tune's searcher and callback of a study: both speak to the journal; what follows rests on nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ray.tune import Callback
from ray.tune.search import Searcher

from aar_ray.config import Study, dotted
from aar_ray.search.agenda import Agenda, End, Promotion, Wait
from aar_ray.search.journal import Event, history, known_trials, number_of_folds
from aar_ray.search.price import measured_price
from aar_ray.search.rungs import History
from aar_ray.search.space import hashable
from aar_ray.search.warm_start import told_trials
from aar_ray.seeds import repeat_seed

Emit = Callable[..., Event]


class JournalSearcher(Searcher):
    """Begins again what an earlier run left unfinished, then follows the agenda to its end."""

    def __init__(self, study: Study, events: Sequence[Event], emit: Emit, deadline: float | None) -> None:
        super().__init__()
        self._study, self._emit, self._deadline = study, emit, deadline
        self._events = events
        self._agenda = Agenda(study, number_of_folds(events), told_trials(events))
        self._again = [number for number, trial in enumerate(known_trials(events)) if trial.state == "running"]
        self.stopped_by: str | None = None
        """Why no more trials begin; None while they do."""
        self.halted = False
        """Whether the study cannot go on."""

        self._closed = False
        self._held: set[str] = set()
        """Tune's names of the trials whose processes are at work."""

    def halt(self, reason: str) -> None:
        """Begin no trial any more, also none that an earlier run left; those that run come to their end."""
        self.halted, self.stopped_by = True, reason

    def close(self, reason: str) -> None:
        """Propose no trial any more: the budget is spent."""
        self._closed = True
        self.stopped_by = self.stopped_by or reason

    def suggest(self, trial_id: str) -> dict[str, Any] | Any:
        """Settings of the next trial; None while results are waited for; FINISHED at the end."""
        if self.halted:
            return Searcher.FINISHED
        full = len(self._held) >= self._study.resources.trial_slots
        if self._again:
            return None if full else self._begun(trial_id, self._again.pop(0))
        past = self._priced(history(self._events))
        if self._closed:
            self._leave_open_trials(past)
            return Searcher.FINISHED
        time_is_up = self._deadline is not None and time.monotonic() > self._deadline
        following = self._agenda.next(past, time_is_up=time_is_up)
        if isinstance(following, Wait):
            return None
        if isinstance(following, End):
            self._leave_open_trials(past)
            self.stopped_by = following.reason
            return Searcher.FINISHED
        if full:
            # one has ended, and Tune has not taken its process back yet: a trial that begins now would have it ask Ray
            # for a process, leave that while it starts, and Ray 2.60 then keeps the trial slot for ever at times
            return None
        if isinstance(following, Promotion):
            self._emit("trial_promoted", trial=following.trial, folds=following.folds)
            return self._begun(trial_id, following.trial)
        number = len(past.trials)
        self._emit(
            "trial_started",
            trial=number,
            settings=following.settings,
            origin=following.origin,
            seed=repeat_seed(self._study.seed, following.repeat),
            repeat_of=following.repeat_of,
            arm=following.arm,
            folds=following.folds,
        )
        return self._begun(trial_id, number)

    def _begun(self, trial_id: str, number: int) -> dict[str, Any]:
        self._held.add(trial_id)
        return trial_config(self._study, self._events, number)

    def _priced(self, past: History) -> History:
        """The same, with the price of an encoder measured, where the sampler asks for one and now is the time.

        That is when a decision may know trial 0's results, and no earlier, so that it does not depend on when they
        came.
        """
        if self._agenda.spending is None or len(past.actions) < self._study.resources.trial_slots:
            return past
        if past.trials[0].state == "running" or any(event["event"] == "priced" for event in self._events):
            return past
        return replace(past, price=self._emit("priced", **measured_price(self._events))["price"])

    def _leave_open_trials(self, past: History) -> None:
        """What is paused at the end is told as stopped, with how far it came."""
        for number, trial in enumerate(past.trials):
            if trial.state == "open":
                came = f"{len(trial.scores)} folds" if trial.scores else "the first epochs of its encoder"
                reason = f"promised less than the best one after {came}"
                self._emit("trial_finished", trial=number, state="stopped", macro_f1=None, reason=reason)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Its process is free for another; how it ended the journal knows."""
        self._held.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its own set-up, which is never read back
        return {}


def trial_config(study: Study, events: Sequence[Event], number: int) -> dict[str, Any]:
    """What a trial is told: as the journal has it, so that it is the same when it begins again."""
    told = [event for event in events if event.get("trial") == number]
    started = next(event for event in told if event["event"] == "trial_started")
    settings = {name: hashable(value) for name, value in started["settings"].items()}
    rungs = [event.get("folds") for event in told if event["event"] in ("trial_started", "trial_promoted")]
    return {
        "trial": number,
        "settings": {**dotted(study.reference()), **settings},
        "seed": started.get("seed", study.seed),
        "rungs": rungs,
        "first_epochs": study.sampler.first_epochs if rungs[-1] == 0 else None,
    }


class Recorder(Callback):
    """Writes what trials report into the journal, once, and says when no more encoders will be asked for."""

    def __init__(
        self, searcher: JournalSearcher, events: Sequence[Event], emit: Emit, drain: Callable[[], None]
    ) -> None:
        self._searcher, self._emit, self._drain = searcher, emit, drain
        self._events = events
        self._seen: set[tuple[Any, ...]] = set()
        for event in events:
            self._seen.add(_identity(event))
            if event["event"] == "trial_retried":
                # it may fail once more
                self._seen.discard(("trial_finished", event["trial"], None, None, "failed"))
        self._served: set[int] = set()

    def on_trial_result(self, *, result: dict[str, Any], **_: Any) -> None:  # type: ignore[override]
        event = dict(result["journal"])
        if event["event"] == "trial_given_up":
            self._searcher.halt(event["reason"])
            return
        if event["event"] in ("pretrained", "trial_paused", "trial_finished"):
            self._served.add(event["trial"])
        # a trial that Tune starts again after its process died reports once more what it reported before
        if _identity(event) not in self._seen:
            self._seen.add(_identity(event))
            self._emit(event.pop("event"), **event)
            self._drain_when_served()

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        number = trial.config["trial"]
        if known_trials(self._events)[number].state == "running":
            self._emit(
                "trial_finished",
                trial=number,
                state="failed",
                macro_f1=None,
                reason="the trial's process died repeatedly",
            )
            self._drain_when_served()

    def _drain_when_served(self) -> None:
        if self._searcher.stopped_by is None:
            return
        # an encoder that an earlier run had may be gone from the store: a trial is served when it says so now
        if all(trial.state != "running" or n in self._served for n, trial in enumerate(known_trials(self._events))):
            self._drain()

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _identity(event: Event) -> tuple[Any, ...]:
    # a trial pauses once on each rung, and may go on after it was stopped
    end = event.get("folds") if event["event"] == "trial_paused" else event.get("state")
    return (event["event"], event.get("trial"), event.get("epoch"), event.get("fold"), end)
