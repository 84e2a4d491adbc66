"""The schema of a study: defaults that keep their own rules, names that go there and back, trial 0."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aar_ray.config import (
    PRETRAIN_SECTIONS,
    Choice,
    Integer,
    LogUniform,
    Settings,
    Study,
    Uniform,
    dotted,
    nearest,
    settings_from,
)

GOATS = {"name": "goats", "reader": "simulated", "species": "goat", "animals": 5, "minutes_per_animal": 2.0}
COWS = {**GOATS, "name": "cows", "species": "cattle"}


def study(**sections: Any) -> Study:
    return Study.model_validate(
        {
            "name": "herd",
            "data": {"unlabelled": [COWS], "labelled": GOATS},
            "search": {"tfc.margin": {"uniform": [0.05, 1.0]}},
            "budget": {"trials": 1},
            **sections,
        }
    )


@pytest.mark.parametrize(("name", "value"), dotted(Settings()).items())
def test_every_default_keeps_its_own_rule(name: str, value: Any) -> None:
    assert settings_from({name: value}) == Settings()


@pytest.mark.parametrize("section", Settings.model_fields)
def test_every_setting_says_what_it_is(section: str) -> None:
    part = type(getattr(Settings(), section))
    assert all(field.description for field in part.model_fields.values())


def test_every_section_concerns_pre_training_or_fine_tuning_alone() -> None:
    assert set(Settings.model_fields) - set(PRETRAIN_SECTIONS) == {"classifier", "finetune"}


@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            "tfc.contrastive_weight": st.floats(0, 1),
            "tfc.margin": st.floats(0, 1e6, exclude_min=True),
            "tfc.distance": st.sampled_from(["cosine", "euclidean"]),
            "patchtst.patch_length": st.integers(4, 1000),
            "patchtst.patch_stride": st.integers(1, 4),
            "augment.time_families": st.lists(st.sampled_from(["jitter", "crop", "rotation"]), min_size=1, unique=True),
            "classifier.fused_size": st.none() | st.integers(1, 512),
            "finetune.epochs": st.integers(1, 10**6),
        },
    )
)
def test_dotted_names_go_there_and_back(values: dict[str, Any]) -> None:
    settings = settings_from(values)
    assert dotted(settings) == {**dotted(Settings()), **values}
    assert settings_from(dotted(settings)) == settings


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"tfc.marign": 0.5}, "Extra inputs are not permitted"),
        ({"margin": 0.5}, "Extra inputs are not permitted"),
        ({"tfc.contrastive_weight": 1.01}, "less than or equal to 1"),
        ({"tfc.margin": math.nan}, "finite number"),
        ({"finetune.epochs": 15.0}, "valid integer"),
        ({"finetune.epochs": True}, "valid integer"),
        ({"patchtst.model_size": 60}, r"heads must divide patchtst\.model_size, got 8 and 60"),
        ({"patchtst.patch_stride": 9}, r"patch_stride must be at most patchtst\.patch_length.* got 9 and 8"),
        ({"augment.time_families": []}, "time_families must name one or more of"),
        ({"augment.frequency_families": ["masking", "masking"]}, "each once"),
    ],
)
def test_settings_that_break_a_rule_are_refused(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        settings_from(values)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().tfc.margin = 2.0  # type: ignore[misc]


def test_window_is_a_whole_number_of_samples() -> None:
    data = {"unlabelled": [COWS], "labelled": GOATS}
    assert study(data=data).data.window_samples == 50
    assert study(data={**data, "rate_hz": 12.5, "step_seconds": 0.08}).data.window_samples == 25
    with pytest.raises(
        ValidationError, match=r"step_seconds times rate_hz must be a whole number of samples, got 12\.5"
    ):
        study(data={**data, "step_seconds": 0.5})


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "-x", "a/b", "a b", "", "a\n"])
def test_name_of_a_study_stays_inside_its_folder(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        study(name=name)


def test_study_is_simulated_where_one_source_is() -> None:
    files = {"name": "c", "reader": "csv", "path": "c", "species": "cattle", "rate_hz": 10.54, "unit": "mg"}
    assert study(data={"unlabelled": [files], "labelled": GOATS}).simulated
    assert study(data={"unlabelled": [COWS], "labelled": files}).simulated
    assert not study(data={"unlabelled": [{**files, "name": "d"}], "labelled": files}).simulated


def test_trial_0_has_every_default_beside_what_is_fixed() -> None:
    reference = dotted(study(fixed={"finetune.epochs": 7}).reference())
    assert reference == {**dotted(Settings()), "finetune.epochs": 7}


def test_trial_0_is_a_point_of_the_search() -> None:
    search = {
        "tfc.margin": {"uniform": [0.7, 1.0]},
        "patchtst.patch_length": {"integer": [2, 6]},
        "patchtst.heads": {"choice": [4, 2]},
        "patchtst.patch_stride": {"integer": [1, 2]},
    }
    reference = study(search=search).reference()
    patchtst = reference.patchtst
    assert (reference.tfc.margin, patchtst.patch_length, patchtst.heads, patchtst.patch_stride) == (0.7, 6, 4, 2)


@pytest.mark.parametrize(
    ("distribution", "value", "expected"),
    [
        (Uniform(uniform=(0.1, 0.9)), 0.5, 0.5),
        (Uniform(uniform=(0.1, 0.9)), 2.0, 0.9),
        (Uniform(uniform=(0.1, 0.9), step=0.2), 0.5, 0.5),
        (Uniform(uniform=(0.1, 0.9), step=0.4), 0.65, 0.5),
        (LogUniform(log_uniform=(1e-4, 1e-2)), 1e-5, 1e-4),
        (LogUniform(log_uniform=(1e-4, 1e-2)), 3e-4, 3e-4),
        (Integer(integer=(4, 16), step=4), 9, 8),
        (Integer(integer=(4, 16)), 40, 16),
        (Integer(integer=(4, 16)), None, 4),
        (Choice(choice=("layer", "batch")), "batch", "batch"),
        (Choice(choice=(64, 32)), 128, 64),
    ],
)
def test_nearest_value_of_a_distribution(distribution: Any, value: Any, expected: Any) -> None:
    found = nearest(distribution, value)
    assert found == pytest.approx(expected) if isinstance(expected, float) else found == expected


@given(low=st.integers(-50, 50), count=st.integers(1, 20), step=st.integers(1, 7), quarters=st.integers(-2000, 2000))
def test_nearest_value_is_one_that_is_drawn_and_no_other_is_nearer(
    low: int, count: int, step: int, quarters: int
) -> None:
    value = quarters / 4  # exact, so that ties are ties
    drawn = range(low, low + count * step + 1, step)
    found = nearest(Integer(integer=(drawn[0], drawn[-1]), step=step), value)
    assert found in drawn
    assert abs(found - value) == min(abs(other - value) for other in drawn)
