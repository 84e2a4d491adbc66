"""Processes in which tasks run: where, and what they have imported before they are needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aar_ray.imports import uncollected
from aar_ray.search.placement import Placement

GROUPS_ENVIRONMENT = {"AAR_RAY_TASK": "worker group"}
"""Variables of the processes that start worker groups; nobody reads them, they keep these processes for them."""

MOST_WARMED = 8
"""Processes that import beforehand for folds: each takes memory, and a large machine may come to need few of them."""


def on_this_node(remote: Any, **options: Any) -> Any:
    """Schedule where the study runs, which has the disk, without a processor of its own."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return remote.options(num_cpus=0, scheduling_strategy=here, **options)


def in_environment(variables: Mapping[str, str] | None) -> dict[str, Any]:
    """Options of tasks whose processes have these variables: Ray keeps processes of different ones apart.

    None for what whoever submits them has. Ray writes an environment that is told down in another way than one that is
    inherited, so a process of the one does not serve the other, be the variables the same.
    """
    return {} if variables is None else {"runtime_env": {"env_vars": dict(variables)}}


def trials_environment() -> dict[str, str]:
    """Variables that Ray Tune gives to the processes of trials, and of the folds that they submit."""
    # takes most of a second to import, which the processes of folds need not
    from ray.tune.execution.class_cache import DEFAULT_ENV_VARS, ENV_VARS_TO_PROPAGATE

    return {**DEFAULT_ENV_VARS, **{name: os.environ[name] for name in ENV_VARS_TO_PROPAGATE if name in os.environ}}


# Ray keeps a process whose task has ended for the next task of its environment, whichever that is


def warm_for_groups(placement: Placement) -> None:
    """Have processes import what starts a worker group, which takes seconds, while others are at work."""
    for _ in range(placement.groups):
        on_this_node(_imported_for_groups, **in_environment(GROUPS_ENVIRONMENT)).remote()


def warm_for_folds(placement: Placement) -> None:
    """Have processes import what tasks of folds need, which takes seconds, while others are at work."""
    for _ in range(min(placement.fold_tasks, MOST_WARMED)):
        _imported_for_folds.options(
            num_cpus=0, scheduling_strategy="SPREAD", **in_environment(trials_environment())
        ).remote()


# Ray sends a task's function by value, without the module that it stands in, so that imports have to be told


@ray.remote(max_retries=0)
def _imported_for_groups() -> None:
    with uncollected():
        import aar_ray.search.groups  # noqa: F401


@ray.remote(max_retries=0)
def _imported_for_folds() -> None:
    with uncollected():
        import safetensors.torch  # noqa: F401

        import aar_ray.search.folds
        import aar_ray.training.finetune  # noqa: F401
