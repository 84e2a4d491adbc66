"""Searcher and recorder: they speak to the journal alone, so a list of events stands in for a study."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from ray.tune.search import Searcher
from small_study import small_comparison, small_study

from aar_ray.config import Study, dotted
from aar_ray.search.engine import as_begun
from aar_ray.search.journal import Event
from aar_ray.search.searcher import JournalSearcher, Recorder

ARMS = {"trained": {"finetune.encoder": "trained"}, "frozen": {"finetune.encoder": "frozen"}}


class Run:
    """A searcher and a recorder over a list of events, as one run of a study has them."""

    def __init__(self, study: Study, events: list[Event] | None = None, deadline: float | None = None) -> None:
        self.events: list[Event] = [] if events is None else events
        self.drained = 0
        self.names: dict[int, str] = {}
        self.searcher = JournalSearcher(study, self.events, self.emit, deadline)
        self.recorder = Recorder(self.searcher, self.events, self.emit, self._drain)

    def emit(self, event: str, **fields: Any) -> Event:
        record = {"event": event, **fields}
        self.events.append(record)
        return record

    def _drain(self) -> None:
        self.drained += 1

    def suggest(self) -> Any:
        name = uuid.uuid4().hex  # nothing depends on it
        config = self.searcher.suggest(name)
        if isinstance(config, dict):
            self.names[config["trial"]] = name
        return config

    def report(self, event: str, trial: int, **fields: Any) -> None:
        self.recorder.on_trial_result(result={"journal": {"event": event, "trial": trial, **fields}})
        if event in ("trial_paused", "trial_finished"):
            self.free(trial)

    def free(self, trial: int) -> None:
        """Tune has the trial's process back."""
        self.searcher.on_trial_complete(self.names.pop(trial))

    def finish(self, trial: int, macro_f1: float | None = 0.5) -> None:
        state = "failed" if macro_f1 is None else "complete"
        self.report("trial_finished", trial, state=state, macro_f1=macro_f1, reason=None)

    def started(self) -> list[dict[str, Any]]:
        return [event["settings"] for event in self.events if event["event"] == "trial_started"]


def study_of(trials: int = 4, slots: int = 2, **budget: Any) -> Study:
    return small_study(budget={"trials": trials, **budget}, resources={"trial_slots": slots})


def test_trials_are_proposed_until_the_budget_is_spent() -> None:
    run = Run(study_of(trials=3))
    for number in range(3):
        assert run.suggest()["trial"] == number
        run.finish(number)
    assert run.searcher.stopped_by is None
    assert run.suggest() == Searcher.FINISHED
    assert run.searcher.stopped_by == "budget of 3 trials"
    assert run.suggest() == Searcher.FINISHED
    assert len(run.started()) == 3


def test_a_trial_gets_all_settings_and_the_journal_the_searched_ones() -> None:
    study = study_of()
    run = Run(study)
    config = run.suggest()
    assert run.events == [
        {
            "event": "trial_started",
            "trial": 0,
            "settings": {name: dotted(study.reference())[name] for name in study.search},
            "origin": "reference",
            "seed": study.seed,
            "repeat_of": None,
            "arm": None,
            "folds": None,
        }
    ]
    assert config == {
        "trial": 0,
        "settings": dotted(study.reference()),
        "seed": study.seed,
        "rungs": [None],
        "first_epochs": None,
    }
    second = run.suggest()
    assert run.events[1]["origin"] == "sampled"
    assert second["settings"] == {**dotted(study.reference()), **run.events[1]["settings"]}


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_no_more_trials_are_out_than_there_are_slots(slots: int) -> None:
    run = Run(study_of(trials=9, slots=slots))
    out = [run.suggest()["trial"] for _ in range(slots)]
    assert out == list(range(slots))
    assert run.suggest() is None
    # only the oldest one opens the window, so that what is known does not depend on which ends first
    for number in out[1:]:
        run.finish(number)
        assert run.suggest() is None
    run.finish(0)
    assert run.suggest()["trial"] == slots


def test_a_slot_is_free_once_tune_has_the_process_back() -> None:
    run = Run(study_of(slots=1))
    run.suggest()
    run.recorder.on_trial_result(
        result={"journal": {"event": "trial_finished", "trial": 0, "state": "complete", "macro_f1": 0.5}}
    )
    assert run.suggest() is None
    run.free(0)
    assert run.suggest()["trial"] == 1


def test_no_more_arms_are_out_than_there_are_slots() -> None:
    run = Run(small_comparison(ARMS, seeds=2, resources={"trial_slots": 2}))
    assert [run.suggest()["trial"], run.suggest()["trial"], run.suggest()] == [0, 1, None]
    run.finish(1)
    assert [run.suggest()["trial"], run.suggest()] == [2, None]


