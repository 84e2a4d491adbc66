"""Spending: folds go to what leads, seconds to what promises most for them, and nothing is decided twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from small_study import small_study

from aar_ray.search.space import Space
from aar_ray.search.stage_aware import Outcome, Promote, Seen, StageAware, Start, rungs, without_fold_levels

MARGIN, RATE = "tfc.margin", "finetune.dropout"
SEARCH = {MARGIN: {"uniform": [0.0, 1.0]}, RATE: {"uniform": [0.0, 1.0]}}
Score = Callable[[Mapping[str, Any], int], float]


def deciding(**changes: Any) -> StageAware:
    given = {"folds": 3, "first_folds": 1, "startup_trials": 4, "trials_per_encoder": 2, "seed": 5, **changes}
    return StageAware(Space(small_study(search=SEARCH)), **given)


def peak(settings: Mapping[str, Any], fold: int) -> float:
    """Best at margin .3 and dropout .7; folds differ by far more than settings do."""
    return float(0.5 * fold - (settings[MARGIN] - 0.3) ** 2 - (settings[RATE] - 0.7) ** 2)


def run(spending: StageAware, trials: int, score: Score = peak, price: float = 4.0) -> list[Seen]:
    """One action after another, until so many trials were begun and nothing more is worth it."""
    seen: list[Seen] = []
    while action := spending.next(seen, price, may_start=len(seen) < trials):
        if isinstance(action, Start):
            seen.append(after(Seen(action.settings, {}, "open"), action.folds, spending, score))
        else:
            seen[action.trial] = after(seen[action.trial], action.folds, spending, score)
    return seen


def after(trial: Seen, folds: int, spending: StageAware, score: Score) -> Seen:
    scores = {fold: score(trial.settings, fold) for fold in range(folds)}
    probe = score(trial.settings, 0) if spending.probing else None
    return Seen(trial.settings, scores, "complete" if folds == spending.rungs[-1] else "open", probe)


@pytest.mark.parametrize(
    ("first", "folds", "expected"), [(1, 3, (1, 3)), (1, 10, (1, 3, 9, 10)), (2, 5, (2, 5)), (9, 3, (3,))]
)
def test_rungs_end_with_all_folds(first: int, folds: int, expected: tuple[int, ...]) -> None:
    assert rungs(first, folds) == expected


def test_the_best_of_what_was_found_has_all_folds_and_most_have_few() -> None:
    seen = run(deciding(), trials=24)
    complete = [trial for trial in seen if trial.state == "complete"]
    seen.sort(key=lambda trial: -peak(trial.settings, 0))
    assert seen[0].state == "complete"
    assert peak(seen[0].settings, 0) > -0.02
    # of what is clearly worse, some random ones of the start were among the best when they came
    assert sum(trial.state == "complete" for trial in seen[12:]) <= 4
    assert len(complete) < len(seen)


def test_a_trial_goes_on_only_while_it_may_come_out_best() -> None:
    spending = deciding(folds=9)
    best = Seen({MARGIN: 0.5, RATE: 0.9}, dict.fromkeys(range(9), 0.5), "complete")
    seen = [best, Seen({MARGIN: 0.4, RATE: 0.1}, {0: 0.5}, "open"), Seen({MARGIN: 0.2, RATE: 0.8}, {0: 0.5}, "open")]
    expected = {0: Outcome(0.5), 1: Outcome(0.44, 0.05), 2: Outcome(0.4, 0.09)}
    # the second is expected lower, and may come out higher
    assert spending._promoted(seen, expected) == Promote(2, 3)
    assert spending._promoted(seen, {**expected, 2: Outcome(0.4, 0.03)}) == Promote(1, 3)
    assert spending._promoted(seen, {**expected, 1: Outcome(0.4, 0.05), 2: Outcome(0.4, 0.03)}) is None


def test_it_learns_where_chance_does_not() -> None:
    def late(startup: int) -> float:
        seen = run(deciding(startup_trials=startup), trials=24)
        return float(np.mean([-peak(trial.settings, 0) for trial in seen[12:]]))

    assert late(4) < 0.5 * late(24)


def test_the_dearer_an_encoder_the_more_settings_are_tried_on_each() -> None:
    def encoders(price: float) -> int:
        return len({trial.settings[MARGIN] for trial in run(deciding(), trials=24, price=price)})

    assert encoders(100.0) < 0.7 * encoders(0.01)


def test_a_decision_is_a_pure_function_of_what_is_seen() -> None:
    seen = run(deciding(), trials=9)
    assert deciding().next(seen, 4.0) == deciding().next(seen, 4.0)
    assert deciding(seed=6).next(seen, 4.0) != deciding().next(seen, 4.0)


def test_no_setting_is_started_twice_and_a_space_that_is_spent_ends() -> None:
    study = small_study(search={"finetune.encoder": {"choice": ["trained", "frozen"]}})
    spending = StageAware(Space(study), folds=2, first_folds=1, startup_trials=1, trials_per_encoder=1, seed=1)
    seen = run(spending, trials=9, score=lambda settings, _: float(settings["finetune.encoder"] == "frozen"))
    assert sorted(trial.settings["finetune.encoder"] for trial in seen) == ["frozen", "trained"]
    assert [trial.state for trial in seen if trial.settings["finetune.encoder"] == "frozen"] == ["complete"]


def test_what_fails_is_kept_away_from() -> None:
    spending = deciding()
    seen = run(spending, trials=12)
    fail = {MARGIN: 0.31, RATE: 0.69}
    with_failure = [*seen, *(Seen({MARGIN: 0.31 + n / 1000, RATE: 0.69}, {}, "failed") for n in range(5))]

    def distance(known: list[Seen]) -> float:
        action = spending.next(known, 0.0)
        assert isinstance(action, Start)
        return max(abs(action.settings[name] - fail[name]) for name in fail)

    done = [Seen(trial.settings, trial.scores, "complete") for trial in seen]
    assert distance([*done, *with_failure[12:]]) > distance(done)


def test_a_new_encoder_goes_on_only_where_its_probe_is_in_the_better_half() -> None:
    spending = deciding(first_epochs=1, startup_trials=2)
    seen = [Seen({MARGIN: 0.1 * n, RATE: 0.5}, {}, "open", probe) for n, probe in enumerate([0.2, 0.6, 0.5, 0.1])]
    assert spending.next(seen, 1.0, may_start=False) == Promote(1, 1)
    going = [seen[0], Seen(seen[1].settings, {0: 0.4}, "complete", 0.6), *seen[2:]]
    assert spending.next(going, 1.0, may_start=False) == Promote(2, 1)
    gone = [*going[:2], Seen(seen[2].settings, {0: 0.5}, "complete", 0.5), seen[3]]
    assert spending.next(gone, 1.0, may_start=False) is None


def test_first_epochs_come_first_for_a_new_encoder_and_not_for_a_paid_one() -> None:
    starts = []
    known: list[Seen] = []
    spending = deciding(first_epochs=1)
    while action := spending.next(known, 50.0, may_start=len(known) < 16):
        if isinstance(action, Start):
            paid = any(trial.settings[MARGIN] == action.settings[MARGIN] and trial.scores for trial in known)
            starts.append((paid, action.folds))
            known.append(after(Seen(action.settings, {}, "open"), action.folds, spending, peak))
        else:
            known[action.trial] = after(known[action.trial], action.folds, spending, peak)
    assert {folds for paid, folds in starts if paid} == {1}
    assert (False, 0) in starts


def test_levels_of_folds_do_not_reorder_trials() -> None:
    # fold 1 is easier by .4: the first trial is the best although its one score is the lowest
    scores = [{0: 0.40}, {0: 0.30, 1: 0.70}, {0: 0.20, 1: 0.60}, {0: 0.25, 1: 0.65}, {0: 0.10, 1: 0.50}]
    means = without_fold_levels(scores)
    assert means.argmax() == 0
    assert np.all(np.diff(means[[1, 3, 2, 4]]) < 0)


def test_one_fold_alone_is_its_own_mean() -> None:
    assert without_fold_levels([{2: 0.4}, {0: 0.3}]).tolist() == [0.4, 0.3]
