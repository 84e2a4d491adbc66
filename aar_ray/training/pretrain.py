"""Pre-training of TF-C on windows without labels (paper, "Model pre-training"), one worker's part of it.

Without Ray: `worker.py` calls it in a Ray Train group, a script can call it alone. A run is a pure function of its
windows, settings and seed: each epoch draws from streams named by its number, so that a run continued from a
checkpoint equals one that was never interrupted.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from aar_ray.config import Settings
from aar_ray.corpus.labelled import LabelledWindows, normalised
from aar_ray.method.diagnostics import alignment, effective_rank, off_diagonal_cosine, probe_macro_f1, uniformity
from aar_ray.method.losses import Losses
from aar_ray.method.scale import Scale
from aar_ray.method.tfc import TFCModel, Views, draw_views
from aar_ray.seeds import drawing_from, torch_stream
from aar_ray.training.applied import optimiser_settings, tfc_settings
from aar_ray.training.checkpoint import Checkpoint, pretrain_settings
from aar_ray.training.masks import Masks
from aar_ray.training.precision import check_precision
from aar_ray.training.shard import Held, Shard

WATCHED_WINDOWS = 512
"""Windows on which each epoch's embedding is looked at."""


class Diverged(ArithmeticError):
    """The loss is not finite any more; settings are at fault, a retry would do the same."""


def build_model(settings: Settings, axes: int, window_length: int, *, seed: int) -> TFCModel:
    """TF-C with initial weights from the stream "initial weights"."""
    with drawing_from(seed, "initial weights", "pretrain"):
        return TFCModel(axes, window_length, patchtst=settings.patchtst, tfc=settings.tfc, spectrum=settings.spectrum)


def pretrain(
    windows: Float[Tensor, "windows axes length"] | Shard,
    settings: Settings,
    *,
    seed: int,
    rank: int = 0,
    workers: int = 1,
    scale: Scale | None = None,
    probe: LabelledWindows | None = None,
    resume: Checkpoint | None = None,
    on_epoch: Callable[[Checkpoint], None] = lambda _: None,
) -> Checkpoint:
    """Train until `pretrain.epochs` and return the last checkpoint.

    Args:
        windows: this worker's shard, on its device or streamed to it; in g with a `scale`, or else z-scored.
        settings: of these the sections `PRETRAIN_SECTIONS` are read.
        seed: of the study.
        rank, workers: this worker's number and how many share the global batch; more than one need an initialised
            `torch.distributed`.
        scale: the z-score of the windows.
        probe: labelled windows in g that rank 0 looks at every `pretrain.probe_every` epochs.
        resume: an earlier checkpoint of the same run, or of the same run with fewer epochs.
        on_epoch: called on rank 0 after each epoch.

    Raises:
        Diverged: the loss became NaN or infinite.
        ValueError: fewer than two windows for each worker; a number type that the machine cannot do.
    """
    shard = Held(windows) if isinstance(windows, Tensor) else windows
    check_precision("pretrain", settings.pretrain.precision, shard.device)
    trainer = _Trainer(shard, scale, settings, seed=seed, rank=rank, workers=workers)
    looked_at = _Probe.of(probe, settings, shard.device) if probe and rank == 0 else None
    history: list[dict[str, float]] = []
    if resume is not None:
        trainer.load(resume)
        history = list(resume.history)
    for epoch in range(len(history) + 1, settings.pretrain.epochs + 1):
        started, waited = time.perf_counter(), shard.waited
        losses = trainer.run_epoch(epoch)
        seconds, waited = time.perf_counter() - started, shard.waited - waited
        history.append(
            {
                "epoch": float(epoch),
                **losses,
                **trainer.watch(),
                **(trainer.probe(looked_at) if looked_at and _probed(epoch, settings) else {}),
                "learning_rate": settings.pretrain.learning_rate,
                "seconds": seconds,
                "waiting_seconds": waited,
            }
        )
        if rank == 0:
            on_epoch(trainer.checkpoint(epoch, history))
    return trainer.checkpoint(settings.pretrain.epochs, history)


