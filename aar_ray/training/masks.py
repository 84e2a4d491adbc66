"""Dropout masks from named streams, one a model: what a model drops does not depend on who is trained beside it.

On a processor torch draws a mask at 9 ns a value, a fifth of a whole training step. 16 random bits a value from numpy
take 0.7 ns and settle p to within 1/65536.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from aar_ray.method.layers import Dropout
from aar_ray.seeds import stream_seed, torch_stream

VALUES = 2**16
"""That a random number of 16 bits can have."""


class Masks:
    """The masks of some models, of those `rows` of them that are at work."""

    def __init__(self, dropout: Sequence[float], device: torch.device) -> None:
        """One p a model."""
        self.device = device
        self.kept = [round((1 - p) * VALUES) for p in dropout]
        counts = torch.tensor(self.kept, device=device)
        # on the device once: copies to a GPU within a step would make it wait
        self.highest, self.scale = counts - VALUES // 2, VALUES / counts.double()
        self.rows = slice(0, len(self.kept))
        self.streams: list[Any] = []

    def attach(self, model: nn.Module) -> None:
        """Have the model's dropout take its masks here."""
        for module in model.modules():
            if isinstance(module, Dropout):
                module.keep = self

    def begin(self, seeds: Sequence[int], *names: object) -> None:
        """Draw from the streams of these names from now on."""
        if self.device.type == "cpu":
            self.streams = [np.random.PCG64DXSM(stream_seed(seed, *names)) for seed in seeds]
        else:
            self.streams = [torch_stream(seed, *names, device=self.device) for seed in seeds]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these models alone."""
        self.kept = [self.kept[row] for row in rows]
        chosen = torch.tensor(rows, dtype=torch.long, device=self.device)
        self.highest, self.scale = self.highest[chosen], self.scale[chosen]
        self.rows = slice(0, len(rows))

    def take(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"] | None:
        """1 / (1 - p) where a value is kept and 0 where it is dropped; None where no model drops any.

        Args:
            values: of the models at work, one part a model; their number is a multiple of that of the models.
        """
        kept = self.kept[self.rows]
        if min(kept) == VALUES:
            return None
        size = values.numel() // len(kept)
        draw = self._on_processor if self.device.type == "cpu" else self._on_device
        scale = self.scale[self.rows].to(values.dtype)
        return draw(size, kept).to(values.dtype).mul_(scale[:, None]).view(values.shape)

    def _on_processor(self, size: int, kept: Sequence[int]) -> Tensor:
        chosen = np.empty((len(kept), size), dtype=bool)
        for row, (stream, count) in enumerate(zip(self.streams[self.rows], kept, strict=True)):
            bits = stream.random_raw(-(-size // 4)).view(np.int16)[:size]
            np.less(bits, count - VALUES // 2, out=chosen[row])
        # numpy compares, and torch converts whole numbers, with vector instructions; torch's booleans go one by one
        return torch.from_numpy(chosen.view(np.uint8))

    def _on_device(self, size: int, kept: Sequence[int]) -> Tensor:
        draws = torch.empty((len(kept), -(-size // 4)), dtype=torch.int64, device=self.device)
        for draw, stream in zip(draws, self.streams[self.rows], strict=True):
            draw.random_(torch.iinfo(torch.int64).min, None, generator=stream)
        return draws.view(torch.int16)[:, :size] < self.highest[self.rows, None]
