"""Many classifiers trained at once: their weights stacked, their data on one device, one epoch after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aar_ray.method.augmentations import RotationAxis, rotation
from aar_ray.method.scale import Scale
from aar_ray.seeds import torch_stream
from aar_ray.training.masks import Masks
from aar_ray.training.precision import Precision
from aar_ray.training.rates import Rates
from aar_ray.training.stack import Stack, StackedAdam

EVALUATION_BATCH = 1024

MODELS_A_STEP = 4
"""Models that take a step together on a processor, whose cache would not hold the tokens of more; a GPU takes all."""


@dataclass(frozen=True)
class Member:
    """One classifier of a bundle, and what it is trained on and by."""

    model: nn.Module
    """What is trained of it."""
    prefix: str
    """Before the names of the trained weights in `Bundle.state`."""
    untrained: dict[str, Tensor]
    """What `Bundle.state` has besides: a frozen encoder's weights."""
    train: tuple[Float[Tensor, "windows ..."], ...]
    """What the model reads of each training window: it or its features, and its context if it has one."""
    labels: NDArray[np.int64]
    """Of the training windows."""
    validation: tuple[Float[Tensor, "windows ..."], ...]
    """The same of the validation windows."""
    seed: int
    class_weights: NDArray[np.float64]
    dropout: float
    rates: Rates
    weight_decay: float
    turn: Turn | None = None
    """What is done to each training window before a step, if anything."""


@dataclass(frozen=True)
class Turn:
    """Training windows turned as a slipped collar turns them: back to g, about an axis, and scored again."""

    scale: Scale
    """Of all training windows."""
    degrees: float
    axis: RotationAxis

    def __call__(
        self, windows: Float[Tensor, "batch axes length"], rows: Tensor, generator: torch.Generator
    ) -> Float[Tensor, "batch axes length"]:
        """Other views of some training windows, whose numbers `rows` gives."""
        scale = self.scale.of(rows)
        raw = rotation(scale.unscored(windows), generator, degrees=self.degrees, axis=self.axis)
        return scale(raw)


