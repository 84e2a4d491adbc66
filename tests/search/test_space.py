"""The space: translation to Optuna's parameters and back, and constraints built into the ranges."""

from __future__ import annotations

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
    assert CONSTRAINED.params(inside) is not None
    assert CONSTRAINED.params({**inside, **outside}) is None


def test_settings_of_the_encoder_are_told_from_those_of_fine_tuning() -> None:
    space = space_of({**SEARCH, "finetune.dropout": {"uniform": [0, 0.4]}})
    assert set(space.finetune_names) == {"finetune.dropout"}
    assert set(space.pretrain_names) == set(SEARCH)
