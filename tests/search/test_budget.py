"""What a study has spent, over all its starts, from its journal alone."""

from __future__ import annotations

import pytest

from aar_ray.config import Budget
from aar_ray.search.budget import Accelerators, check_budget, seconds_spent
from aar_ray.search.journal import Event
from aar_ray.search.placement import DoesNotFit, Placement


def at(minute: float, event: str, **fields: object) -> Event:
    return {"event": event, "at": f"2025-06-01T12:{int(minute):02d}:{round(minute % 1 * 60):02d}+00:00", **fields}


def test_hours_are_those_of_all_starts_and_not_of_the_time_between() -> None:
    killed = [at(0, "study_started"), at(2, "pretrain_epoch"), at(3.5, "fold_finished")]
    assert seconds_spent(killed) == 210
    planned = [*killed, at(9, "planned")]
    assert seconds_spent(planned) == 210
    stopped = [*planned, at(10, "study_started"), at(11, "study_stopped")]
    assert seconds_spent(stopped) == 270
    finished = [
        *stopped,
        at(20, "study_started"),
        at(24, "trial_finished"),
        at(25, "study_finished"),
        at(50, "unsealed"),
    ]
    assert seconds_spent(finished) == 570
    assert seconds_spent([]) == 0


def test_accelerators_count_what_was_done_once_and_by_their_share() -> None:
    events = [
        {"event": "study_started", "gpus": {"group": 2.0, "fold": 0.25}},
        {"event": "pretrained", "trial": 0, "key": "a", "cached": False, "seconds": 3600},
        # another trial of the same encoder, and one that another study had made
        {"event": "pretrained", "trial": 1, "key": "a", "cached": False, "seconds": 3600},
        {"event": "pretrained", "trial": 2, "key": "b", "cached": True, "seconds": 3600},
        {"event": "fold_finished", "trial": 0, "cached": False, "seconds": 1800},
        {"event": "fold_finished", "trial": 1, "cached": True, "seconds": 1800},
        {"event": "baseline_finished", "folds": [{"cached": False, "seconds": 3600}, {"cached": True, "seconds": 9}]},
    ]
    assert Accelerators(events).hours == pytest.approx(2 + 0.125 + 0.25)


def placed(gpus: float) -> Placement:
    return Placement(
        groups=1, workers=1, worker_cpus=1, worker_gpus=gpus, fold_cpus=1, fold_gpus=0, fold_tasks=1, trial_slots=1
    )


def test_accelerator_hours_without_accelerators_are_refused() -> None:
    check_budget(Budget(accelerator_hours=2.0), placed(0.5))
    check_budget(Budget(hours=2.0), placed(0))
    with pytest.raises(DoesNotFit, match=r"budget\.accelerator_hours is 2, and neither"):
        check_budget(Budget(accelerator_hours=2.0), placed(0))
