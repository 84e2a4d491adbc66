"""The price of an encoder: counted in windows, weighed by rough measurements, and settled once."""

from __future__ import annotations

from typing import Any

import pytest
from small_study import small_study

from aar_ray.search.journal import Event, history
from aar_ray.search.price import COARSE, STEP_WINDOWS, measured_price, price_of
from aar_ray.search.searcher import JournalSearcher

SETTINGS = {
    "pretrain.epochs": 3,
    "pretrain.batch_size": STEP_WINDOWS,  # a step costs what its windows do
    "finetune.epochs": 10,
    "finetune.batch_size": STEP_WINDOWS,
}
STARTED: Event = {
    "event": "study_started",
    "settings": SETTINGS,
    "corpus": {"windows": 1000},
    "labelled": {"windows": 500},
    # of 500 windows, 300 train and 100 validate
    "folds": [{"name": "a", "train": ["1", "2", "3"], "validation": ["4"], "test": ["5"]}],
}
REFERENCE = {"tfc.margin": 0.5, "finetune.learning_rate": 1e-4, "finetune.encoder": "trained"}
PRETRAIN = 3 * 4 * 1000 * 2
A_FOLD_EPOCH = 300 * 2 + 100 / 3


def trial_0(epochs: list[float], folds: list[float], tuned: int = 10) -> list[Event]:
    """Seconds of its epochs and folds, each fold tuned for so many epochs."""
    result: dict[str, Any] = {"macro_f1": 0.5, "epochs": [{}] * tuned}
    return [
        STARTED,
        {"event": "trial_started", "trial": 0, "settings": REFERENCE, "folds": None},
        *(
            {"event": "pretrain_epoch", "trial": 0, "epoch": number, "metrics": {"seconds": seconds}}
            for number, seconds in enumerate(epochs, 1)
        ),
        *({"event": "fold_finished", "trial": 0, "fold": "a", "seconds": each, "result": result} for each in folds),
        {"event": "trial_finished", "trial": 0, "state": "complete", "macro_f1": 0.5, "reason": None},
    ]


def test_before_anything_is_measured_the_windows_are_counted() -> None:
    assert price_of([STARTED]) == pytest.approx(PRETRAIN / (10 * A_FOLD_EPOCH))
    # a journal of an earlier version does not say how many there are
    assert price_of([{"event": "study_started", "folds": []}]) == 1


def test_a_fold_that_ends_early_makes_an_encoder_dearer() -> None:
    both = [measured_price(trial_0([1.0] * 3, [1.0], tuned))["price"] for tuned in (10, 5)]
    assert both[1] == pytest.approx(2 * both[0])


@pytest.mark.parametrize("busy", [0.4, 1.0, 2.5])
def test_a_busy_machine_does_not_change_the_price_and_another_kind_of_machine_does(busy: float) -> None:
    counted = PRETRAIN / (10 * A_FOLD_EPOCH)
    fold = 3.0 / counted
    assert measured_price(trial_0([busy] * 3, [fold]))["price"] == pytest.approx(counted)
    # an epoch and a fold beside which a process was killed and started again
    assert measured_price(trial_0([busy, 90.0, busy], [fold, 50.0]))["price"] == pytest.approx(counted)
    # where pre-training has an accelerator and fine-tuning has none
    assert measured_price(trial_0([busy / COARSE] * 3, [fold]))["price"] == pytest.approx(counted / COARSE)


def test_a_trial_0_that_came_to_nothing_leaves_the_counted_price() -> None:
    measured = measured_price([STARTED, {"event": "trial_started", "trial": 0, "settings": {}}])
    assert measured == {"price": price_of([STARTED]), "epoch_seconds": None, "fold_seconds": None}


def _searcher(events: list[Event], sampler: str) -> JournalSearcher:
    def emit(event: str, **fields: Any) -> Event:
        events.append({"event": event, **fields})
        return events[-1]

    study = small_study(sampler={"name": sampler}, budget={"trials": 6}, resources={"trial_slots": 2})
    return JournalSearcher(study, events, emit, None)


def test_the_price_is_settled_once_when_a_decision_may_know_trial_0() -> None:
    events = trial_0([1.0] * 3, [2.0])
    searcher = _searcher(events, "stage_aware")
    # with two slots the second trial is begun beside trial 0, and must not know whether that one has ended
    searcher.suggest("")
    assert history(events).price == price_of([STARTED])
    assert not any(event["event"] == "priced" for event in events)
    searcher.suggest("")
    assert [event["event"] for event in events[-2:]] == ["priced", "trial_started"]
    settled = history(events).price
    # a resume keeps it, whatever it measures anew
    events.append({"event": "pretrain_epoch", "trial": 0, "epoch": 1, "metrics": {"seconds": 1e-9}})
    events.append({"event": "trial_finished", "trial": 1, "state": "complete", "macro_f1": 0.4, "reason": None})
    _searcher(events, "stage_aware").suggest("")
    assert history(events).price == settled
    assert sum(event["event"] == "priced" for event in events) == 1


def test_a_sampler_that_does_not_weigh_costs_asks_for_no_price() -> None:
    events = trial_0([1.0] * 3, [2.0])
    searcher = _searcher(events, "tpe")
    searcher.suggest("")
    searcher.suggest("")
    assert not any(event["event"] == "priced" for event in events)
