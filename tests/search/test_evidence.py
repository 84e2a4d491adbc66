from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from aar_ray.search.evidence import (
    Scored,
    Spread,
    beside_winner,
    choose,
    interval,
    paired_difference,
    report_winner,
    resolvable_difference,
    seed_spread,
    smallest_sign_p,
    t_interval,
)
from aar_ray.seeds import stream

T_975_AT_2 = 4.302652729911275
"""Student's t, two degrees of freedom: 0.95 √(2 / (1 - 0.95²)), which has a closed form there alone."""


def setting(number: int, *runs: list[float], sought: bool = True) -> Scored:
    """A setting of a search: its first run picked it out, all others are fresh."""
    return Scored(number, np.array(runs, dtype=float), np.array([sought and run == 0 for run in range(len(runs))]))


def test_t_of_two_degrees_of_freedom_has_the_closed_form() -> None:
    assert pytest.approx(T_975_AT_2) == 0.95 * math.sqrt(2 / (1 - 0.95**2))


def test_interval_of_three_values_is_the_closed_form() -> None:
    # deviation of 0.4, 0.5, 0.6 is 0.1
    half = T_975_AT_2 * 0.1 / math.sqrt(3)
    assert t_interval([0.4, 0.5, 0.6]) == pytest.approx((0.5, 0.5 - half, 0.5 + half))


def test_interval_of_two_values_is_the_cauchy_quantile() -> None:
    # one degree of freedom is Cauchy: quantile tan(0.475 π), half the distance times it
    assert t_interval([0.3, 0.5])[2] == pytest.approx(0.4 + 0.1 * math.tan(0.475 * math.pi))


def test_one_value_and_no_value_have_no_interval() -> None:
    assert t_interval([0.3])[0] == 0.3
    assert np.isnan(t_interval([0.3])[1:]).all()
    assert np.isnan(t_interval([])).all()


def test_seeds_are_pooled_over_settings_and_the_run_that_was_picked_is_left_out() -> None:
    # fresh means 0.3, 0.5 and 0.2, 0.2, 0.5: squares 0.02 and 0.06 on 1 + 2 degrees of freedom
    first = setting(0, [0.9, 0.9], [0.2, 0.4], [0.4, 0.6])
    second = setting(3, [0.8, 0.8], [0.1, 0.3], [0.2, 0.2], [0.5, 0.5])
    assert seed_spread([first, second, setting(5, [0.1, 0.1])]) == pytest.approx((0.08 / 3, 3))
    assert seed_spread([setting(0, [0.9], [0.5]), setting(1, [0.2])]) is None


def test_an_animal_that_one_run_lacks_does_not_pass_for_noise_of_the_seed() -> None:
    gap = setting(0, [0.5, 0.5], [0.4, 0.9], [0.6, math.nan])
    assert seed_spread([gap]) == pytest.approx((0.02, 1))


def test_the_interval_adds_animals_and_seeds_with_satterthwaites_freedom() -> None:
    # two equal variances of 2 and of 4 degrees of freedom: (1 + 1)² / (1/2 + 1/4) = 16/3
    one = setting(0, [0.4, 0.5, 0.6])
    of_animals = 0.1**2 / 3
    mean, low, high = interval(one, Spread(of_animals, 4))
    half = stats.t.ppf(0.975, 16 / 3) * math.sqrt(2 * of_animals)
    assert (mean, low, high) == pytest.approx((0.5, 0.5 - half, 0.5 + half))


def test_animals_are_averaged_over_runs_before_their_spread_is_taken() -> None:
    one = setting(0, [0.3, 0.5, 0.6], [0.5, 0.5, 0.6])
    assert interval(one, None) == pytest.approx(t_interval([0.4, 0.5, 0.6]))


def test_one_animal_leaves_seeds_alone_and_without_them_nothing() -> None:
    one = setting(0, [0.3], [0.5])
    half = stats.t.ppf(0.975, 7) * math.sqrt(0.02 / 2)
    assert interval(one, Spread(0.02, 7)) == pytest.approx((0.4, 0.4 - half, 0.4 + half))
    assert np.isnan(interval(one, None)[1:]).all()


def test_a_constant_lead_over_unlike_animals_is_a_certain_one() -> None:
    first, second = setting(0, [0.25, 0.5, 0.75]), setting(1, [0.375, 0.625, 0.875])
    assert paired_difference(second, first) == (0.125, 0.125, 0.125, 3, 0.0)
    assert paired_difference(first, second) == (-0.125, -0.125, -0.125, 3, 1.0)
    assert paired_difference(first, first).p == 1


def test_a_paired_difference_is_the_t_test_on_shared_animals() -> None:
    ours, theirs = setting(1, [0.3, 0.9, 0.4, math.nan]), setting(0, [0.2, 0.5, 0.45, 0.9])
    found = paired_difference(ours, theirs)
    test = stats.ttest_1samp([0.1, 0.4, -0.05], 0, alternative="greater")
    assert found[:3] == pytest.approx(t_interval([0.1, 0.4, -0.05]))
    assert found.p == pytest.approx(test.pvalue)
    assert found.animals == 3


