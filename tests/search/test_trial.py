"""A trial's wait for its encoder: what it reports, and that a setting that got lost ends it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aar_ray.config import Settings, dotted, settings_from
from aar_ray.search.stages import PretrainStage, Stages
from aar_ray.search.trial import _pretrained
from aar_ray.training.arrived import NotApplied
from aar_ray.training.checkpoint import Checkpoint, pretrain_settings

STAGE = PretrainStage(corpus="c" * 20, workers=1)
WANTED = {**dotted(Settings()), "pretrain.epochs": 3, "tfc.margin": 0.3}
SPREAD = {
    "off_diagonal_cosine_h": 0.9,
    "effective_rank_h": 20.0,
    "off_diagonal_cosine_z": 0.3,
    "effective_rank_z": 9.0,
    "seconds": 2.0,
}
COLLAPSED = {**SPREAD, "effective_rank_z": 1.01}


def events_of(ray: Any, store: Path, records: list[dict[str, float]], applied: dict[str, Any]) -> list[dict[str, Any]]:
    """What a trial reports of a pre-train that was made before, with these records and applied settings."""
    stages = ray.remote(Stages).options(num_cpus=0).remote(str(store), STAGE)
    ray.get(stages.request.remote(WANTED, 7))
    job = ray.get(stages.take.remote("a"))
    done = Checkpoint(epoch=3, model={}, optimiser={}, history=records, applied=applied)
    ray.get(stages.advanced.remote("a", job, done.progress, done.files()))
    return list(_pretrained(WANTED, 7, stages))


def test_a_pre_train_whose_settings_arrived_is_reported_epoch_by_epoch(ray_cluster: Any, tmp_path: Path) -> None:
    applied = pretrain_settings(settings_from(WANTED))
    events = events_of(ray_cluster, tmp_path, [SPREAD] * 3, applied)
    assert [event["event"] for event in events] == ["pretrain_epoch"] * 3 + ["pretrained"]
    assert events[-1]["seconds"] == 6


@pytest.mark.parametrize(
    ("slip", "said"), [({"tfc.margin": 0.5}, r"tfc\.margin .* 0\.3, got 0\.5"), ({"pretrain.epochs": 2}, "epochs")]
)
def test_a_setting_that_got_lost_ends_the_trial(
    ray_cluster: Any, tmp_path: Path, slip: dict[str, Any], said: str
) -> None:
    with pytest.raises(NotApplied, match=said):
        events_of(ray_cluster, tmp_path, [SPREAD] * 3, {**pretrain_settings(settings_from(WANTED)), **slip})


def test_a_collapse_is_said_once_at_its_first_epoch(ray_cluster: Any, tmp_path: Path) -> None:
    applied = pretrain_settings(settings_from(WANTED))
    events = events_of(ray_cluster, tmp_path, [SPREAD, COLLAPSED, COLLAPSED], applied)
    (said,) = [event for event in events if event["event"] == "pretrain_collapsed"]
    assert said["epoch"] == 2
    assert "effective rank is 1.01" in said["reason"]


def test_the_process_of_a_trial_imports_nothing_that_only_tasks_need() -> None:
    # the module of the stages too: a handle of their actor brings it
    slow = {"torch", "scipy", "sklearn", "optuna"}
    program = f"import sys, aar_ray.search.trial, aar_ray.search.stages; print(*{slow} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
