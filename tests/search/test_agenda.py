"""The agenda: arms by turns with a seed a turn; after a search the best few again; the winner that is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from small_study import small_comparison, small_study

from aar_ray.config import Study
from aar_ray.search.agenda import Agenda, End, Wait, runs_of, winner
from aar_ray.search.proposals import Known, Proposal
from aar_ray.search.rungs import History

ARMS: dict[str, dict[str, Any]] = {
    "whole": {},
    "no margin": {"tfc.margin": 0.1},
    "post": {"patchtst.norm_position": "post"},
}


def run(
    study: Study, score: Callable[[Proposal], float | None], known: Sequence[Known] = ()
) -> tuple[list[Known], list[Proposal], End]:
    """Run a study's agenda to its end, one trial after another; a score of None is a failure."""
    trials, proposals = list(known), []
    while isinstance(proposal := Agenda(study, 3).next(History(trials)), Proposal):
        proposals.append(proposal)
        scored = score(proposal)
        state = "failed" if scored is None else "complete"
        trials.append(Known(proposal.settings, state, scored, proposal.repeat_of))  # type: ignore[arg-type]
    assert isinstance(proposal, End)
    return trials, proposals, proposal


def test_arms_run_by_turns_each_with_every_seed() -> None:
    known, proposals, end = run(small_comparison(ARMS, seeds=2), lambda _: 0.5)
    assert [(proposal.arm, proposal.repeat) for proposal in proposals] == [(arm, n) for n in (0, 1) for arm in ARMS]
    assert [trial.repeat_of for trial in known] == [None, None, None, 0, 1, 2]
    # an arm has its default where only others name a setting
    assert [trial.settings["tfc.margin"] for trial in known[:3]] == [0.5, 0.1, 0.5]
    assert end.reason == "3 arms with 2 seeds each"


def test_an_interrupted_comparison_goes_on_where_it_stopped() -> None:
    study = small_comparison(ARMS, seeds=3)
    whole, _, _ = run(study, lambda _: 0.5)
    resumed, _, _ = run(study, lambda _: 0.5, known=whole[:4])
    assert resumed == whole


def searching(best: int = 2, seeds: int = 2, trials: int = 5) -> Study:
    return small_study(budget={"trials": trials}, confirm={"best": best, "seeds": seeds})


def by_learning_rate(proposal: Proposal) -> float:
    # a lucky first run: repeats score .2 less
    return float(proposal.settings["finetune.learning_rate"]) - 0.2 * (proposal.repeat > 0)


def test_the_best_few_run_again_on_fresh_seeds_and_do_not_count_in_the_budget() -> None:
    known, proposals, _ = run(searching(), by_learning_rate)
    first = sorted(range(5), key=lambda n: -(known[n].macro_f1 or 0))[:2]
    again = proposals[5:]
    assert [proposal.origin for proposal in again] == ["confirmation"] * 4
    assert [(proposal.repeat_of, proposal.repeat) for proposal in again] == [(n, r) for r in (1, 2) for n in first]
    for proposal in again:
        assert proposal.repeat_of is not None
        assert proposal.settings == known[proposal.repeat_of].settings


def test_confirmation_waits_for_every_trial_of_the_search() -> None:
    study = searching()
    known, _, _ = run(study, by_learning_rate)
    for number in range(5):
        unfinished = [*known[:5]]
        unfinished[number] = replace(unfinished[number], state="running", macro_f1=None)
        assert Agenda(study, 3).next(History(unfinished)) == Wait()


def test_a_failed_trial_is_not_confirmed_and_none_at_all_where_none_is_wanted() -> None:
    _, proposals, _ = run(searching(best=5, seeds=1), lambda p: None if p.origin == "reference" else 0.5)
    assert [proposal.repeat_of for proposal in proposals[5:]] == [1, 2, 3, 4]
    assert len(run(searching(best=0), by_learning_rate)[0]) == 5


def test_a_larger_budget_later_searches_on_as_if_nothing_had_been_confirmed() -> None:
    known, _, _ = run(searching(), by_learning_rate)
    longer = searching(trials=7)
    resumed, _, _ = run(longer, by_learning_rate, known)
    whole, _, _ = run(longer, by_learning_rate)
    searched = [[trial.settings for trial in trials if trial.repeat_of is None] for trials in (resumed, whole)]
    assert searched[0] == searched[1]


def test_hours_that_are_over_leave_the_confirmation_out() -> None:
    study = small_study(budget={"trials": 5, "hours": 1.0}, confirm={"best": 2})
    known, _, _ = run(study, by_learning_rate)
    assert Agenda(study, 3).next(History(known[:5]), time_is_up=True) == End("budget of 1 hours")


@pytest.mark.parametrize(
    ("scores", "named"),
    [
        ([0.5, 0.7, 0.6], 1),
        ([None, 0.2, None], 1),
        ([0.6, 0.6], 0),
        ([], None),
        ([None], None),
    ],
)
def test_without_confirmation_the_best_score_wins_and_the_earlier_of_equals(
    scores: list[float | None], named: int | None
) -> None:
    assert winner([Known({}, "failed" if s is None else "complete", s) for s in scores]) == named


def test_with_confirmation_the_best_mean_among_the_confirmed_wins() -> None:
    known = [Known({}, "complete", score) for score in (0.9, 0.8, 0.85)]
    known += [Known({}, "complete", 0.3, repeat_of=0), Known({}, "complete", 0.7, repeat_of=1)]
    # the later half of the fresh seeds reports the winner, so it has no say
    known += [Known({}, "complete", 0.99, repeat_of=0), Known({}, "complete", 0.1, repeat_of=1)]
    # trial 2 scored .85 once, which nothing has confirmed; trial 0's mean is .6, trial 1's .75
    assert winner(known) == 1
    assert runs_of(known, 1) == [1, 4, 6]


@pytest.mark.parametrize("sampler", ["stage_aware", "tpe", "random", "grid", "qmc", "cma-es", "gp"])
def test_no_sampler_has_equal_settings_run_twice(sampler: str) -> None:
    search = {
        "finetune.encoder": {"choice": ["trained", "frozen"]},
        "finetune.batch_size": {"integer": [31, 32]},
        "tfc.margin": {"choice": [0.25, 0.5]},
    }
    # what is enqueued twice, or as trial 0 is, has its answer in the journal
    enqueue = [{"tfc.margin": 0.25}, {"tfc.margin": 0.25}, {"tfc.margin": 0.5}]
    study = small_study(
        search=search, enqueue=enqueue, sampler={"name": sampler, "startup_trials": 2}, budget={"trials": 20}
    )
    known: list[Known] = []
    while isinstance(proposal := Agenda(study, 3).next(History(known)), Proposal):
        score = float(proposal.settings["tfc.margin"])
        known.append(Known(proposal.settings, "complete", score, scores=dict.fromkeys(range(3), score)))
    assert proposal == End("every setting of the space has been tried")
    assert len(known) == len({tuple(trial.settings.items()) for trial in known}) == 8
