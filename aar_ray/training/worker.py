"""A Ray Train worker that pre-trains one encoder after another.

A worker group takes seconds to start, so it stays up: it pulls its shard of the corpus once, keeps it on its device or
where else there is room, and asks a service for the next pre-train until there is none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import psutil
import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from ray.util.placement_group import get_current_placement_group

from aar_ray.config import settings_from
from aar_ray.corpus.files import Resident, read_resident, window_batches
from aar_ray.corpus.normalise import Scope
from aar_ray.corpus.reading import mapped_windows, resident_windows
from aar_ray.method.scale import Scale
from aar_ray.training.checkpoint import Checkpoint
from aar_ray.training.pretrain import Diverged, pretrain
from aar_ray.training.processors import use_processors
from aar_ray.training.shard import Held, Place, Shard, Streamed, place_of

BATCH = 8192
"""Windows a batch while the shard is pulled."""


class NotWanted(Exception):
    """The study has left off, or another group has the pre-train now; or it has had its last epoch."""


class PretrainService(Protocol):
    """What a worker asks of the actor that hands out pre-trains; each call is a Ray remote method."""

    take: Any
    """(group, its placement group) -> {"key", "settings", "seed", "resume": bytes | None}, or None to go home."""
    advanced: Any
    """(group, what `take` gave, progress, files of the checkpoint) -> whether to go on, after each epoch."""
    keeps: Any
    """(text) -> None: where the windows are, before the first `take`."""
    failed: Any
    """(group, what `take` gave, reason, again=whether the group dies of it) -> None."""


def serve_pretraining(config: Mapping[str, Any]) -> None:
    """Loop of each worker of a group; runs inside Ray Train.

    Args:
        config: `service`, a handle to a `PretrainService`; `group`, this group's name; `folder` of the corpus, how many
            `windows` and `bytes` it has; its `summary`, with the statistics of the z-score;
            `probe`, labelled windows in g or None; `threads`, processors of a worker.
    """
    service: PretrainService = config["service"]
    use_processors(config["threads"])
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    place = _place(device, config["windows"] // workers, config["bytes"] // workers, context.get_local_world_size())
    resident = _pulled(Path(config["folder"]), workers, place)
    windows: Shard
    if place.where == "device":
        windows = Held(torch.from_numpy(resident.windows).to(device))
    else:
        windows = Streamed(resident.windows, device)
    if rank == 0:
        ray.get(service.keeps.remote(place.reason))
    while True:
        job = _next_job(service, config["group"], rank, workers)
        if job is None:
            return
        resume = job.pop("resume")

        def advanced(checkpoint: Checkpoint, job: dict[str, Any] = job) -> None:
            report = config["group"], job, checkpoint.progress, checkpoint.files()
            wanted = ray.get(service.advanced.remote(*report))
            # of several workers only this one knows, and the others would wait for it
            if not wanted and workers == 1:
                raise NotWanted

        settings = settings_from(job["settings"])
        try:
            pretrain(
                windows,
                settings,
                seed=job["seed"],
                rank=rank,
                workers=workers,
                scale=scale_of(resident, config["summary"], settings.normalise.scope, device),
                probe=config["probe"],
                resume=Checkpoint.from_bytes(resume) if resume else None,
                on_epoch=advanced,
            )
        except NotWanted:
            continue
        except Exception as error:
            reason, all_here = _failure(error, workers)
            if rank == 0 or not all_here:
                # where the service itself is what failed, it can be told nothing
                with contextlib.suppress(ray.exceptions.RayError):
                    ray.get(service.failed.remote(config["group"], job, reason, again=not all_here))
            if not all_here:
                raise
            torch.cuda.empty_cache()


def _failure(error: Exception, workers: int) -> tuple[str, bool]:
    """Why a pre-train failed, in one line, and whether all workers are here and can go on with the next one."""
    said = str(error).strip().splitlines()
    if isinstance(error, Diverged | ValueError):
        # every worker sees the same loss and the same settings
        return str(error), True
    # out of memory and the like; other workers may not be here and wait for this one, so a group of several has to
    # begin again, as has one whose service is gone: that is no doing of the settings
    reason = f"{type(error).__name__}: {said[0] if said else 'no message'}"
    return reason, workers == 1 and not isinstance(error, ray.exceptions.RayError)


def _place(device: torch.device, windows: int, size: int, beside: int) -> Place:
    """Where this worker keeps its windows, by what is free now; those beside it on this machine need as much."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the processor"
    return place_of(
        windows, size, device=name, device_bytes=free, memory_bytes=psutil.virtual_memory().available // beside
    )


def _pulled(folder: Path, workers: int, place: Place) -> Resident:
    """This worker's windows; all of them come faster from the corpus' own files, where this node has them."""
    batches: Iterable[Mapping[str, Any]]
    if workers == 1 and folder.is_dir():
        if place.where != "disk":
            return read_resident(folder)
        batches = window_batches(folder, BATCH)
    else:
        batches = ray.train.get_dataset_shard("corpus").iter_batches(batch_size=BATCH, batch_format="numpy")
    return mapped_windows(batches) if place.where == "disk" else resident_windows(batches)


def scale_of(resident: Resident, summary: Mapping[str, Any], scope: Scope, device: torch.device) -> Scale:
    """The z-score of a worker's windows in the scope that a pre-train asks for."""
    found = resident.statistics(summary, scope)
    if found is None:
        return Scale(scope)
    return Scale(
        scope,
        *(torch.as_tensor(part, dtype=torch.float32, device=device) for part in (found.mean, found.deviation)),
    )


def _next_job(service: PretrainService, group: str, rank: int, workers: int) -> dict[str, Any] | None:
    """Rank 0 asks, all others are told."""
    job = [ray.get(service.take.remote(group, get_current_placement_group())) if rank == 0 else None]
    if workers > 1:
        dist.broadcast_object_list(job, src=0)
    return job[0]
