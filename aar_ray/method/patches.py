"""Patches of a window (paper, eq. 5 and figure 3)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def patch_count(length: int, patch_length: int, patch_stride: int) -> int:
    """N = floor((L - P) / S) + 2 (paper, eq. 5).

    Raises:
        ValueError: the patch is longer than the series.
    """
    if patch_length > length:
        raise ValueError(f"patch_length must be at most the {length} values of the series, got {patch_length}")
    return (length - patch_length) // patch_stride + 2


def ends_in_padding(length: int, patch_length: int, patch_stride: int) -> bool:
    """Whether the last patch is nothing but the repeated last value: S = P, and S divides L - P."""
    return (patch_count(length, patch_length, patch_stride) - 1) * patch_stride >= length


def cut_patches(
    series: Float[Tensor, "*models batch axes length"], *, patch_length: int, patch_stride: int
) -> Float[Tensor, "*models batch axes patches patch_length"]:
    """Cut each axis of each window or spectrum into overlapping patches (paper, eq. 5).

    The last value is first repeated `patch_stride` times, so the end of the series is seen. "Symmetric padding" in
    the paper's text would pad the start as well, which contradicts its eq. 5.

    Args:
        series: z-scored acceleration, or magnitudes of its spectrum.
        patch_length: P, in values; at most L.
        patch_stride: S, in values.

    Returns:
        floor((L - P) / S) + 2 patches an axis.
    """
    patch_count(series.shape[-1], patch_length, patch_stride)
    padded = torch.cat([series, series[..., -1:].expand(*series.shape[:-1], patch_stride)], dim=-1)
    return padded.unfold(-1, patch_length, patch_stride)
