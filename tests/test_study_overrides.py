"""`--set name=value`: what an override changes, and how its errors read."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML
from small_study import SMALL
from wrong_study_files import BASE, STRIDE_LE_LENGTH, changed, loaded, problems_of

from aar_ray.study_file.loader import StudyFileError, load_study


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "study.yaml"


def test_override_fixes_a_setting_that_was_searched_and_drops_its_constraints(file: Path) -> None:
    study = loaded(file, BASE, "patchtst.patch_stride=3", "tfc.temperature=0.5")
    assert study.fixed == {"patchtst.model_size": 64, "tfc.temperature": 0.5, "patchtst.patch_stride": 3}
    assert "patchtst.patch_stride" not in study.search
    assert study.require == ()


def test_override_searches_a_setting_that_was_fixed(file: Path) -> None:
    study = loaded(file, BASE, "search.tfc.temperature={uniform: [0.1, 0.3]}")
    assert "tfc.temperature" not in study.fixed
    assert study.search["tfc.temperature"].model_dump(exclude_none=True) == {"uniform": (0.1, 0.3)}
    assert study.require == (STRIDE_LE_LENGTH,)


def test_override_names_a_way_through_the_file(file: Path) -> None:
    study = loaded(
        file,
        BASE,
        "budget.trials=9",
        "budget.hours=0.5",
        "data.unlabelled.0.animals=7",
        "resources.pretrain.workers=2",
        "store=s3://bucket/store",
    )
    assert (study.budget.trials, study.budget.hours) == (9, 0.5)
    assert study.data.unlabelled[0].model_dump()["animals"] == 7
    assert (study.resources.pretrain.workers, study.store) == (2, "s3://bucket/store")


def test_the_last_override_of_a_name_counts(file: Path) -> None:
    assert loaded(file, BASE, "budget.trials=x", "budget.trials=9").budget.trials == 9


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("budget.trials=x", "budget.trials: must be a whole number, got 'x'"),
        ("budget.trials=", "budget.trials: must be given for a search"),
        ("budget.trails=4", "budget.trails: unknown name; did you mean trials?"),
        ("budget.trials", "budget.trials: an override must read name=value"),
        ("=4", "an override must read name=value"),
        ("budget..trials=4", "budget..trials: an override must read name=value"),
        ("name.first=x", "name.first: name holds no names"),
        ("tfc.marign=1", "fixed.tfc.marign: unknown setting; did you mean tfc.margin?"),
        ("tfc.margin=-1", "fixed.tfc.margin: must be above 0, got -1"),
        (
            "search.tfc.margin=[0, 1]",
            "search.tfc.margin: must be one of uniform, log_uniform, integer, choice or fixed",
        ),
        ("data.unlabelled.2.animals=1", "data.unlabelled.2.animals: must name one of 0 to 1, got 2"),
        ("data.unlabelled.first.animals=1", "data.unlabelled.first.animals: must name one of 0 to 1, got first"),
        (
            "data.labelled.species=gaot",
            "data.labelled.species: must be 'cattle', 'sheep', 'horse' or 'goat', got 'gaot'",
        ),
        ("budget.hours=[1", "budget.hours: must be valid YAML: expected ',' or ']'"),
        ("budget.hours=.inf", "budget.hours: must be finite, got .inf"),
    ],
)
def test_wrong_override_is_quoted_with_its_error(file: Path, override: str, said: str) -> None:
    (problem,) = problems_of(file, BASE, override)
    assert problem.startswith(f"--set {override}: {said}")


def test_errors_of_overrides_follow_those_of_the_file(file: Path) -> None:
    problems = problems_of(file, changed(("seed: 3", "seed: x")), "name=1", "budget.trials=0")
    assert [problem.split(": ")[0] for problem in problems] == ["2:7", "--set name=1", "--set budget.trials=0"]


def test_what_an_override_leaves_out_is_missing_in_the_override(file: Path) -> None:
    override = "data.unlabelled.1={name: sheep, reader: csv, path: s.csv, species: sheep, rate_hz: 25}"
    assert problems_of(file, BASE, override) == [f"--set {override}: data.unlabelled.1.unit: must be given"]


def test_override_of_one_entry_leaves_the_places_of_others(file: Path) -> None:
    problems = problems_of(file, changed(("unit: mg", "unit: kg")), "data.unlabelled.1.rate_hz=25", "tfc.margin=0.3")
    assert [problem.split(": ")[0] for problem in problems] == ["11:13"]


def test_first_epochs_are_refused_where_nothing_is_pre_trained(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    study = {**SMALL, "sampler": {"name": "stage_aware", "first_epochs": 1}}
    study["search"] = {"finetune.learning_rate": {"log_uniform": [1e-4, 1e-2]}}
    YAML().dump(study, file)
    assert load_study(file).sampler.first_epochs == 1
    study["fixed"] = {**SMALL["fixed"], "finetune.initial_weights": "random"}
    YAML().dump(study, file)
    with pytest.raises(StudyFileError, match=r"sampler\.first_epochs: judges encoders by their first epochs"):
        load_study(file)
