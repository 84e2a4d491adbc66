"""The classifier: encoder, mean over patches, depth-wise separable convolution, linear layer (paper, eq. 7)."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.method.layers import DepthwiseConv, Dropout, Linear, PointwiseConv

Convolution = Literal["per_axis", "across_axes", "none"]


class Head(nn.Module):
    """From f̃, a vector an axis, to the logits of the classes."""

    def __init__(
        self,
        axes: int,
        model_size: int,
        classes: int,
        *,
        convolution: Convolution,
        fused_size: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        """Settings are those of `config.Classifier`; `fused_size` is D', and D where none is given."""
        super().__init__()
        size = (fused_size or model_size) if convolution == "across_axes" else model_size
        self.fusion = _fusion(convolution, axes, model_size, size)
        self.dropout = Dropout(dropout)
        self.linear = Linear(axes * size, classes)

    def forward(
        self, features: Float[Tensor, "*models batch axes model_size"]
    ) -> Float[Tensor, "*models batch classes"]:
        return self.linear(self.dropout(self.fusion(features)).flatten(-2))


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

    def forward(self, windows: Float[Tensor, "*models batch axes length"]) -> Float[Tensor, "*models batch classes"]:
        return self.head(self.features(windows))


class SwapLastTwo(nn.Module):
    """Exchange axes and features, so that a convolution runs over the other one."""

    def forward(
        self, features: Float[Tensor, "*models batch rows columns"]
    ) -> Float[Tensor, "*models batch columns rows"]:
        return features.transpose(-2, -1)


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
