"""Settings that vary only under a condition: read as written, with their defaults elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from wrong_study_files import BASE, ENCODER, changed, loaded, problems_of

from aar_ray.study_file.loader import load_study, save_study

BETA = (
    "finetune.class_weights: {choice: [none, effective_number]}\n"
    "  finetune.class_balance_beta: {choice: [0.9, 0.99], when: {finetune.class_weights: effective_number}}"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "study.yaml"


def test_conditions_are_read_written_and_read_back_equal(file: Path, tmp_path: Path) -> None:
    study = loaded(file, changed((ENCODER, BETA)))
    assert study.conditions == {"finetune.class_balance_beta": {"finetune.class_weights": ("effective_number",)}}
    save_study(study, tmp_path / "again.yaml")
    assert load_study(tmp_path / "again.yaml") == study


def test_trial_0_has_the_default_of_what_does_not_vary_in_it(file: Path) -> None:
    # the default of the class weights is effective_number, under which β takes the first choice; else its default
    assert loaded(file, changed((ENCODER, BETA))).reference().finetune.class_balance_beta == 0.9
    other = BETA.replace("[none, effective_number]", "[none, inverse_frequency]").replace(
        "when: {finetune.class_weights: effective_number}", "when: {finetune.encoder: frozen}"
    )
    text = changed((ENCODER, f"{ENCODER}\n  {other.replace('inverse_frequency', 'effective_number')}"))
    assert loaded(file, text).reference().finetune.class_balance_beta == 0.999


def test_a_condition_on_a_list_takes_one_list_as_one_value(file: Path) -> None:
    families = "augment.time_families: {choice: [[jitter], [jitter, crop], [crop]]}"
    fraction = "augment.crop_fraction: {uniform: [0.1, 0.9], when: {augment.time_families: VALUES}}"

    def accepted(values: str) -> tuple[object, ...]:
        text = changed((ENCODER, f"{families}\n  {fraction.replace('VALUES', values)}"))
        return loaded(file, text).conditions["augment.crop_fraction"]["augment.time_families"]

    assert accepted("[jitter, crop]") == (("jitter", "crop"),)
    assert accepted("[[jitter, crop], [crop]]") == (("jitter", "crop"), ("crop",))


def test_what_a_condition_rules_out_is_no_mistake(file: Path) -> None:
    # 3 heads divide 48 and not 64, and are tried with 48 alone; 8, the default, divides both
    heads = "patchtst.heads: {choice: [3, 6], when: {patchtst.model_size: 48}}"
    sizes = ("  patchtst.model_size: 64\n", ""), (ENCODER, f"patchtst.model_size: {{choice: [48, 64]}}\n  {heads}")
    study = loaded(file, changed(*sizes))
    assert (study.reference().patchtst.heads, study.reference().patchtst.model_size) == (3, 48)
    (problem,) = problems_of(file, changed(*sizes).replace("{patchtst.model_size: 48}", "{patchtst.model_size: 64}"))
    assert "patchtst.heads must divide patchtst.model_size" in problem


def test_fixing_what_decides_keeps_or_refuses_the_condition(file: Path) -> None:
    text = changed((ENCODER, BETA))
    study = loaded(file, text, "finetune.class_weights=effective_number")
    assert "finetune.class_balance_beta" in study.search
    (problem,) = problems_of(file, text, "finetune.class_weights=none")
    assert "must be a value that finetune.class_weights can have, 'none', got 'effective_number'" in problem


def test_a_searched_setting_may_be_fixed_in_its_place(file: Path, tmp_path: Path) -> None:
    study = loaded(file, changed((ENCODER, "finetune.encoder: {fixed: frozen}")))
    assert study.reference().finetune.encoder == "frozen"
    save_study(study, tmp_path / "again.yaml")
    assert load_study(tmp_path / "again.yaml") == study
    assert BASE.count("fixed") == 1