class _Trainer:
    """Model, optimiser and data of one run."""

    def __init__(
        self, shard: Shard, scale: Scale | None, settings: Settings, *, seed: int, rank: int, workers: int
    ) -> None:
        self.shard, self.scale, self.settings = shard, scale, settings
        self.seed, self.rank, self.workers = seed, rank, workers
        self.device = shard.device
        self.windows, axes, length = shard.shape
        self.batch, self.steps = _batches(self.windows, settings.pretrain.batch_size, workers, self.device)
        self.model = build_model(settings, axes, length, seed=seed).to(self.device)
        self.masks = Masks([settings.patchtst.dropout], self.device)
        if self.device.type == "cpu":  # a GPU draws and applies torch's own masks in one go
            self.masks.attach(self.model)
        parallel = workers > 1
        self.gather = _gather_rows if parallel and settings.tfc.negatives == "global" else None
        self.step_model = DistributedDataParallel(self.model) if parallel else self.model
        pretrain = settings.pretrain
        self.optimiser = torch.optim.Adam(
            self.model.parameters(),
            lr=pretrain.learning_rate,
            betas=(pretrain.beta1, pretrain.beta2),
            weight_decay=pretrain.weight_decay,
            fused=True,
        )

    def load(self, checkpoint: Checkpoint) -> None:
        self.model.load_state_dict(checkpoint.model)
        # copies, here and below: the optimiser would go on writing into the checkpoint's own tensors
        self.optimiser.load_state_dict(copy.deepcopy(checkpoint.optimiser))

    def checkpoint(self, epoch: int, history: list[dict[str, float]]) -> Checkpoint:
        model = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
        return Checkpoint(
            epoch=epoch,
            model=model,
            optimiser=copy.deepcopy(self.optimiser.state_dict()),
            history=list(history),
            applied=self.applied(epoch),
        )

    def applied(self, epoch: int) -> dict[str, Any]:
        """The settings of this run, from the objects that use them where they hold them."""
        return {
            **pretrain_settings(self.settings),
            **tfc_settings(self.model),
            **optimiser_settings(self.optimiser, "pretrain"),
            **({"normalise.scope": self.scale.scope} if self.scale else {}),
            "pretrain.epochs": epoch,
        }

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the shard; the mean of each loss over its steps."""
        order = torch.randperm(
            self.windows,
            generator=torch_stream(self.seed, "shuffle", self.rank, epoch, device=self.device),
            device=self.device,
        )
        generator = torch_stream(self.seed, "augment", self.rank, epoch, device=self.device)
        sums = torch.zeros(len(LOSS_NAMES), device=self.device)
        self.model.train()
        self.masks.begin([self.seed], "dropout", self.rank, epoch)
        with drawing_from(self.seed, "dropout", self.rank, epoch):
            for rows, windows in self.shard.batches(order[: self.batch * self.steps].split(self.batch)):
                sums += self._step(windows, rows, generator)
        means = (sums / self.steps).tolist()
        if not all(map(math.isfinite, means)):
            raise Diverged(f"the pre-training loss was not finite in epoch {epoch}: lower pretrain.learning_rate")
        return dict(zip(LOSS_NAMES.values(), means, strict=True))

    def _views(self, windows: Tensor, rows: Tensor, generator: torch.Generator) -> Views:
        return draw_views(
            windows,
            generator,
            spectrum=self.settings.spectrum,
            augment=self.settings.augment,
            scale=self.scale and self.scale.of(rows),
        )

    def _step(self, windows: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
        views = self._views(windows, rows, generator)
        half = self.settings.pretrain.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            losses: Losses = self.step_model(views, self.gather)
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        self.optimiser.step()
        return torch.stack([getattr(losses, name).detach() for name in LOSS_NAMES])

    @torch.no_grad()
    def watch(self) -> dict[str, float]:
        """How the embedding of the first windows of the shard looks, dropout off."""
        first = torch.arange(min(WATCHED_WINDOWS, self.windows), device=self.device)
        ((rows, windows),) = self.shard.batches([first])
        views = self._views(windows, rows, torch_stream(self.seed, "watch", device=self.device))
        self.model.eval()
        h = self.model.embed(self.model.time_encoder, views.windows)
        h_augmented = self.model.embed(self.model.time_encoder, views.augmented_windows)
        z = self.model.time_projector(h)
        # the epoch's last update comes after its last loss
        if not torch.cat([h, h_augmented, z], dim=1).isfinite().all():
            raise Diverged("the pre-trained embedding is not finite: lower pretrain.learning_rate")
        return {
            "alignment": alignment(h, h_augmented),
            "uniformity": uniformity(h),
            "effective_rank_h": effective_rank(h),
            "effective_rank_z": effective_rank(z),
            "off_diagonal_cosine_h": off_diagonal_cosine(h),
            "off_diagonal_cosine_z": off_diagonal_cosine(z),
        }

    @torch.no_grad()
    def probe(self, probe: _Probe) -> dict[str, float]:
        """What a linear probe makes of h; draws nothing and changes nothing."""
        self.model.eval()
        h = torch.cat(
            [self.model.embed(self.model.time_encoder, part) for part in probe.windows.split(WATCHED_WINDOWS)]
        )
        return {"probe_macro_f1": probe_macro_f1(h, probe.labels, probe.animals, classes=probe.classes)}


class _Probe(NamedTuple):
    """Labelled windows on the device of the encoder."""

    windows: Tensor
    """z-scored by the trial's scope; `source` takes the statistics of these windows."""
    labels: Tensor
    animals: Tensor
    classes: int

    @classmethod
    def of(cls, labelled: LabelledWindows, settings: Settings, device: torch.device) -> _Probe:
        _, animals = np.unique(labelled.subjects.astype(str), return_inverse=True)
        return cls(
            windows=torch.as_tensor(normalised(labelled, settings.normalise.scope).windows, device=device),
            labels=torch.as_tensor(labelled.labels, device=device),
            animals=torch.as_tensor(animals, device=device),
            classes=len(labelled.classes),
        )


