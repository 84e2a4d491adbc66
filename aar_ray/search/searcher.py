"""Ray Tune's searcher and callback of a study: both speak to the journal, and keep nothing of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune import Callback
from ray.tune.search import Searcher

from aar_ray.config import Study, dotted
from aar_ray.search.journal import Event, known_trials
from aar_ray.search.proposals import Known, Proposer

Emit = Callable[..., Event]


class JournalSearcher(Searcher):
    """Begins again what an earlier run left unfinished, then proposes trials until the budget is spent.

    A proposal sees the results of the trials that are at least `trial_slots` older, and waits for them; of the others
    it only knows their settings. So the proposals do not depend on which trial happens to end first.
    """

    def __init__(self, study: Study, events: Sequence[Event], emit: Emit, deadline: float | None) -> None:
        super().__init__()
        self._study, self._emit, self._deadline = study, emit, deadline
        self._events = events
        self._proposer = Proposer(study)
        self._fixed = dotted(study.reference())
        self._again = [number for number, trial in enumerate(known_trials(events)) if trial.state == "running"]
        self.stopped_by: str | None = None
        """Why no more trials are proposed; None while they are."""

    def suggest(self, trial_id: str) -> dict[str, Any] | Any:
        """Settings of the next trial; None while results are waited for; FINISHED at the end."""
        known = known_trials(self._events)
        if self._again:
            number = self._again.pop(0)
            return self._config(number, known[number].settings)
        if self.stopped_by is None:
            self.stopped_by = self._end_of_budget(len(known))
        if self.stopped_by is not None:
            return Searcher.FINISHED
        visible = self._visible(known)
        if visible is None:
            return None
        proposal = self._proposer.propose(visible)
        if proposal is None:
            self.stopped_by = "every setting of the space has been tried"
            return Searcher.FINISHED
        self._emit("trial_started", trial=len(known), settings=proposal.settings, origin=proposal.origin)
        return self._config(len(known), proposal.settings)

    def _end_of_budget(self, begun: int) -> str | None:
        if begun >= self._study.budget.trials:
            return f"budget of {self._study.budget.trials} trials"
        if self._deadline is not None and time.monotonic() > self._deadline:
            return f"budget of {self._study.budget.hours:g} hours"
        return None

    def _visible(self, known: Sequence[Known]) -> list[Known] | None:
        old_enough = max(0, len(known) + 1 - self._study.resources.trial_slots)
        if any(trial.state == "running" for trial in known[:old_enough]):
            return None
        return [*known[:old_enough], *(Known(trial.settings, "running") for trial in known[old_enough:])]

    def _config(self, number: int, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"trial": number, "settings": {**self._fixed, **settings}}

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
        self._seen = {_identity(event) for event in events}
        self._served: set[int] = set()

    def on_trial_result(self, *, result: dict[str, Any], **_: Any) -> None:  # type: ignore[override]
        event = dict(result["journal"])
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
