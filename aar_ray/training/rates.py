"""Step sizes of the parts of a classifier: lower towards the input, or zero until a part is unfrozen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from aar_ray.training.stack import Place

LAYER = re.compile(r"encoder\.layers\.(\d+)\.")


@dataclass(frozen=True)
class Rates:
    """Layer-wise rates and gradual unfreezing (Howard and Ruder 2018; Clark et al. 2020).

    The parts, from the top: head, last layer, ..., first layer, embedding.
    """

    layers: int
    """Of the encoder."""
    learning_rate: float
    """Of the head."""
    layer_decay: float = 1.0
    """Factor from each part to the one below it."""
    unfreeze_every: int = 0
    """Epochs after which the next part from the top is trained too; 0 trains all from the start."""

    def __call__(self, places: Sequence[Place], epoch: int) -> Float[Tensor, " weights"]:
        """The step size of each weight in an epoch, from 1; one number where all have the same."""
        if self.layer_decay == 1 and self.unfreeze_every == 0:
            return torch.tensor([self.learning_rate])
        return torch.cat([torch.full((place.shape.numel(),), self._of(place.name, epoch)) for place in places])

    def _of(self, name: str, epoch: int) -> float:
        below = self.layers + 1 - self._part(name)
        return self.learning_rate * self.layer_decay**below if self.unfreeze_every * below < epoch else 0.0

    def _part(self, name: str) -> int:
        """0 for the embedding, then the layers from the first one on, then the head."""
        if name.startswith("encoder.final_norm."):
            return self.layers
        if found := LAYER.match(name):
            return int(found[1]) + 1
        return 0 if name.startswith("encoder.") else self.layers + 1
