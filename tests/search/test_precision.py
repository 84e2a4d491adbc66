"""`pretrain.precision: auto` becomes a number type in all places before anything depends on it."""

from __future__ import annotations

from typing import Any

import pytest
from small_study import SMALL, small_study

from aar_ray.search.placement import Placement
from aar_ray.search.precision import settle_precision

PLACEMENT = Placement(groups=1, workers=1, worker_cpus=1, worker_gpus=0, fold_cpus=1, fold_gpus=0, trial_slots=1)


def test_auto_is_settled_on_a_worker_s_machine_and_said(ray_cluster: Any) -> None:
    said: list[str] = []
    study = small_study(fixed={**SMALL["fixed"], "pretrain.precision": "auto"})
    settled = settle_precision(study, PLACEMENT, said.append)
    precision = settled.reference().pretrain.precision
    assert precision in ("float32", "bfloat16")
    assert said[0].startswith(f"pre-training in {precision}: ")
    assert settled.model_copy(update={"fixed": study.fixed}) == study


def test_a_study_that_names_a_type_is_left_as_it_is() -> None:
    said: list[str] = []
    assert settle_precision(small_study(), PLACEMENT, said.append) == small_study()
    assert said == []


def test_auto_is_nothing_to_search() -> None:
    study = small_study(search={**SMALL["search"], "pretrain.precision": {"choice": ["float32", "auto"]}})
    with pytest.raises(ValueError, match=r"search\.pretrain\.precision must name number types, got auto"):
        settle_precision(study, PLACEMENT, print)
