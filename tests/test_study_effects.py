"""A search that cannot change a result is refused with the reason; one that can is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from wrong_study_files import BASE, loaded, problems_of

from aar_ray.study_file.effects import NEEDS

# what is searched, what else makes it idle, what else makes it matter again, and the reason
IDLE = [
    ("tfc.margin={uniform: [0.1, 1]}", ["tfc.margin_form=linear"], ["tfc.margin_form=hinge"], "without a gradient"),
    ("tfc.margin={uniform: [2, 4]}", [], ["search.tfc.margin={uniform: [1.9, 4]}"], "beyond every distance"),
    ("tfc.margin_form={choice: [hinge, linear]}", ["tfc.margin=2"], ["tfc.margin=1.9"], "beyond every distance"),
    (
        "tfc.distance={choice: [cosine, euclidean]}",
        ["tfc.margin=1", "tfc.contrastive_weight=1"],
        ["search.tfc.contrastive_weight={uniform: [0.9, 1]}"],
        "leaves the consistency loss out",
    ),
    (
        "tfc.projector_size={integer: [16, 64]}",
        ["tfc.margin=1", "tfc.contrastive_weight=1"],
        ["search.tfc.alignment_weight={choice: [0, 1]}"],
        "leave z out of the loss",
    ),
    (
        "tfc.contrastive_form={choice: [decoupled, nt_xent]}",
        ["tfc.contrastive_weight=0", "tfc.alignment_weight=1"],
        ["tfc.contrastive_weight=0.1"],
        "leaves the contrastive losses out",
    ),
    (
        "tfc.temperature={uniform: [0.1, 1]}",
        ["tfc.contrastive_weight=0"],
        ["tfc.alignment_weight=1"],
        "leave the contrastive losses out",
    ),
    (
        "augment.rotation_degrees={uniform: [5, 45]}",
        [],
        ["augment.time_families=[rotation]"],
        "augment.rotate_first is false",
    ),
    (
        "augment.rotation_axis={choice: [any, z]}",
        ["augment.rotation_degrees=0", "augment.rotate_first=true"],
        ["augment.rotation_degrees=9"],
        "augment.rotation_degrees is 0",
    ),
    (
        "finetune.rotation_axis={choice: [any, z]}",
        [],
        ["finetune.rotation_degrees=9"],
        "finetune.rotation_degrees is 0",
    ),
    (
        "finetune.context_form={choice: [mean, own_mean_spread]}",
        [],
        ["finetune.context_seconds=30"],
        "finetune.context_seconds is 0",
    ),
    (
        "finetune.layer_decay={uniform: [0.5, 1]}",
        ["finetune.encoder=frozen"],
        ["finetune.encoder=trained"],
        "leaves the head alone",
    ),
    (
        "augment.crop_fraction={uniform: [0.1, 1]}",
        ["augment.time_families=[jitter]"],
        ["search.augment.time_families={choice: [[jitter], [jitter, crop]]}"],
        "time_families never holds crop",
    ),
    (
        "augment.masked_share={uniform: [0.1, 0.5]}",
        ["augment.frequency_families=[perturbation]"],
        ["augment.frequency_families=[masking]"],
        "frequency_families never holds masking",
    ),
    (
        "augment.perturbed_share={uniform: [0.1, 1]}",
        ["augment.perturbation_strength=0"],
        ["augment.perturbation_strength=0.1"],
        "changes no bin",
    ),
    (
        "classifier.fused_size={integer: [8, 64]}",
        ["classifier.convolution=none"],
        ["classifier.convolution=across_axes"],
        "never across_axes",
    ),
    (
        "finetune.class_balance_beta={uniform: [0.9, 0.99]}",
        ["finetune.class_weights=none"],
        ["finetune.class_weights=effective_number"],
        "never effective_number",
    ),
    (
        "finetune.optimiser={choice: [adam, adamw]}",
        ["finetune.weight_decay=0"],
        ["finetune.weight_decay=0.1"],
        "adam and adamw are the same",
    ),
    (
        "finetune.patience={integer: [5, 9]}",
        ["finetune.selection=last"],
        ["finetune.selection=accuracy"],
        "trains all epochs",
    ),
    ("finetune.patience={integer: [5, 9]}", ["finetune.epochs=5"], ["finetune.epochs=6"], "never stops early"),
    (
        "finetune.selection={choice: [macro_f1, accuracy]}",
        ["finetune.epochs=1"],
        ["finetune.epochs=2"],
        "no epoch to choose",
    ),
    (
        "tfc.negatives={choice: [global, local]}",
        [],
        ["resources.pretrain.workers=2"],
        "no other worker",
    ),
]


@pytest.mark.parametrize(("searched", "idle", "matters", "reason"), IDLE, ids=[searched for searched, *_ in IDLE])
def test_a_search_in_vain_is_refused_until_it_matters(
    tmp_path: Path, searched: str, idle: list[str], matters: list[str], reason: str
) -> None:
    overrides = [f"search.{searched}", *idle]
    (problem,) = problems_of(tmp_path / "study.yaml", BASE, *overrides)
    assert problem.startswith(
        f"--set search.{searched}: search.{searched.partition('=')[0]}: searching it changes noth"
    )
    assert reason in problem
    study = loaded(tmp_path / "study.yaml", BASE, *overrides, *matters)
    assert searched.partition("=")[0] in study.search


def test_each_reason_is_tried() -> None:
    # one family of each domain stands for its others
    one_each = [need for need in NEEDS if "never holds" not in need.reason and "never changes" not in need.reason]
    assert [need.reason for need in one_each if not any(reason in need.reason for *_, reason in IDLE)] == []


def test_what_is_wrong_itself_decides_nothing(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "study.yaml", BASE, "tfc.margin_form=lineal")
    assert "did you mean linear?" in problem


def test_how_often_a_probe_looks_is_never_searched(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "study.yaml", BASE, "search.pretrain.probe_every={integer: [1, 9]}")
    assert "never changes it" in problem


def test_without_pre_training_none_of_its_settings_is_searched(tmp_path: Path) -> None:
    given = ["finetune.initial_weights=random", "search.tfc.temperature={uniform: [0.1, 1]}"]
    problems = problems_of(tmp_path / "study.yaml", BASE, *given)
    assert any("search.tfc.temperature" in each and "no encoder is pre-trained" in each for each in problems)
