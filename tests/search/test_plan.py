"""What a plan counts: the trials that the study itself would propose, and their encoders."""

from __future__ import annotations

import pytest
from small_study import small_comparison, small_study

from aar_ray.config import settings_from
from aar_ray.search.artifacts import PretrainStage
from aar_ray.search.plan import proposed

STAGE = PretrainStage(corpus="c" * 20, workers=1)


def encoders(trials: list[dict[str, object]]) -> int:
    return len({STAGE.key(settings_from(trial["settings"]), trial["seed"]) for trial in trials})  # type: ignore[arg-type]


@pytest.mark.parametrize("slots", [1, 2])
def test_a_plan_has_the_searchs_trials_its_confirmation_and_their_encoders(slots: int) -> None:
    study = small_study(budget={"trials": 6}, confirm={"best": 2, "seeds": 2}, resources={"trial_slots": slots})
    trials = proposed(study, [], 3)
    assert [trial["trial"] for trial in trials] == list(range(10))
    # two trials share an encoder; equal scores confirm trials 0 and 1, whose encoder is one, on two fresh seeds
    assert encoders(trials) == 3 + 2


def test_a_plan_is_of_what_is_still_to_come() -> None:
    study = small_study(budget={"trials": 6}, confirm={"best": 0})
    first, second, *_ = proposed(study, [], 3)
    events = []
    for trial in (first, second):
        settings = {name: trial["settings"][name] for name in study.search}
        events.append({"event": "trial_started", "trial": trial["trial"], "settings": settings, "seed": study.seed})
    events.append({"event": "trial_finished", "trial": 0, "state": "complete", "macro_f1": 0.5, "reason": None})
    # trial 1 was begun and has no end
    assert [trial["trial"] for trial in proposed(study, events, 3)] == [1, 2, 3, 4, 5]
    assert len(events) == 3


def test_a_comparison_is_planned_by_its_arms_and_seeds() -> None:
    arms = {"trained": {}, "frozen": {"finetune.encoder": "frozen"}}
    trials = proposed(small_comparison(arms, seeds=3), [], 3)
    assert (len(trials), encoders(trials)) == (6, 3)
