"""When failures are no longer those of single trials: equal ones in a row stop a study."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import ray

if TYPE_CHECKING:
    from aar_ray.search.journal import Event

IN_A_ROW = 3
"""Equal failures, without a trial between them that ended well, after which a study stops."""


class GivenUp(Exception):
    """The study cannot go on for a reason outside its trials; these stay unfinished, and the next start ends them."""


class Failures:
    """Watches the ends of trials, as they are written into the journal."""

    def __init__(self) -> None:
        self._row: dict[Any, Event] = {}
        self._reason = ""

    def observe(self, event: Event) -> str | None:
        """Take in an event; returns why the study must stop, once it must.

        Trials that fail by the same encoder are one failure: they share its settings. Two reasons are equal when they
        differ in nothing but numbers.
        """
        if event["event"] != "trial_finished":
            return None
        if event["state"] != "failed":
            self._row.clear()
            return None
        reason = re.sub(r"\d+(\.\d+)?(e-?\d+)?", "#", event["reason"])
        if reason != self._reason:
            self._row.clear()
        self._reason = reason
        self._row.setdefault(event.get("encoder") or event["trial"], event)
        if len(self._row) < IN_A_ROW:
            return None
        trials = ", ".join(str(each["trial"]) for each in self._row.values())
        return f"trials {trials} failed alike, one after another: {event['reason']}"


def reason_of(error: Exception) -> str:
    """One line: what a task raised, without Ray's traceback of where it ran."""
    cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) and error.cause else error
    first = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {first[0] if first else 'no message'}"
