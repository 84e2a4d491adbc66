"""The front of macro-F1 and cost."""

from __future__ import annotations

import math

import fake_journal as journal
import numpy as np

from aar_ray.search.pareto import on_front
from aar_ray.search.ranking import rank


def test_the_front_is_what_a_sweep_by_cost_leaves() -> None:
    draw = np.random.default_rng(2)
    scores, costs = draw.random(97), draw.random(97)
    best, swept = -1.0, set()
    for index in np.argsort(costs):
        if scores[index] > best:
            best = scores[index]
            swept.add(int(index))
    assert {index for index, on in enumerate(on_front(list(scores), list(costs))) if on} == swept


def test_equal_points_are_on_the_front_together_and_one_without_a_score_never() -> None:
    assert on_front([0.5, 0.5, 0.5, math.nan], [1.0, 1.0, 2.0, 0.1]) == [True, True, False, False]


def test_the_ranking_marks_the_front_by_the_cost_of_one_run() -> None:
    def trial(number: int, scores: list[float], seconds: float, **about: object) -> list[journal.Event]:
        key = f"{number}" * 20
        return [
            *journal.trial_started(number, {"tfc.margin": 0.1 * (number + 1)}, **about),
            *journal.pretrained(number, seconds=seconds, key=key),
            *journal.folds(number, dict(zip(journal.ANIMALS, scores, strict=True))),
            *journal.finished(number, sum(scores) / 3),
        ]

    events = [
        *journal.started(),
        *trial(0, [0.5, 0.6, 0.7], 10.0),
        *trial(1, [0.6, 0.7, 0.8], 20.0),
        *trial(2, [0.4, 0.6, 0.7], 15.0),
    ]
    assert rank(events).set_index("trial")["pareto"].to_dict() == {1: True, 0: True, 2: False}
    # a second seed costs once more and makes the setting no dearer
    again = [*events, *trial(3, [0.6, 0.7, 0.8], 20.0, repeat_of=1, origin="repeat")]
    assert rank(again).set_index("trial")["pareto"].to_dict() == {1: True, 0: True, 2: False}