class Bundle:
    """Members of one shape; those with the most training windows come first."""

    def __init__(
        self,
        members: Sequence[Member],
        *,
        batch_size: int,
        decoupled_decay: bool,
        precision: Precision,
        device: torch.device,
    ) -> None:
        self.members = list(members)
        self.batch_size, self.precision, self.device = batch_size, precision, device
        self.stack = Stack([member.model for member in members])
        self.adam = StackedAdam(
            self.stack,
            learning_rate=self._rates(1),
            weight_decay=self._rows([member.weight_decay] for member in members),
            decoupled=decoupled_decay,
        )
        self.class_weights = self._rows(member.class_weights for member in members)
        self.masks = Masks([member.dropout for member in members], device)
        self.masks.attach(self.stack.module)
        self._pool_windows()

    def _rows(self, rows: Iterator[Sequence[float]] | Iterator[NDArray[np.float64]]) -> Float[Tensor, "models columns"]:
        return torch.tensor(np.stack(list(rows)), dtype=self.stack.weights.dtype, device=self.device)

    def _rates(self, epoch: int) -> Float[Tensor, "models columns"]:
        rows = [member.rates(self.stack.places, epoch) for member in self.members]
        most = max(len(row) for row in rows)
        return torch.stack([row.expand(most) for row in rows]).to(self.stack.weights)

    def _pool_windows(self) -> None:
        """All training windows in one tensor, those that members share once."""
        pool = {id(member.train): member for member in self.members}
        self.inputs = tuple(map(torch.cat, zip(*(member.train for member in pool.values()), strict=True)))
        self.labels = torch.as_tensor(np.concatenate([member.labels for member in pool.values()]), device=self.device)
        ends = np.cumsum([0, *(len(member.labels) for member in pool.values())]).tolist()
        starts = dict(zip(pool, ends, strict=False))
        self.starts = [starts[id(member.train)] for member in self.members]

    def run_epoch(self, epoch: int) -> list[float]:
        """One pass of every member over its training windows; the mean of each one's loss over them."""
        orders = self._orders(epoch)
        self.masks.begin([member.seed for member in self.members], "finetune", "dropout", epoch)
        self.adam.rate = self._rates(epoch)
        self.turning = [
            torch_stream(member.seed, "finetune", "rotation", epoch, device=self.device) for member in self.members
        ]
        self.stack.module.train()
        totals = torch.zeros(len(self.members), dtype=self.stack.weights.dtype, device=self.device)
        for first in range(0, orders.shape[1], self.batch_size):
            for rows, count in self._at_work(first):
                totals[rows] += self._step(rows, orders[rows, first : first + count]) * count
        return [total / len(member.labels) for total, member in zip(totals.tolist(), self.members, strict=True)]

    def _orders(self, epoch: int) -> Tensor:
        """For each member its windows' places in the pool, in the order of this epoch; short rows end in zeros."""
        orders = torch.zeros(len(self.members), len(self.members[0].labels), dtype=torch.long, device=self.device)
        for row, (member, start) in enumerate(zip(self.members, self.starts, strict=True)):
            generator = torch_stream(member.seed, "finetune", "shuffle", epoch, device=self.device)
            own = torch.randperm(len(member.labels), generator=generator, device=self.device)
            orders[row, : len(own)] = own + start
        return orders

    def _at_work(self, first: int) -> Iterator[tuple[slice, int]]:
        """Members that take the same number of windows, from their `first` on: side by side, since they are sorted."""
        most = len(self.members) if self.device.type == "cuda" else MODELS_A_STEP
        start = 0
        for count, equal in groupby(min(self.batch_size, len(member.labels) - first) for member in self.members):
            stop = start + len(list(equal))
            if count > 0:
                yield from ((slice(row, min(row + most, stop)), count) for row in range(start, stop, most))
            start = stop

    def _step(self, rows: slice, chosen: Tensor) -> Float[Tensor, " models"]:
        """One step of some members, each on its own windows [models, windows]; returns their losses."""
        labels = self.labels[chosen]
        self.masks.rows = rows
        drawn = self._drawn(rows, chosen)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits = self.stack(rows, *drawn).to(self.stack.weights.dtype)
        losses = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
        # the mean over windows of weight times loss: a batch's rare windows keep their weight whatever else is in the
        # batch, unlike torch's weighted mean
        loss = (self.class_weights[rows].gather(1, labels) * losses).mean(dim=1)
        self.adam.step(rows, self.stack.gradient(rows, loss.sum()))
        return loss.detach()

    def _drawn(self, rows: slice, chosen: Tensor) -> tuple[Float[Tensor, "models windows ..."], ...]:
        """What is read of the chosen windows, each member's turned where it turns them; contexts are not turned."""
        windows, *contexts = (values[chosen] for values in self.inputs)
        for place, row in enumerate(range(rows.start, rows.stop)):
            if turn := self.members[row].turn:
                windows[place] = turn(windows[place], chosen[place] - self.starts[row], self.turning[row])
        return windows, *contexts

    @torch.no_grad()
    def logits(self, row: int) -> Float[Tensor, "windows classes"]:
        """Of a member's validation windows, dropout off; on the processor."""
        self.stack.module.eval()
        rows = slice(row, row + 1)
        read = (values.unsqueeze(0).split(EVALUATION_BATCH, dim=1) for values in self.members[row].validation)
        return torch.cat([self.stack(rows, *part).squeeze(0) for part in zip(*read, strict=True)]).cpu()

    def state(self, row: int) -> dict[str, Tensor]:
        """A copy of a member's weights, on the processor."""
        member = self.members[row]
        trained = {member.prefix + name: value for name, value in self.stack.state(row).items()}
        return {name: value.cpu() for name, value in {**member.untrained, **trained}.items()}

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these members alone."""
        self.members = [self.members[row] for row in rows]
        self.starts = [self.starts[row] for row in rows]
        self.class_weights = self.class_weights[list(rows)]
        self.stack.keep(rows)
        self.adam.keep(rows)
        self.masks.keep(rows)