def test_proposals_do_not_depend_on_which_trial_ends_first() -> None:
    scores = [0.1, 0.7, 0.4, 0.9, 0.2, 0.6]
    early, late = Run(study_of(trials=6)), Run(study_of(trials=6))
    # in `early` each trial ends as soon as it may, in `late` as late as the window allows
    for number in range(6):
        early.suggest()
        early.finish(number, scores[number])
    for number in range(6):
        if number >= 2:
            late.finish(number - 2, scores[number - 2])
        late.suggest()
    assert early.started() == late.started()
    assert len(early.started()) == 6


def test_what_an_earlier_run_left_unfinished_is_begun_again_as_it_was() -> None:
    killed = Run(study_of(trials=4, slots=3))
    configs = [killed.suggest() for _ in range(3)]
    killed.finish(1)
    again = Run(study_of(trials=4, slots=3), list(killed.events))
    assert [again.suggest(), again.suggest()] == [configs[0], configs[2]]
    # trial 0 is still running, so the window is closed
    assert again.suggest() is None
    again.finish(0)
    assert again.suggest()["trial"] == 3
    assert again.suggest() == Searcher.FINISHED
    # a trial that goes on is not begun a second time in the journal
    assert [event["trial"] for event in again.events if event["event"] == "trial_started"] == [0, 1, 2, 3]


def test_unfinished_trials_are_ended_also_where_the_budget_is_spent() -> None:
    killed = Run(study_of(trials=2))
    configs = [killed.suggest(), killed.suggest()]
    assert killed.suggest() == Searcher.FINISHED
    again = Run(study_of(trials=2, hours=1.0), list(killed.events), deadline=time.monotonic() - 1)
    assert [again.suggest(), again.suggest(), again.suggest()] == [*configs, Searcher.FINISHED]


def test_a_study_that_went_on_proposes_what_one_without_a_kill_does() -> None:
    scores = [0.3, 0.8, 0.5, 0.9, 0.1, 0.4]

    def go_on(run: Run, first: int, last: int) -> None:
        for number in range(first, last):
            assert run.suggest()["trial"] == number
            run.finish(number, scores[number])

    whole = Run(study_of(trials=6))
    go_on(whole, 0, 6)
    part = Run(study_of(trials=6))
    go_on(part, 0, 4)
    resumed = Run(study_of(trials=6), list(part.events))
    go_on(resumed, 4, 6)
    assert resumed.started() == whole.started()


@pytest.mark.parametrize("sampler", ["tpe", "stage_aware"])
@pytest.mark.parametrize("slots", [1, 3])
def test_a_study_that_goes_on_with_other_trial_slots_proposes_as_it_began(slots: int, sampler: str) -> None:
    scores = [0.3, 0.8, 0.5, 0.9, 0.1, 0.4, 0.7]

    def study(slots: int) -> Study:
        changes = {"startup_trials": 2, "first_folds": 1} if sampler == "stage_aware" else {"startup_trials": 2}
        return small_study(budget={"trials": 7}, resources={"trial_slots": slots}, sampler={"name": sampler, **changes})

    def go_on(run: Run, trials: int) -> None:
        while len(run.started()) < trials:
            config = run.suggest()
            run.finish(config["trial"], scores[config["trial"]])

    def begun() -> Run:
        run = Run(study(2))
        run.emit("study_started", folds=[{"name": "a"}, {"name": "b"}], trial_slots=2)
        return run

    whole, part = begun(), begun()
    go_on(whole, 7)
    go_on(part, 4)
    later = [*part.events, {"event": "study_started", "folds": [{"name": "a"}, {"name": "b"}], "trial_slots": slots}]
    resumed = Run(as_begun(study(slots), later), later)
    go_on(resumed, 7)
    assert resumed.started() == whole.started()
    if sampler == "tpe":
        # it does matter: as its own first start this one would have decided otherwise
        other = Run(study(slots), list(part.events))
        go_on(other, 7)
        assert other.started() != whole.started()


def test_hours_that_are_over_end_the_study() -> None:
    run = Run(study_of(trials=9, hours=0.5), deadline=time.monotonic() + 3600)
    assert run.suggest()["trial"] == 0
    over = Run(study_of(trials=9, hours=0.5), deadline=time.monotonic() - 1)
    assert over.suggest() == Searcher.FINISHED
    assert over.searcher.stopped_by == "budget of 0.5 hours"
    assert over.events == []


def test_a_space_without_new_settings_ends_the_study() -> None:
    run = Run(small_study(search={"finetune.encoder": {"choice": ["trained", "frozen"]}}, budget={"trials": 9}))
    for number in range(2):
        run.suggest()
        run.finish(number)
    assert run.suggest() == Searcher.FINISHED
    assert run.searcher.stopped_by == "every setting of the space has been tried"


