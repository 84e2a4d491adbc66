"""The PatchTST encoder, used as E_T on windows and as E_F on spectra (paper, eq. 6 and the text around it)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aar_ray.method.layers import Dropout, LayerNorm, Linear, TokenBatchNorm, mixed_values
from aar_ray.method.patches import cut_patches, patch_count


class PatchTSTEncoder(nn.Module):
    """Patches of each axis by themselves, embedded, given a position, and passed through a Transformer.

    All weights are shared by the axes; no axis and no window sees another one. With stacked weights (see `layers`) it
    is many encoders, and its input and output have a leading model dimension.
    """

    def __init__(
        self,
        length: int,
        *,
        patch_length: int,
        patch_stride: int,
        model_size: int,
        layers: int,
        heads: int,
        feedforward_size: int,
        dropout: float,
        normalisation: Literal["layer", "batch"],
        norm_position: Literal["pre", "post"],
        positions: Literal["learned", "sincos"],
    ) -> None:
        """Settings are those of `config.PatchTST`; `length` is L, or the number of bins of a spectrum."""
        super().__init__()
        self.length, self.patch_length, self.patch_stride = length, patch_length, patch_stride
        self.patches = patch_count(length, patch_length, patch_stride)
        self.model_size = model_size
        self.patch_projection = Linear(patch_length, model_size)
        self.positions = _positions(positions, self.patches, model_size)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(model_size, heads, feedforward_size, dropout, normalisation, norm_position)
            for _ in range(layers)
        )
        # pre-norm layers leave their sum unnormalised
        self.final_norm = token_norm(normalisation, model_size) if norm_position == "pre" else nn.Identity()

    def forward(
        self, series: Float[Tensor, "*models batch axes length"]
    ) -> Float[Tensor, "*models batch axes patches model_size"]:
        """The encoded tokens f of every axis."""
        patches = cut_patches(series, patch_length=self.patch_length, patch_stride=self.patch_stride)
        tokens = self.patch_projection(patches.flatten(-4, -3)) + self.positions.unsqueeze(-3)  # eq. 6
        tokens = self.dropout(tokens)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.final_norm(tokens).unflatten(-3, series.shape[-3:-1])


class TransformerLayer(nn.Module):
    """Multi-head self-attention and a GELU feed-forward network, each in a residual branch."""

    def __init__(
        self,
        model_size: int,
        heads: int,
        feedforward_size: int,
        dropout: float,
        normalisation: Literal["layer", "batch"],
        norm_position: Literal["pre", "post"],
    ) -> None:
        super().__init__()
        self.pre_norm = norm_position == "pre"
        self.attention = SelfAttention(model_size, heads)
        self.feedforward = nn.Sequential(
            Linear(model_size, feedforward_size),
            nn.GELU(),
            Dropout(dropout),
            Linear(feedforward_size, model_size),
        )
        self.attention_norm = token_norm(normalisation, model_size)
        self.feedforward_norm = token_norm(normalisation, model_size)
        self.dropout = Dropout(dropout)

    def forward(
        self, tokens: Float[Tensor, "*models series patches size"]
    ) -> Float[Tensor, "*models series patches size"]:
        if self.pre_norm:
            tokens = self.dropout(self.attention(self.attention_norm(tokens)), onto=tokens)
            return self.dropout(self.feedforward(self.feedforward_norm(tokens)), onto=tokens)
        tokens = self.attention_norm(self.dropout(self.attention(tokens), onto=tokens))
        return self.feedforward_norm(self.dropout(self.feedforward(tokens), onto=tokens))


class SelfAttention(nn.Module):
    """softmax(Q Kᵀ / √d) V for each head."""

    def __init__(self, model_size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = Linear(model_size, 3 * model_size)
        self.output = Linear(model_size, model_size)

    def forward(
        self, tokens: Float[Tensor, "*models series patches size"]
    ) -> Float[Tensor, "*models series patches size"]:
        projected = self.query_key_value(tokens).unflatten(-1, (3, self.heads, -1))
        return self.output(mixed_values(projected).flatten(-2))


def token_norm(normalisation: Literal["layer", "batch"], size: int) -> nn.Module:
    """The normalisation that the setting names."""
    return LayerNorm(size) if normalisation == "layer" else TokenBatchNorm(size)


def _positions(kind: Literal["learned", "sincos"], patches: int, size: int) -> nn.Parameter:
    """W_pos: one vector a patch. The paper's D x P cannot be added to N tokens; D x N is meant."""
    if kind == "learned":
        return nn.Parameter(torch.empty(patches, size).normal_(std=0.02))
    frequency = torch.exp(torch.arange(0, size, 2) * (-math.log(10_000.0) / size))
    angle = torch.arange(patches)[:, None] * frequency
    interleaved = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :size]
    return nn.Parameter(interleaved, requires_grad=False)
