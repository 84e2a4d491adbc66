"""x^f: a window's Fourier magnitudes (paper, "Within the frequency domain")."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


def spectrum_bins(length: int, sides: Literal["one", "two"]) -> int:
    """Number of bins of a window of L samples: L/2 + 1 one-sided, L two-sided."""
    return length // 2 + 1 if sides == "one" else length


def magnitude_spectrum(
    windows: Float[Tensor, "batch axes length"],
    *,
    sides: Literal["one", "two"] = "one",
    scale: Literal["linear", "log1p"] = "linear",
) -> Float[Tensor, "batch axes bins"]:
    """Magnitudes of the orthonormal Fourier transform of each axis.

    A real signal's second half mirrors the first, so one side holds everything at half the tokens.
    """
    transform = torch.fft.rfft if sides == "one" else torch.fft.fft
    magnitudes = transform(windows, dim=-1, norm="ortho").abs()
    return magnitudes.log1p() if scale == "log1p" else magnitudes
