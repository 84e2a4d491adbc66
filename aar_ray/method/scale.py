"""The z-score of windows that are kept in g, so that what happens to a sensor happens to its raw axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from aar_ray.config import SMALLEST_DEVIATION


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation per axis, for each window those of its scope."""

    scope: Literal["source", "recording", "window"]
    """Under `window` each window is scored by its own statistics, and none need be given."""
    mean: Float[Tensor, "batch axes"] | None = None
    """In g."""
    deviation: Float[Tensor, "batch axes"] | None = None

    def of(self, rows: Tensor) -> Scale:
        """That of some of the windows."""
        if self.mean is None or self.deviation is None:
            return self
        return Scale(self.scope, self.mean[rows], self.deviation[rows])

    def __call__(self, windows: Float[Tensor, "batch axes length"]) -> Float[Tensor, "batch axes length"]:
        """(windows - mean) / deviation per axis; an axis without deviation becomes 0."""
        if self.scope == "window":
            precise = windows.double()
            mean, deviation = precise.mean(dim=-1, keepdim=True), precise.std(dim=-1, keepdim=True, unbiased=False)
        else:
            precise, (mean, deviation) = windows, self._columns()
        varies = deviation > SMALLEST_DEVIATION
        scored = (precise - mean) / deviation.where(varies, torch.ones_like(deviation))
        return scored.where(varies, torch.zeros_like(scored)).to(windows.dtype)

    def unscored(self, windows: Float[Tensor, "batch axes length"]) -> Float[Tensor, "batch axes length"]:
        """Back to g: windows * deviation + mean per axis. A constant axis comes back as its mean."""
        mean, deviation = self._columns()
        return windows * deviation + mean

    def _columns(self) -> tuple[Tensor, Tensor]:
        assert self.mean is not None, "this scale was given no statistics"
        assert self.deviation is not None
        return self.mean[..., None], self.deviation[..., None]
