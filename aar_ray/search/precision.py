"""`pretrain.precision: auto` becomes a number type before a study begins, so that it is part of every key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray

from aar_ray.config import Study
from aar_ray.search.placement import Placement
from aar_ray.training.precision import Chosen, fastest_precision

NAME = "pretrain.precision"


def settle_precision(study: Study, placement: Placement, say: Callable[[str], None]) -> Study:
    """The study with the number type that a worker's machine is fastest in, where it says `auto`."""
    if "auto" in getattr(study.search.get(NAME), "choice", ()):
        raise ValueError(f"search.{NAME} must name number types, got auto; fix it to auto, or search the types")
    places = [study.fixed, *study.arms.values()]
    if all(settings.get(NAME) != "auto" for settings in places):
        return study
    task = _probe.options(num_cpus=placement.worker_cpus, num_gpus=placement.worker_gpus)
    chosen = ray.get(task.remote(placement.worker_gpus, int(placement.worker_cpus)))
    say(f"pre-training in {chosen.precision}: {chosen.reason}")

    def settled(settings: dict[str, Any]) -> dict[str, Any]:
        return {**settings, NAME: chosen.precision} if settings.get(NAME) == "auto" else settings

    arms = {name: settled(arm) for name, arm in study.arms.items()}
    return study.model_copy(update={"fixed": settled(study.fixed), "arms": arms})


@ray.remote
def _probe(gpus: float, cpus: int) -> Chosen:
    import torch

    torch.set_num_threads(cpus)
    return fastest_precision("cuda" if gpus else "cpu")