def test_an_event_that_is_reported_twice_is_recorded_once() -> None:
    run = Run(study_of())
    run.suggest()
    for _ in range(2):
        for epoch in (1, 2):
            run.report("pretrain_epoch", 0, epoch=epoch, key="k", metrics={})
        run.report("pretrained", 0, key="k", seconds=1.0, cached=False)
        for fold in ("a", "b"):
            run.report("fold_finished", 0, fold=fold)
    again = Run(study_of(), list(run.events))
    again.suggest()
    again.report("pretrained", 0, key="k", seconds=1.0, cached=True)
    again.report("fold_finished", 0, fold="b")
    again.report("fold_finished", 0, fold="c")
    assert [(event["event"], event.get("epoch"), event.get("fold")) for event in again.events] == [
        ("trial_started", None, None),
        ("pretrain_epoch", 1, None),
        ("pretrain_epoch", 2, None),
        ("pretrained", None, None),
        ("fold_finished", None, "a"),
        ("fold_finished", None, "b"),
        ("fold_finished", None, "c"),
    ]


def pretrained(run: Run, trial: int) -> None:
    run.report("pretrained", trial, key="k", seconds=1.0, cached=False)


def test_groups_go_home_once_every_trial_has_its_encoder_and_none_will_come() -> None:
    run = Run(study_of(trials=2))
    run.suggest()
    pretrained(run, 0)
    run.suggest()
    # the search does not know yet that there will be no third
    pretrained(run, 1)
    assert run.drained == 0
    assert run.suggest() == Searcher.FINISHED
    run.report("fold_finished", 1, fold="a")
    assert run.drained == 1


def test_groups_stay_while_a_trial_waits_for_its_encoder() -> None:
    run = Run(study_of(trials=2))
    run.suggest()
    run.suggest()
    assert run.suggest() == Searcher.FINISHED
    pretrained(run, 0)
    run.finish(0)
    assert run.drained == 0
    # one that fails waits for nothing any more
    run.finish(1, None)
    assert run.drained == 1


def test_groups_stay_for_a_trial_whose_encoder_only_an_earlier_run_had() -> None:
    killed = Run(study_of(trials=2))
    killed.suggest()
    killed.suggest()
    pretrained(killed, 0)
    pretrained(killed, 1)
    again = Run(study_of(trials=2), list(killed.events))
    assert [again.suggest() is None for _ in range(3)] == [False] * 3
    pretrained(again, 1)
    again.report("fold_finished", 1, fold="a")
    # the artifact of trial 0 may have been removed since: it has not said that it found it
    assert again.drained == 0
    pretrained(again, 0)
    again.report("fold_finished", 0, fold="a")
    assert again.drained > 0


class DeadTrial:
    """What Tune hands over of a trial whose process died for good."""

    def __init__(self, number: int) -> None:
        self.config = {"trial": number}


def test_a_trial_whose_process_died_for_good_is_recorded_as_failed() -> None:
    run = Run(study_of())
    run.suggest()
    run.recorder.on_trial_error(trial=DeadTrial(0))
    assert run.events[-1] == {
        "event": "trial_finished",
        "trial": 0,
        "state": "failed",
        "macro_f1": None,
        "reason": "the trial's process died repeatedly",
    }


def test_a_trial_that_had_ended_before_its_process_died_keeps_its_end() -> None:
    run = Run(study_of())
    run.suggest()
    run.finish(0, 0.5)
    run.recorder.on_trial_error(trial=DeadTrial(0))
    assert [event["state"] for event in run.events if event["event"] == "trial_finished"] == ["complete"]


def test_a_trial_that_is_given_up_ends_the_search_and_stays_unfinished() -> None:
    run = Run(study_of(trials=9, slots=3))
    run.suggest()
    run.suggest()
    run.report("trial_given_up", 0, reason="the disk is full")
    run.finish(1)
    assert run.suggest() == Searcher.FINISHED
    assert (run.searcher.halted, run.searcher.stopped_by) == (True, "the disk is full")
    again = Run(study_of(trials=9, slots=3), list(run.events))
    assert again.suggest()["trial"] == 0


def test_a_failed_trial_that_is_retried_runs_and_ends_once_more() -> None:
    run = Run(study_of(trials=2))
    configs = [run.suggest(), run.suggest()]
    run.finish(0, None)
    run.finish(1)
    run.emit("trial_retried", trial=0)
    again = Run(study_of(trials=2), list(run.events))
    assert [again.suggest(), again.suggest()] == [configs[0], Searcher.FINISHED]
    again.finish(0, 0.7)
    assert [event["state"] for event in again.events if event["event"] == "trial_finished"] == [
        "failed",
        "complete",
        "complete",
    ]
