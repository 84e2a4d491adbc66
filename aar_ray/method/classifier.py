"""The classifier: encoder, mean over patches, depth-wise separable convolution, linear layer (paper, eq. 7)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.method.layers import DepthwiseConv, Dropout, Linear, PointwiseConv

Convolution = Literal["per_axis", "across_axes", "none"]

SMALLEST_FEATURE_DEVIATION = 1e-6
"""A feature that varies less over the training windows counts as constant."""


class Context(nn.Module):
    """What is around a window, as hidden units that a head reads beside f̃: GELU(W c + b) of standardised c.

    Not in the paper. Without the hidden layer a network gains less from a context (docs/results.md).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int, hidden_size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.linear = Linear(size, hidden_size)

    def forward(self, context: Float[Tensor, "*models batch size"]) -> Float[Tensor, "*models batch hidden_size"]:
        return gelu(self.linear((context - self.mean.unsqueeze(-2)) / self.deviation.unsqueeze(-2)))

    @torch.no_grad()
    def standardise(self, contexts: Float[Tensor, "windows size"]) -> None:
        """Take mean and deviation of the contexts of the training windows; a constant feature is only centred."""
        self.mean.copy_(contexts.mean(dim=0))
        self.deviation.copy_(_deviation(contexts))


class Head(nn.Module):
    """From f̃, a vector an axis, to the logits of the classes; beside f̃ it may read a window's context."""

    feature_mean: Tensor | None
    feature_deviation: Tensor | None

    def __init__(
        self,
        axes: int,
        model_size: int,
        classes: int,
        *,
        convolution: Convolution,
        fused_size: int | None = None,
        dropout: float = 0.0,
        standardised: bool = False,
        context_size: int = 0,
    ) -> None:
        """Settings are those of `config.Classifier`; `fused_size` is D', and D where none is given.

        A `standardised` head first brings each feature to mean 0 and deviation 1, by `standardise`. One that reads
        contexts is told how many features they have.
        """
        super().__init__()
        self.convolution, self.fused_size = convolution, fused_size
        self.register_buffer("feature_mean", torch.zeros(axes, model_size) if standardised else None)
        self.register_buffer("feature_deviation", torch.ones(axes, model_size) if standardised else None)
        size = (fused_size or model_size) if convolution == "across_axes" else model_size
        self.fusion = _fusion(convolution, axes, model_size, size)
        self.dropout = Dropout(dropout)
        self.context = Context(context_size, model_size) if context_size else None
        self.linear = Linear(axes * size + (model_size if context_size else 0), classes)

    def forward(
        self,
        features: Float[Tensor, "*models batch axes model_size"],
        context: Float[Tensor, "*models batch context_size"] | None = None,
    ) -> Float[Tensor, "*models batch classes"]:
        if self.feature_mean is not None and self.feature_deviation is not None:
            features = (features - self.feature_mean.unsqueeze(-3)) / self.feature_deviation.unsqueeze(-3)
        fused = self.fusion(features).flatten(-2)
        if self.context is not None:
            fused = torch.cat([fused, self.context(context)], dim=-1)
        return self.linear(self.dropout(fused))

    @torch.no_grad()
    def standardise(self, features: Float[Tensor, "windows axes model_size"]) -> None:
        """Take mean and deviation of the features of the training windows; a constant one is only centred.

        Features that nothing trains keep whatever scale their encoder gave them, and the weights on small ones would
        have far to go (so do the linear probes of He et al., CVPR 2022, with a batch norm without weights).
        """
        assert self.feature_mean is not None, "a head that was built to standardise"
        assert self.feature_deviation is not None
        self.feature_mean.copy_(features.mean(dim=0))
        self.feature_deviation.copy_(_deviation(features))


class Classifier(nn.Module):
    """E_T with a head; with stacked weights (see `layers`) many of them."""

    def __init__(self, encoder: PatchTSTEncoder, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def features(
        self, windows: Float[Tensor, "*models batch axes length"]
    ) -> Float[Tensor, "*models batch axes model_size"]:
        """f̃: tokens averaged over the patches of each axis."""
        return self.encoder(windows).mean(dim=-2)

    def forward(
        self,
        windows: Float[Tensor, "*models batch axes length"],
        context: Float[Tensor, "*models batch context_size"] | None = None,
    ) -> Float[Tensor, "*models batch classes"]:
        return self.head(self.features(windows), context)


class SwapLastTwo(nn.Module):
    """Exchange axes and features, so that a convolution runs over the other one."""

    def forward(
        self, features: Float[Tensor, "*models batch rows columns"]
    ) -> Float[Tensor, "*models batch columns rows"]:
        return features.transpose(-2, -1)


def _deviation(features: Float[Tensor, "windows ..."]) -> Tensor:
    """Of each feature over the windows; 1 for a constant one."""
    deviation = features.std(dim=0, unbiased=False)
    return deviation.where(deviation > SMALLEST_FEATURE_DEVIATION, torch.ones_like(deviation))


def _fusion(convolution: Convolution, axes: int, model_size: int, fused_size: int) -> nn.Module:
    """GELU(Conv1x1(Conv1x3(f̃))), eq. 7, in the reading that the setting names."""
    if convolution == "per_axis":
        return nn.Sequential(
            DepthwiseConv(axes, kernel_size=3),
            PointwiseConv(axes, axes),
            nn.GELU(),
        )
    if convolution == "across_axes":
        return nn.Sequential(
            SwapLastTwo(),
            DepthwiseConv(model_size, kernel_size=3),
            PointwiseConv(model_size, fused_size),
            nn.GELU(),
        )
    return nn.Identity()