def test_the_noise_of_seeds_widens_a_paired_difference() -> None:
    ours, theirs = setting(1, [0.3, 0.9, 0.4]), setting(0, [0.2, 0.5, 0.35])
    alone, with_seeds = (paired_difference(ours, theirs, seeds) for seeds in (None, Spread(0.01, 4)))
    assert with_seeds.mean == alone.mean
    assert with_seeds.high - with_seeds.low < alone.high - alone.low  # many more degrees of freedom than two animals
    assert paired_difference(ours, theirs, Spread(1.0, 4)).p > alone.p


@pytest.mark.parametrize(
    ("fresh", "choosing", "reporting"), [(0, 1, 0), (1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 3, 2), (5, 3, 3)]
)
def test_the_later_half_of_fresh_runs_reports_and_the_rest_chooses(fresh: int, choosing: int, reporting: int) -> None:
    one = setting(0, *[[0.5]] * (fresh + 1))
    assert (one.chooses.sum(), one.reports.sum()) == (choosing, reporting)
    assert not (one.chooses & one.reports).any()


def test_arms_are_chosen_and_reported_by_all_their_runs() -> None:
    arm = setting(0, [0.4], [0.6], sought=False)
    assert arm.chooses.all()
    assert arm.reports.all()


def test_the_winner_is_one_that_was_confirmed_although_another_has_a_higher_single_score() -> None:
    lucky, confirmed = setting(0, [0.9]), setting(1, [0.8], [0.5], [0.2])
    winner = report_winner([lucky, confirmed])
    assert winner is not None
    assert (winner.number, winner.runs) == (1, 1)
    # chosen by 0.8 and 0.5, reported by the last run alone
    assert (winner.chosen_by, winner.score.mean) == pytest.approx((0.65, 0.2))


def test_without_fresh_runs_the_winner_has_no_honest_score() -> None:
    winner = report_winner([setting(0, [0.9, 0.7]), setting(1, [0.8, 0.6])])
    assert winner is not None
    assert (winner.number, winner.runs) == (0, 0)
    assert np.isnan([*winner.score, *winner.elsewhere]).all()
    assert report_winner([]) is None
    assert choose([]) is None


def test_the_winners_score_is_unbiased_and_its_interval_holds_the_truth_where_the_search_score_is_far_off() -> None:
    draw = stream(0, "test", "winner")
    truth, noise, studies = 0.5, 0.02, 1500
    errors, overstated, held = [], [], 0
    for _ in range(studies):
        first = draw.normal(truth, noise, 40)
        best = np.argsort(-first)[:3]
        fresh = draw.normal(truth, noise, (3, 4))
        winner = report_winner([setting(int(n), [first[n]], *fresh[i, :, None].tolist()) for i, n in enumerate(best)])
        assert winner is not None
        errors.append(winner.score.mean - truth)
        overstated.append(winner.chosen_by - truth)
        held += winner.score.low <= truth <= winner.score.high
    assert np.mean(overstated) > noise
    # four standard errors on either side
    assert abs(np.mean(errors)) < 4 * noise / math.sqrt(2 * studies)
    assert abs(held / studies - 0.95) < 4 * math.sqrt(0.95 * 0.05 / studies)


def test_the_best_setting_stays_beside_the_winner_in_95_of_100_studies() -> None:
    draw = stream(0, "test", "beside")
    truths, studies, kept, few = np.array([0.60, 0.59, 0.58, 0.5, 0.3]), 400, 0, 0
    for _ in range(studies):
        animals = draw.normal(0, 0.1, 6)
        settings = [setting(n, (truth + animals + draw.normal(0, 0.02, 6)).tolist()) for n, truth in enumerate(truths)]
        winner = choose(settings)
        assert winner is not None
        beside = beside_winner(winner, settings, None)
        assert beside[winner.number]
        kept += beside[0]
        few += not beside[4]
    assert kept / studies >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / studies)
    # what is far worse is told apart, although animals differ more than settings
    assert few / studies > 0.95


@pytest.mark.parametrize(("animals", "p"), [(1, 1.0), (2, 0.5), (5, 0.0625), (10, 2 / 1024)])
def test_the_smallest_p_of_the_sign_test_is_that_of_all_signs_equal(animals: int, p: float) -> None:
    assert smallest_sign_p(animals) == p == pytest.approx(stats.binomtest(animals, animals).pvalue)


def test_a_resolvable_difference_is_seen_in_four_of_five_studies() -> None:
    draw = stream(0, "test", "power")
    difference = resolvable_difference(0.1, animals=6, comparisons=2)
    samples = draw.normal(difference, 0.1, (4000, 6))
    seen = stats.ttest_1samp(samples, 0, axis=1, alternative="greater").pvalue <= 0.05 / 2
    assert seen.mean() == pytest.approx(0.8, abs=0.05)
    assert math.isnan(resolvable_difference(0.1, animals=1))
