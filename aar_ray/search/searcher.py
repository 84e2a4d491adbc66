"""Ray Tune's searcher and callback of a study: both speak to the journal, and keep nothing of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune import Callback
from ray.tune.search import Searcher

from aar_ray.config import Study, dotted
from aar_ray.search.agenda import Agenda, End, Wait
from aar_ray.search.journal import Event, known_trials
from aar_ray.search.space import hashable
from aar_ray.seeds import repeat_seed

Emit = Callable[..., Event]


class JournalSearcher(Searcher):
    """Begins again what an earlier run left unfinished, then follows the agenda to its end."""

    def __init__(self, study: Study, events: Sequence[Event], emit: Emit, deadline: float | None) -> None:
        super().__init__()
        self._study, self._emit, self._deadline = study, emit, deadline
        self._events = events
        self._agenda = Agenda(study)
        self._fixed = dotted(study.reference())
        self._again = [number for number, trial in enumerate(known_trials(events)) if trial.state == "running"]
        self.stopped_by: str | None = None
        """Why no more trials begin; None while they do."""
        self.halted = False
        """Whether the study cannot go on."""

    def halt(self, reason: str) -> None:
        """Begin no trial any more; those that run come to their end."""
        self.halted, self.stopped_by = True, reason

    def suggest(self, trial_id: str) -> dict[str, Any] | Any:
        """Settings of the next trial; None while results are waited for; FINISHED at the end."""
        if self.halted:
            return Searcher.FINISHED
        if self._again:
            return self._config(self._again.pop(0))
        known = known_trials(self._events)
        time_is_up = self._deadline is not None and time.monotonic() > self._deadline
        proposal = self._agenda.next(known, time_is_up=time_is_up)
        if isinstance(proposal, Wait):
            return None
        if isinstance(proposal, End):
            self.stopped_by = proposal.reason
            return Searcher.FINISHED
        self._emit(
            "trial_started",
            trial=len(known),
            settings=proposal.settings,
            origin=proposal.origin,
            seed=repeat_seed(self._study.seed, proposal.repeat),
            repeat_of=proposal.repeat_of,
            arm=proposal.arm,
        )
        return self._config(len(known))

    def _config(self, number: int) -> dict[str, Any]:
        """What the trial is told: as the journal has it, so that it is the same when it begins again."""
        started = next(
            event for event in self._events if event["event"] == "trial_started" and event["trial"] == number
        )
        settings = {name: hashable(value) for name, value in started["settings"].items()}
        return {
            "trial": number,
            "settings": {**self._fixed, **settings},
            "seed": started.get("seed", self._study.seed),
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the journal knows."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its own set-up, which is never read back
        return {}


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
                # it may end once more
                self._seen.discard(("trial_finished", event["trial"], None, None))
        self._served: set[int] = set()

    def on_trial_result(self, *, result: dict[str, Any], **_: Any) -> None:  # type: ignore[override]
        event = dict(result["journal"])
        if event["event"] == "trial_given_up":
            self._searcher.halt(event["reason"])
            return
        if event["event"] in ("pretrained", "trial_finished"):
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
    return (event["event"], event.get("trial"), event.get("epoch"), event.get("fold"))
