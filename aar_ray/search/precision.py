"""`precision: auto` of a stage becomes a number type before a study begins, so that it is part of every key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray

from aar_ray.config import Study
from aar_ray.search.placement import Placement
from aar_ray.training.precision import Chosen, fastest_precision


def settle_precision(study: Study, placement: Placement, say: Callable[[str], None]) -> Study:
    """The study with the number types that its machines are fastest in, where it says `auto`.

    Raises:
        ValueError: `auto` among the values of a search.
    """
    worker = placement.worker_cpus, placement.worker_gpus
    study = _settled(study, "pretrain.precision", "pre-training", *worker, say)
    return _settled(study, "finetune.precision", "fine-tuning", placement.fold_cpus, placement.fold_gpus, say)


def _settled(study: Study, name: str, stage: str, cpus: float, gpus: float, say: Callable[[str], None]) -> Study:
    if "auto" in getattr(study.search.get(name), "choice", ()):
        raise ValueError(f"search.{name} must name number types, got auto; fix it to auto, or search the types")
    places = [study.fixed, *study.arms.values()]
    if all(settings.get(name) != "auto" for settings in places):
        return study
    chosen = ray.get(_probe.options(num_cpus=cpus, num_gpus=gpus).remote(gpus, max(1, int(cpus))))
    say(f"{stage} in {chosen.precision}: {chosen.reason}")

    def settled(settings: dict[str, Any]) -> dict[str, Any]:
        return {**settings, name: chosen.precision} if settings.get(name) == "auto" else settings

    arms = {arm: settled(settings) for arm, settings in study.arms.items()}
    return study.model_copy(update={"fixed": settled(study.fixed), "arms": arms})


@ray.remote
def _probe(gpus: float, cpus: int) -> Chosen:
    import torch

    torch.set_num_threads(cpus)
    return fastest_precision("cuda" if gpus else "cpu")
