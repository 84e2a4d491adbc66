"""`precision: auto` of a stage becomes a number type in all places before anything depends on it."""

from __future__ import annotations

from typing import Any

import pytest
from small_study import SMALL, small_study

from aar_ray.search.placement import Placement
from aar_ray.search.precision import settle_precision

PLACEMENT = Placement(groups=1, workers=1, worker_cpus=1, worker_gpus=0, fold_cpus=1, fold_gpus=0, trial_slots=1)


@pytest.mark.parametrize(("section", "stage"), [("pretrain", "pre-training"), ("finetune", "fine-tuning")])
def test_auto_is_settled_on_a_worker_s_machine_and_said(section: str, stage: str, ray_cluster: Any) -> None:
    said: list[str] = []
    study = small_study(fixed={**SMALL["fixed"], f"{section}.precision": "auto"})
    settled = settle_precision(study, PLACEMENT, said.append)
    precision = getattr(settled.reference(), section).precision
    assert precision in ("float32", "bfloat16")
    assert [line.split(":")[0] for line in said] == [f"{stage} in {precision}"]
    assert settled.model_copy(update={"fixed": study.fixed}) == study


def test_a_study_that_names_a_type_is_left_as_it_is() -> None:
    said: list[str] = []
    assert settle_precision(small_study(), PLACEMENT, said.append) == small_study()
    assert said == []


@pytest.mark.parametrize("section", ["pretrain", "finetune"])
def test_auto_is_nothing_to_search(section: str) -> None:
    study = small_study(search={**SMALL["search"], f"{section}.precision": {"choice": ["float32", "auto"]}})
    with pytest.raises(ValueError, match=rf"search\.{section}\.precision must name number types, got auto"):
        settle_precision(study, PLACEMENT, print)
