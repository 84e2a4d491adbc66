"""Samplers by name: joint in every space, pure functions of the known trials, and each does what its name says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from optuna.samplers import RandomSampler
from small_study import small_study

from aar_ray.config import Sampler, Study
from aar_ray.search.proposals import Known, Proposer
from aar_ray.search.samplers import evolved, spread
from aar_ray.search.space import Space

# stage_aware decides by itself, see test_stage_aware.py
SAMPLERS = [name for name in get_args(Sampler.model_fields["name"].annotation) if name != "stage_aware"]

# a constraint, a condition, a choice of lists, steps and a logarithm: whatever a study file can hold
MIXED: dict[str, Any] = {
    "fixed": {},
    "search": {
        "tfc.margin": {"uniform": [0.05, 1.05], "step": 0.25},
        "augment.time_families": {"choice": [["jitter"], ["jitter", "crop"], ["crop"]]},
        "augment.crop_fraction": {
            "uniform": [0.2, 0.9],
            "when": {"augment.time_families": [["jitter", "crop"], ["crop"]]},
        },
        "patchtst.patch_length": {"integer": [4, 16]},
        "patchtst.patch_stride": {"integer": [2, 16]},
        "finetune.learning_rate": {"log_uniform": [1e-4, 1e-2]},
        "finetune.class_weights": {"choice": ["effective_number", "none"]},
        "finetune.class_balance_beta": {
            "choice": [0.9, 0.99, 0.999],
            "when": {"finetune.class_weights": "effective_number"},
        },
    },
    "require": ("patchtst.patch_stride <= patchtst.patch_length",),
}


def mixed(name: str, **sampler: Any) -> Study:
    return small_study(**MIXED, sampler={"name": name, "startup_trials": 3, **sampler})


def run(study: Study, trials: int, score: Callable[[dict[str, Any]], float]) -> list[Known]:
    """Trials with their scores; the one before the next proposal still runs when that is made."""
    known: list[Known] = []
    for number in range(trials):
        last = [Known(known[-1].settings, "running")] if known else []
        proposal = Proposer(study).propose([*known[:-1], *last])
        assert proposal is not None
        settings = proposal.settings
        known.append(
            Known(settings, "complete", score(settings), seconds=1.0 + 10 * settings.get("tfc.margin", number))
        )
    return known


def by_rate(settings: dict[str, Any]) -> float:
    return -abs(math.log(settings["finetune.learning_rate"] / 1e-3))


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("objectives", [["macro_f1"], ["macro_f1", "seconds"]])
def test_no_parameter_is_ever_drawn_apart_and_every_proposal_is_new_and_in_the_space(
    name: str, objectives: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "cma-es" and len(objectives) > 1:
        pytest.skip("CMA-ES has one objective; the study file is refused otherwise")

    def apart(*_: Any) -> None:
        raise AssertionError("drawn apart from the other parameters")

    monkeypatch.setattr(RandomSampler, "sample_independent", apart)
    study = mixed(name, objectives=objectives)
    known = run(study, 11, by_rate)
    space = Space(study)
    # trial 0 has the defaults, which are in the space here too
    assert not any(space.outside(trial.settings) for trial in known)
    assert len({tuple(trial.settings.values()) for trial in known}) == 11


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_proposal_is_a_pure_function_of_what_is_known(name: str) -> None:
    study = mixed(name)
    whole = run(study, 9, by_rate)
    for number in (4, 8):
        last = Known(whole[number - 1].settings, "running")
        again = Proposer(study).propose([*whole[: number - 1], last])
        assert again is not None
        assert again.settings == whole[number].settings


@pytest.mark.parametrize("name", ["tpe", "gp", "cma-es"])
def test_a_sampler_that_learns_comes_nearer_to_the_best_than_chance(name: str) -> None:
    def mean_loss(sampler: str, trials: int = 34) -> float:
        study = small_study(
            search={"tfc.margin": {"uniform": [0.05, 1.0]}, "tfc.contrastive_weight": {"uniform": [0, 1]}},
            sampler={"name": sampler, "startup_trials": 8, "trials_per_encoder": 1},
        )
        known = run(study, trials, lambda settings: -abs(settings["tfc.margin"] - 0.2))
        return -sum(trial.macro_f1 or 0 for trial in known[-10:]) / 10

    assert mean_loss(name) < 0.5 * mean_loss("random")


def test_several_objectives_are_weighed_where_one_ignores_cost() -> None:
    def mean_margin(objectives: list[str]) -> float:
        study = small_study(
            search={"tfc.margin": {"uniform": [0.05, 1.0]}, "tfc.contrastive_weight": {"uniform": [0, 1]}},
            sampler={"name": "tpe", "startup_trials": 8, "trials_per_encoder": 1, "objectives": objectives},
        )
        # more of the margin costs more and scores more
        known = run(study, 40, lambda settings: settings["tfc.margin"])
        return sum(trial.settings["tfc.margin"] for trial in known[-20:]) / 20

    assert mean_margin(["macro_f1"]) > 0.8
    assert mean_margin(["macro_f1", "seconds"]) < 0.7


def test_a_sequence_fills_the_space_more_evenly_than_chance() -> None:
    points = np.array([spread(3, position, 2) for position in range(64)])
    cells = Counter(map(tuple, np.floor(points * 8).astype(int)))
    # 64 points in 8 x 8 cells: a scrambled Sobol sequence has one in each
    assert set(cells.values()) == {1}
    assert not np.array_equal(points[5], spread(4, 5, 2))


def test_the_encoders_of_a_sequence_are_spread_evenly_too() -> None:
    study = small_study(
        search={"tfc.margin": {"uniform": [0.5, 1.0]}, "finetune.learning_rate": {"log_uniform": [1e-4, 1e-2]}},
        sampler={"name": "qmc", "trials_per_encoder": 3},
    )
    known = run(study, 24, lambda _: 0.5)
    margins = list(dict.fromkeys(trial.settings["tfc.margin"] for trial in known))
    assert len(margins) == 8
    # the paper's margin is at an end; the 7 others are points 1 to 7 of the sequence, one in each eighth
    assert len({math.floor((margin - 0.5) * 16) for margin in margins[1:]}) == 7


def test_a_grid_is_run_to_its_end_each_point_once() -> None:
    study = small_study(
        search={
            "tfc.margin": {"uniform": [0.1, 0.9]},
            "finetune.encoder": {"choice": ["trained", "frozen"]},
        },
        sampler={"name": "grid", "grid_points": 5, "trials_per_encoder": 3},
    )
    known = run(study, 10, lambda _: 0.5)
    assert Counter(round(trial.settings["tfc.margin"], 3) for trial in known) == dict.fromkeys(
        [0.1, 0.3, 0.5, 0.7, 0.9], 2
    )
    assert Proposer(study).propose(known) is None


def test_an_encoder_whose_fine_tune_settings_are_all_tried_gives_way_to_a_new_one() -> None:
    study = small_study(
        search={"tfc.margin": {"uniform": [0.1, 0.9]}, "finetune.encoder": {"choice": ["trained", "frozen"]}},
        sampler={"name": "random", "trials_per_encoder": 6},
    )
    known = run(study, 6, lambda _: 0.5)
    assert len({trial.settings["tfc.margin"] for trial in known}) >= 3


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_last_untried_point_of_a_finite_space_is_found(name: str) -> None:
    search = {
        "finetune.batch_size": {"integer": [1, 60]},
        "finetune.encoder": {"choice": ["trained", "frozen"]},
    }
    study = small_study(
        search=search, sampler={"name": name, "startup_trials": 200, "grid_points": 60 if name == "grid" else 3}
    )
    points = list(Space(study).grid(None, {}))
    missing = points.pop(77)
    known = [Known(point, "complete", 0.5) for point in points]
    proposal = Proposer(study).propose(known)
    assert proposal is not None
    assert proposal.settings == missing
    assert Proposer(study).propose([*known, Known(missing, "complete", 0.5)]) is None


def test_an_evolution_follows_the_scores_it_is_told_and_earlier_ones_at_once() -> None:
    target = np.array([0.8, 0.3, 0.6])

    def scored(points: list[Any]) -> list[tuple[Any, float]]:
        return [(point, -float(np.sum((point - target) ** 2))) for point in points]

    def distance(told: list[Any], earlier: list[Any]) -> float:
        drawn = [evolved(seed, told, earlier, 3) for seed in range(40)]
        return float(np.linalg.norm(np.mean(drawn, axis=0) - target))

    told: list[Any] = []
    for number in range(70):
        told += scored([evolved(number, told, [], 3)])
    assert distance([], []) > 0.3
    assert distance(told, []) < 0.1
    assert distance([], scored(list(np.random.default_rng(5).random((70, 3))))) < 0.2
    # a generation that is not whole teaches nothing yet: 7 points in three dimensions
    assert np.array_equal(evolved(1, told[:6], [], 3), evolved(1, [], [], 3))
    assert not np.array_equal(evolved(1, told[:7], [], 3), evolved(1, [], [], 3))
