"""Many models of one shape trained at once: their weights in one matrix, one row a model, and Adam on it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Of Adam, torch's and the paper's defaults."""


class Place(NamedTuple):
    """Where a trained weight stands in its model's row."""

    name: str
    columns: slice
    shape: torch.Size


class Stack:
    """Models of one shape, and what they are together: a module whose weights have a leading model dimension.

    Consecutive models, `rows`, take a step together. What a model computes does not depend on which others do.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.module = copy.deepcopy(models[0])
        trained = [(name, weight) for name, weight in self.module.named_parameters() if weight.requires_grad]
        ends = [0, *torch.tensor([weight.numel() for _, weight in trained]).cumsum(0).tolist()]
        self.places = [
            Place(name, slice(start, stop), weight.shape)
            for (name, weight), start, stop in zip(trained, ends, ends[1:], strict=False)
        ]
        self.weights = torch.stack(
            [
                torch.cat([dict(model.named_parameters())[place.name].detach().flatten() for place in self.places])
                for model in models
            ]
        )
        """[models, weights of one]."""
        names = {place.name for place in self.places}
        states = [model.state_dict() for model in models]
        self.untrained = {
            name: torch.stack([state[name].detach() for state in states]) for name in states[0] if name not in names
        }
        """Statistics of batch norm and fixed positions, [models, ...] each."""
        self._leaves: dict[tuple[int, int], list[Tensor]] = {}

    def __call__(self, rows: slice, *inputs: Float[Tensor, "models ..."]) -> Tensor:
        """The output of some models, each on its own inputs."""
        given = {place.name: leaf for place, leaf in zip(self.places, self.leaves(rows), strict=True)}
        given |= {name: values[rows] for name, values in self.untrained.items()}
        # no two of its weights are one, and to look for such takes a fiftieth of a step
        return torch.func.functional_call(self.module, given, inputs, tie_weights=False)

    def leaves(self, rows: slice) -> list[Tensor]:
        """The trained weights of some models, each [models, ...], on the matrix's memory."""
        key = (rows.start, rows.stop)
        if key not in self._leaves:
            part = self.weights[rows]
            self._leaves[key] = [
                part[:, place.columns].unflatten(1, place.shape).detach().requires_grad_() for place in self.places
            ]
        return self._leaves[key]

    def gradient(self, rows: slice, loss: Float[Tensor, ""]) -> Float[Tensor, "models weights"]:
        """Of the sum of the losses of some models; one model's loss depends on its own weights alone."""
        return torch.cat([part.flatten(1) for part in torch.autograd.grad(loss, self.leaves(rows))], dim=1)

    def state(self, row: int) -> dict[str, Tensor]:
        """A copy of one model's weights and statistics, as its `state_dict`."""
        own = {place.name: self.weights[row, place.columns].view(place.shape).clone() for place in self.places}
        own |= {name: values[row].clone() for name, values in self.untrained.items()}
        return {name: own[name] for name in self.module.state_dict()}

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these models alone."""
        chosen = torch.tensor(rows, dtype=torch.long, device=self.weights.device)
        self.weights = self.weights[chosen]
        self.untrained = {name: values[chosen] for name, values in self.untrained.items()}
        self._leaves.clear()


class StackedAdam:
    """Adam (Kingma and Ba 2015) on the rows of a matrix, each with a rate, a decay and a number of steps of its own."""

    def __init__(
        self,
        stack: Stack,
        *,
        learning_rate: Float[Tensor, "models columns"],
        weight_decay: Float[Tensor, "models columns"],
        decoupled: bool,
    ) -> None:
        """Rates and decays have one column, or one for each weight: parts of a model may differ.

        Args:
            stack: whose weights are changed.
            learning_rate: step size.
            weight_decay: part of the gradient (L2, as in torch's Adam), or taken off the weight where `decoupled`
                (AdamW).
        """
        self.stack, self.decoupled = stack, decoupled
        self.rate, self.decay = learning_rate, weight_decay
        self.first, self.second = torch.zeros_like(stack.weights), torch.zeros_like(stack.weights)
        # in float64, since 1 - 0.999 loses its digits in float32
        self.steps = torch.zeros(len(stack.weights), 1, dtype=torch.float64, device=stack.weights.device)

    @torch.no_grad()
    def step(self, rows: slice, gradient: Float[Tensor, "models weights"]) -> None:
        """One step of some models; the gradient is written into."""
        weights, first, second, steps = (
            part[rows] for part in (self.stack.weights, self.first, self.second, self.steps)
        )
        rate, decay = self.rate[rows], self.decay[rows]
        steps += 1
        if self.decoupled:
            weights.mul_(1 - rate * decay)
        else:
            gradient.addcmul_(decay, weights)
        first.lerp_(gradient, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        unbiased_first, unbiased_second = ((1 - beta**steps).to(weights.dtype) for beta in (BETA1, BETA2))
        weights.addcdiv_(first * (-rate / unbiased_first), (second / unbiased_second).sqrt_().add_(EPSILON))

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these models alone."""
        chosen = torch.tensor(rows, dtype=torch.long, device=self.steps.device)
        for name in ("rate", "decay", "first", "second", "steps"):
            setattr(self, name, getattr(self, name)[chosen])
