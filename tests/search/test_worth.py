"""When more trials are not worth it: the expected gain in closed form, and the rule around it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
from small_study import small_study

from aar_ray.search.agenda import Agenda, End
from aar_ray.search.proposals import Known, Proposal
from aar_ray.search.rungs import History
from aar_ray.search.worth import expected_gain, not_worth_it


def test_the_gain_of_one_trial_is_the_expected_improvement_in_closed_form() -> None:
    best, mean, deviation = 0.7, 0.62, 0.05
    z = (mean - best) / deviation
    closed = (mean - best) * norm.cdf(z) + deviation * norm.pdf(z)
    assert expected_gain(best, mean, deviation, 1) == pytest.approx(closed, rel=1e-6)


def test_the_gain_of_several_trials_is_that_of_their_best() -> None:
    draws = np.random.default_rng(3).normal(0.6, 0.05, (200_000, 7)).max(axis=1)
    simulated = np.maximum(draws - 0.65, 0).mean()
    # a standard error of 1e-4
    assert expected_gain(0.65, 0.6, 0.05, 7) == pytest.approx(simulated, abs=5e-4)


@pytest.mark.parametrize(("best", "gain"), [(0.6, 0.0), (0.5, 0.1), (0.7, 0.0)])
def test_scores_that_do_not_spread_promise_their_mean(best: float, gain: float) -> None:
    assert expected_gain(best, 0.6, 0.0, 5) == pytest.approx(gain)


def test_a_best_far_below_all_scores_is_gained_in_full() -> None:
    # the best of two normal scores is expected 1 / sqrt(pi) deviations above their mean
    assert expected_gain(0.0, 0.9, 0.01, 2) == pytest.approx(0.9 + 0.01 / math.sqrt(math.pi), rel=1e-6)


def known(scores: list[float | None]) -> list[Known]:
    return [Known({}, "failed" if score is None else "complete", score) for score in scores]


FLAT = [0.60, 0.61, 0.60, 0.59]


def test_a_search_whose_last_trials_stay_far_below_the_best_ends_with_the_numbers() -> None:
    study = small_study(budget={"trials": 99, "patience": 4, "least_gain": 0.005}, sampler={"name": "random"})
    reason = not_worth_it(study, known([0.7, *FLAT]))
    assert reason is not None
    assert "4 more trials like the last 4 are expected to raise the best macro-F1, 0.700, by " in reason
    assert reason.endswith("less than budget.least_gain 0.005")
    # as good as the best, or not enough of them, or failed ones in their place: it goes on
    assert not_worth_it(study, known([0.60, 0.58, 0.64, 0.6, 0.56])) is None
    assert not_worth_it(study, known([0.7, *FLAT[1:]])) is None
    assert not_worth_it(study, known([0.7, *FLAT[1:], None])) is None
    assert not_worth_it(small_study(budget={"trials": 99}), known([0.7, *FLAT * 9])) is None


def test_random_trials_of_the_start_do_not_count() -> None:
    study = small_study(budget={"trials": 99, "patience": 4}, sampler={"startup_trials": 6})
    assert not_worth_it(study, known([0.7, *FLAT, 0.6, 0.6, 0.6])) is None
    assert not_worth_it(study, known([0.7, *FLAT, 0.6, 0.6, 0.6, 0.6, 0.6])) is not None


def test_the_agenda_ends_a_search_by_what_is_known_alone() -> None:
    study = small_study(
        budget={"trials": 99, "patience": 4},
        sampler={"name": "random"},
        confirm={"best": 1, "seeds": 1},
        resources={"trial_slots": 3},
    )
    agenda, trials = Agenda(study, 3), []
    while isinstance(proposal := agenda.next(History(trials)), Proposal):
        score = 0.9 if proposal.origin == "reference" else 0.5
        trials.append(Known(proposal.settings, "complete", score, proposal.repeat_of))
    assert isinstance(proposal, End)
    assert proposal.reason.startswith("4 more trials like the last 4")
    # trial 0 and four more decide, two that may still run then, and the confirmation
    assert len(trials) == 5 + 2 + 1
    assert agenda.next(History(trials[:6])) != proposal
