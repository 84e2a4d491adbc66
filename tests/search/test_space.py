"""The space: translation to Optuna's parameters and back, and constraints built into the ranges."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution
from small_study import small_study

from aar_ray.search.space import Space

SEARCH = {
    "tfc.contrastive_weight": {"uniform": [0.1, 0.9]},
    "pretrain.learning_rate": {"log_uniform": [1e-5, 1e-2]},
    "patchtst.patch_length": {"integer": [5, 17]},
    "patchtst.patch_stride": {"integer": [2, 13]},
    "augment.time_families": {"choice": [["jitter"], ["jitter", "crop"]]},
}


def space_of(search: dict[str, object] = SEARCH, require: tuple[str, ...] = ()) -> Space:
    return Space(small_study(search=search, require=require, fixed={}))


CONSTRAINED = space_of(require=("patchtst.patch_stride <= patchtst.patch_length",))


def any_params(space: Space) -> st.SearchStrategy[dict[str, object]]:
    def values(distribution: object) -> st.SearchStrategy[object]:
        if isinstance(distribution, CategoricalDistribution):
            return st.sampled_from(distribution.choices)
        if hasattr(distribution, "log") and isinstance(distribution.low, int):
            return st.integers(distribution.low, distribution.high)
        return st.floats(distribution.low, distribution.high)

    return st.fixed_dictionaries({name: values(each) for name, each in space.distributions.items()})


@given(any_params(CONSTRAINED))
def test_every_parameter_vector_is_a_setting_that_meets_the_constraint(params: dict[str, object]) -> None:
    settings = CONSTRAINED.settings(params, {})
    assert settings["patchtst.patch_stride"] <= settings["patchtst.patch_length"]
    assert 2 <= settings["patchtst.patch_stride"] <= 13
    assert 5 <= settings["patchtst.patch_length"] <= 17
    assert isinstance(settings["patchtst.patch_stride"], int)


@given(any_params(CONSTRAINED))
def test_settings_survive_the_way_to_optuna_and_back(params: dict[str, object]) -> None:
    settings = CONSTRAINED.settings(params, {})
    back = CONSTRAINED.params(settings)
    assert back is not None
    assert CONSTRAINED.settings(back, {}) == settings
    point = CONSTRAINED.point(settings)
    assert point is not None
    again = CONSTRAINED.settings_at(point, {})
    assert again == {name: pytest.approx(value) if isinstance(value, float) else value for name, value in again.items()}


def test_shares_spread_evenly_over_the_strides_that_a_length_leaves() -> None:
    rest = {"tfc.contrastive_weight": 0.5, "pretrain.learning_rate": 1e-3, "augment.time_families": 0}
    strides = [
        CONSTRAINED.settings({**rest, "patchtst.patch_length": 7, "patchtst.patch_stride": (number + 0.5) / 60}, {})[
            "patchtst.patch_stride"
        ]
        for number in range(60)
    ]
    # 2 to 7 are six strides
    assert {stride: strides.count(stride) for stride in set(strides)} == dict.fromkeys(range(2, 8), 10)


def test_a_logarithmic_share_stays_under_its_bound() -> None:
    space = space_of(
        {
            "finetune.learning_rate": {"log_uniform": [1e-5, 1e-1]},
            "pretrain.learning_rate": {"log_uniform": [1e-4, 1e-2]},
        },
        require=("finetune.learning_rate <= pretrain.learning_rate",),
    )
    middle = space.settings({"pretrain.learning_rate": 1e-3, "finetune.learning_rate": 0.5}, {})
    # half the way from 1e-5 to 1e-3, in logarithms
    assert middle["finetune.learning_rate"] == pytest.approx(1e-4)
    end = space.settings({"pretrain.learning_rate": 1e-3, "finetune.learning_rate": 1.0}, {})
    assert end["finetune.learning_rate"] <= 1e-3


def test_the_larger_setting_always_leaves_the_smaller_one_a_range() -> None:
    space = space_of(
        {"patchtst.patch_length": {"integer": [2, 17]}, "patchtst.patch_stride": {"integer": [4, 11]}},
        require=("patchtst.patch_stride <= patchtst.patch_length",),
    )
    assert space.distributions["patchtst.patch_length"].low == 4
    assert space.settings({"patchtst.patch_length": 4, "patchtst.patch_stride": 0.99}, {})["patchtst.patch_stride"] == 4


@pytest.mark.parametrize(
    "outside",
    [
        {"tfc.contrastive_weight": 0.95},
        {"augment.time_families": ("crop",)},
        {"patchtst.patch_stride": 9, "patchtst.patch_length": 8},
    ],
)
def test_values_outside_the_space_have_no_parameters(outside: dict[str, object]) -> None:
    inside = {
        "tfc.contrastive_weight": 0.5,
        "pretrain.learning_rate": 1e-3,
        "patchtst.patch_length": 8,
        "patchtst.patch_stride": 4,
        "augment.time_families": ("jitter",),
    }
    assert CONSTRAINED.outside(inside) is None
    assert CONSTRAINED.outside({**inside, **outside}) in outside


def test_settings_of_the_encoder_are_told_from_those_of_fine_tuning() -> None:
    space = space_of({**SEARCH, "finetune.dropout": {"uniform": [0, 0.4]}})
    assert set(space.finetune_names) == {"finetune.dropout"}
    assert set(space.pretrain_names) == set(SEARCH)


# --- conditions --------------------------------------------------------------------------------------------------

CHAIN: dict[str, Any] = {
    "finetune.class_balance_beta": {"choice": [0.9, 0.99], "when": {"finetune.class_weights": "effective_number"}},
    "finetune.class_weights": {"choice": ["none", "effective_number"], "when": {"finetune.encoder": ["trained"]}},
    "finetune.encoder": {"choice": ["trained", "frozen"]},
    "finetune.dropout": {"fixed": 0.3, "when": {"finetune.encoder": "frozen"}},
}
CONDITIONAL = space_of(CHAIN)


@given(any_params(CONDITIONAL))
def test_a_setting_whose_condition_fails_has_its_default(params: dict[str, object]) -> None:
    settings = CONDITIONAL.settings(params, {})
    frozen = settings["finetune.encoder"] == "frozen"
    # the default of the class weights is effective_number, and β varies under it: also where it is a default
    assert (settings["finetune.class_weights"] == "effective_number") or not frozen
    assert (settings["finetune.class_balance_beta"] == 0.999) == (settings["finetune.class_weights"] == "none")
    assert settings["finetune.dropout"] == (0.3 if frozen else 0.1)
    assert list(settings) == list(CHAIN)
    assert CONDITIONAL.outside(settings) is None


def test_a_value_without_effect_other_than_the_default_lies_outside() -> None:
    inside = {
        "finetune.class_balance_beta": 0.999,
        "finetune.class_weights": "none",
        "finetune.encoder": "trained",
        "finetune.dropout": 0.1,
    }
    assert CONDITIONAL.outside(inside) is None
    assert CONDITIONAL.outside({**inside, "finetune.class_balance_beta": 0.9}) == "finetune.class_balance_beta"
    assert CONDITIONAL.outside({**inside, "finetune.dropout": 0.3}) == "finetune.dropout"


def test_a_value_without_effect_is_told_as_drawn_by_chance_and_the_same_whenever_it_is_told() -> None:
    space = space_of({**CHAIN, "finetune.weight_decay": {"uniform": [0.0, 1.0]}})
    settings = dict.fromkeys(CHAIN)
    settings |= {"finetune.class_balance_beta": 0.999, "finetune.class_weights": "none", "finetune.encoder": "trained"}
    settings |= {"finetune.dropout": 0.1}
    told = []
    for number in (*range(400), 0):
        params = space.params({**settings, "finetune.weight_decay": number / 400})
        assert params is not None
        assert (params["finetune.class_weights"], params["finetune.encoder"]) == (0, 0)
        told.append(params["finetune.class_balance_beta"])
    assert told[0] == told[-1]
    # 200 of either in the mean, with a standard deviation of 10
    assert 150 < sum(told) < 250


def test_all_points_of_a_finite_space_are_listed_once() -> None:
    points = list(CONDITIONAL.grid(None, {}))
    # frozen: two β of the default class weights; trained: no weights, or weights with two β
    assert len(points) == 2 + 1 + 2
    assert not any(map(CONDITIONAL.outside, points))
    assert CONDITIONAL.size() == 2 * 2 * 2 * 1


def test_all_strides_of_every_length_are_listed() -> None:
    space = space_of(
        {"patchtst.patch_length": {"integer": [2, 17]}, "patchtst.patch_stride": {"integer": [4, 11]}},
        require=("patchtst.patch_stride <= patchtst.patch_length",),
    )
    pairs = {(point["patchtst.patch_length"], point["patchtst.patch_stride"]) for point in space.grid(None, {})}
    assert pairs == {(length, stride) for length in range(4, 18) for stride in range(4, min(length, 11) + 1)}


def test_a_grid_has_both_ends_of_a_range_and_every_choice() -> None:
    space = space_of(
        {
            "tfc.margin": {"uniform": [0.2, 1.0]},
            "finetune.learning_rate": {"log_uniform": [1e-4, 1e-2]},
            "patchtst.patch_length": {"integer": [8, 16]},
            "finetune.encoder": {"choice": ["trained", "frozen"]},
        }
    )
    points = list(space.grid(3, {}))
    assert len(points) == space.size(3) == 54
    assert sorted({point["tfc.margin"] for point in points}) == pytest.approx([0.2, 0.6, 1.0])
    assert sorted({point["finetune.learning_rate"] for point in points}) == pytest.approx([1e-4, 1e-3, 1e-2])
    assert {point["patchtst.patch_length"] for point in points} == {8, 12, 16}


@pytest.mark.parametrize("ends", [[3e-5, 3e-3], [1e-4, 1e-1], [7e-6, 0.9]])
def test_every_point_of_a_logarithmic_grid_lies_in_its_space(ends: list[float]) -> None:
    # exp(log(3e-5)) is below 3e-5
    space = space_of({"finetune.learning_rate": {"log_uniform": ends}, "tfc.margin": {"uniform": [0.2, 1.0]}})
    points = list(space.grid(3, {}))
    assert [space.outside(point) for point in points] == [None] * 9
    assert all(space.params(point) is not None for point in points)


def test_a_larger_setting_in_steps_begins_at_a_step_of_its_own() -> None:
    space = space_of(
        {"patchtst.patch_length": {"integer": [2, 18], "step": 4}, "patchtst.patch_stride": {"integer": [4, 11]}},
        require=("patchtst.patch_stride <= patchtst.patch_length",),
    )
    # 2 leaves no stride, and 4 is no step of 2, 6, 10, ...
    assert space.distributions["patchtst.patch_length"].low == 6
