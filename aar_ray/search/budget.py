"""What a study has spent of its budget, over all its starts: a function of its journal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from aar_ray.config import Budget
from aar_ray.search.journal import Event
from aar_ray.search.placement import DoesNotFit, Placement

HOUR = 3600.0


def seconds_spent(events: Iterable[Event]) -> float:
    """Time from each start's first event to its last, of all starts together.

    A start that was killed ends with its last event: what it did after that left no trace and is done again.
    """
    total, begun, last = 0.0, None, None
    for event in events:
        match event["event"]:
            case "study_started":
                total += _between(begun, last)
                begun = last = event["at"]
            case "study_finished" | "study_stopped":
                total += _between(begun, event["at"])
                begun = None
            case "planned":
                # between two starts
                continue
        last = event["at"]
    return total + _between(begun, last)


class Accelerators:
    """Hours of accelerators that trials and baselines have used; half an accelerator counts half."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.hours = 0.0
        self._pretrained: set[str] = set()
        self._worker_gpus = self._fold_gpus = 0.0
        for event in events:
            self.observe(event)

    def observe(self, event: Event) -> None:
        """Take in an event of the journal."""
        match event["event"]:
            case "study_started":
                gpus = event.get("gpus", {})
                self._worker_gpus, self._fold_gpus = gpus.get("group", 0.0), gpus.get("fold", 0.0)
            # trials that share an encoder each report it
            case "pretrained" if not event["cached"] and event["key"] not in self._pretrained:
                self._pretrained.add(event["key"])
                self.hours += event["seconds"] * self._worker_gpus / HOUR
            case "fold_finished":
                self._fold(event)
            case "baseline_finished":
                for fold in event["folds"]:
                    self._fold(fold)

    def _fold(self, fold: Event) -> None:
        if not fold["cached"]:
            self.hours += fold["seconds"] * self._fold_gpus / HOUR


def gpus_of(placement: Placement) -> dict[str, float]:
    """Accelerators of a worker group and of a fine-tuning task, as `study_started` records them."""
    return {"group": placement.workers * placement.worker_gpus, "fold": placement.fold_gpus}


def check_budget(budget: Budget, placement: Placement) -> None:
    """Refuse a budget that the cluster could never spend.

    Raises:
        DoesNotFit: accelerator-hours where no stage takes an accelerator.
    """
    if budget.accelerator_hours is not None and not any(gpus_of(placement).values()):
        raise DoesNotFit(
            f"budget.accelerator_hours is {budget.accelerator_hours:g}, and neither pre-training nor fine-tuning takes "
            "an accelerator on this cluster; give budget.hours or budget.trials"
        )


def _between(begun: str | None, last: str | None) -> float:
    if begun is None or last is None:
        return 0.0
    return (datetime.fromisoformat(last) - datetime.fromisoformat(begun)).total_seconds()