def _probed(epoch: int, settings: Settings) -> bool:
    """Whether a probe looks at the encoder after this epoch."""
    every = settings.pretrain.probe_every
    return bool(every) and (epoch % every == 0 or epoch == settings.pretrain.epochs)


LOSS_NAMES = {
    "total": "loss",
    "time": "loss_time",
    "frequency": "loss_frequency",
    "consistency": "loss_consistency",
    "alignment": "loss_alignment",
}


def _batches(windows: int, batch_size: int, workers: int, device: torch.device) -> tuple[int, int]:
    """Windows a step on this worker, and steps an epoch, the same on all workers.

    The windows that are left over differ from epoch to epoch, as the order does.
    """
    smallest = torch.tensor(windows, device=device)
    if workers > 1:
        dist.all_reduce(smallest, dist.ReduceOp.MIN)
    shard = int(smallest)
    if batch_size % workers:
        raise ValueError(f"pretrain.batch_size must be a multiple of the {workers} workers, got {batch_size}")
    if shard < 2:
        raise ValueError(f"pre-training needs at least 2 windows for each worker, got {shard}")
    batch = min(batch_size // workers, shard)
    return batch, shard // batch


class _GatherRows(torch.autograd.Function):
    """Rows of all workers in order of rank; the gradient of a row is the sum of what all workers send back to it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # each worker computes the same global loss, and DistributedDataParallel then takes the mean over workers:
        # the sum here makes that mean the gradient of the one global loss; a copy, since autograd may share `gradient`
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def _gather_rows(rows: Tensor) -> Tensor:
    return _GatherRows.apply(rows)
