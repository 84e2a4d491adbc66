"""Processes that import beforehand import what the tasks that come need, and no more than that."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aar_ray.search.processes import GROUPS_ENVIRONMENT, in_environment, trials_environment

NEEDED = {
    "_imported_for_groups": {"ray.train.v2.api.data_parallel_trainer", "aar_ray.search.groups"},
    "_imported_for_folds": {"torch", "safetensors.torch", "aar_ray.training.finetune", "aar_ray.search.folds"},
}
DEARER = {
    # of workers alone
    "_imported_for_groups": {"torch", "ray.tune"},
    "_imported_for_folds": {"ray.train", "ray.tune"},
}


@pytest.mark.parametrize("task", sorted(NEEDED))
def test_a_task_that_warms_imports_by_itself_what_is_needed(task: str) -> None:
    # called alone, as in a process to which Ray has sent the function and not its module
    program = (
        f"import sys; from aar_ray.search.processes import {task} as task; before = set(sys.modules); "
        "task._function(); print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    imported = set(done.stdout.split())
    assert NEEDED[task] <= imported
    assert DEARER[task] & imported == set()


def test_folds_and_groups_have_processes_of_their_own() -> None:
    assert in_environment(trials_environment()) != in_environment(GROUPS_ENVIRONMENT)
    assert in_environment(None) == {}
