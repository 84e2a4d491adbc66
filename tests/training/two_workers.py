"""What each of two processes does in `test_pretrain`; a file of its own, since a started process imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from training.toy import AXES, LENGTH, tiny, windows

from aar_ray.method.losses import Losses
from aar_ray.method.tfc import TFCModel, Views, draw_views
from aar_ray.training.checkpoint import Checkpoint
from aar_ray.training.pretrain import _gather_rows, build_model, pretrain

WORKERS = 2
HALF = 7

OBJECTIVES: dict[str, dict[str, Any]] = {
    "as printed": {},
    "all terms": {"tfc__contrastive_weight": 0.3, "tfc__alignment_weight": 0.7, "tfc__distance": "euclidean"},
    "both anchors": {"tfc__contrastive_form": "nt_xent", "tfc__anchors": "both", "tfc__pooling": "flatten"},
}


def model_of(objective: str) -> TFCModel:
    return build_model(tiny(patchtst__dropout=0.0, **OBJECTIVES[objective]), AXES, LENGTH, seed=5)


def global_views() -> Views:
    settings = tiny()
    generator = torch.Generator().manual_seed(1)
    return draw_views(windows(WORKERS * HALF), generator, spectrum=settings.spectrum, augment=settings.augment)


def loss_and_gradients(model: torch.nn.Module, losses: Losses) -> dict[str, Tensor]:
    losses.total.backward()
    gradients = {name.removeprefix("module."): p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"total": losses.total.detach(), **gradients}


def one_of_two(rank: int, folder: str) -> None:
    """Save what this worker computes to `folder/<rank>.pt`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORKERS)
    own = Views(*(view[rank * HALF : (rank + 1) * HALF] for view in global_views()))
    results: dict[str, Any] = {}
    for objective in OBJECTIVES:
        model = DistributedDataParallel(model_of(objective))
        results[objective] = loss_and_gradients(model, model(own, _gather_rows))

    # a gradient that autograd hands to two places: the gathering must not write into it
    rows, beside = torch.ones(3, 5, requires_grad=True), torch.zeros(6, 5, requires_grad=True)
    earlier = beside * 1
    ((_gather_rows(rows) + earlier) * torch.arange(30.0).reshape(6, 5)).sum().backward()
    results["gathered"] = (rows.grad, beside.grad)

    shard = windows(19 - 2 * rank, seed=rank)  # 19 and 17 windows, of which 3 batches of 5 are taken
    kept: list[Checkpoint] = []

    def watched(**changes: Any) -> Checkpoint:
        settings = tiny(pretrain__epochs=2, pretrain__batch_size=10, **changes)
        return pretrain(shard, settings, seed=3, rank=rank, workers=WORKERS, on_epoch=kept.append)

    results["trained"] = watched().__dict__
    results["epochs reported"] = [checkpoint.epoch for checkpoint in kept]
    results["local"] = watched(tfc__negatives="local").__dict__
    try:
        pretrain(shard, tiny(), seed=3, rank=rank, workers=WORKERS)
    except ValueError as error:
        results["odd batch"] = str(error)
    try:
        pretrain(shard[: 2 - rank], tiny(pretrain__batch_size=10), seed=3, rank=rank, workers=WORKERS)
    except ValueError as error:
        results["one window"] = str(error)
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
