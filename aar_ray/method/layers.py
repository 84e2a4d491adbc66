"""Layers that are one model's, or many models' at once where their parameters have a leading model dimension.

torch's own layers with torch's own names and initial weights; given stacked parameters (`torch.func.functional_call`)
they take stacked input, [models, ...], and do for each model what it would do alone. On a small batch one call for ten
models costs little more than one call for one.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm, layer_norm, pad

from aar_ray.method.products import product


class Linear(nn.Linear):
    """x Wᵀ + b."""

    def forward(self, inputs: Float[Tensor, "*rows size"]) -> Float[Tensor, "*rows out"]:
        return product(inputs, self.weight, self.bias)


class LayerNorm(nn.LayerNorm):
    """Layer norm over the last dimension."""

    def forward(self, inputs: Float[Tensor, "*rows size"]) -> Float[Tensor, "*rows size"]:
        if self.weight.dim() == 1:
            return super().forward(inputs)
        normalised = layer_norm(inputs, self.normalized_shape, eps=self.eps)
        return torch.addcmul(_beside_rows(self.bias, inputs), normalised, _beside_rows(self.weight, inputs))


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch norm of each feature over all tokens of the batch, as the original PatchTST has it."""

    def forward(
        self, tokens: Float[Tensor, "*models series patches size"]
    ) -> Float[Tensor, "*models series patches size"]:
        if self.weight.dim() == 1:
            return super().forward(tokens.flatten(0, -2)).view_as(tokens)
        mean, variance, count = self.running_mean, self.running_var, self.num_batches_tracked
        if self.training and count is not None:
            count.add_(1)
        # one model after another: the sums of one wide batch norm would depend on how many models there are
        assert mean is not None
        assert variance is not None
        parts = zip(tokens.flatten(1, -2), mean, variance, self.weight, self.bias, strict=True)
        normalised = [batch_norm(*part, self.training, self.momentum or 0.0, self.eps) for part in parts]
        return torch.stack(normalised).view_as(tokens)


class DepthwiseConv(nn.Conv1d):
    """Each channel convolved with a kernel of its own, zeros beyond both ends."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)

    def forward(self, series: Float[Tensor, "*rows channels places"]) -> Float[Tensor, "*rows channels places"]:
        if self.weight.dim() == 3:
            return super().forward(series)
        assert self.bias is not None
        kernel = self.kernel_size[0]
        taps = pad(series, (kernel // 2, kernel // 2)).unfold(-1, kernel, 1)
        # [models, channels, 1, kernel] beside [models, rows, channels, places, kernel]
        return (taps * self.weight.unsqueeze(1)).sum(dim=-1) + self.bias[:, None, :, None]


class PointwiseConv(nn.Conv1d):
    """All channels of a place mixed with one another: a convolution of kernel 1."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, 1)

    def forward(self, series: Float[Tensor, "*rows channels places"]) -> Float[Tensor, "*rows out places"]:
        if self.weight.dim() == 3:
            return super().forward(series)
        assert self.bias is not None
        mixed = torch.einsum("moi,mbip->mbop", self.weight.squeeze(-1), series)
        return mixed + self.bias[:, None, :, None]


class Keep(Protocol):
    """Where dropout masks come from, if not from torch's global generator."""

    def take(self, values: Tensor) -> Tensor | None:
        """The next mask, shaped like the values: 0 to drop, 1 / (1 - p) to keep; None to keep all as they are."""


class Dropout(nn.Dropout):
    """Dropout whose masks may come from named streams, one a model."""

    keep: Keep | None = None

    def forward(
        self, branch: Float[Tensor, "*shape"], onto: Float[Tensor, "*shape"] | None = None
    ) -> Float[Tensor, "*shape"]:
        """The branch, some of whose values are dropped; added to the tokens it left, if they are given."""
        if self.keep is None or not self.training:
            branch, mask = super().forward(branch), None
        else:
            mask = self.keep.take(branch)
        if onto is None:
            return branch if mask is None else branch * mask
        return onto + branch if mask is None else torch.addcmul(onto, branch, mask)


def mixed_values(
    projected: Float[Tensor, "*rows tokens 3 heads size"],
) -> Float[Tensor, "*rows tokens heads size"]:
    """softmax(Q Kᵀ / √d) V of each head and row, from Q, K and V of each token; the softmax in float32 at least."""
    if projected.device.type == "cpu":
        return _ShortAttention.apply(projected.flatten(0, -5)).unflatten(0, projected.shape[:-4])
    return plainly_mixed_values(projected)


def plainly_mixed_values(
    projected: Float[Tensor, "*rows tokens 3 heads size"],
) -> Float[Tensor, "*rows tokens heads size"]:
    """The same in torch's own steps, which a GPU takes."""
    query, key, value = projected.transpose(-4, -2).unbind(-3)  # each [*rows, heads, tokens, size]
    # plain products: at 6 to 25 tokens the fused kernels cost more than they save
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)
    return (_precise(scores).softmax(dim=-1).to(value.dtype) @ value).transpose(-3, -2)


class _ShortAttention(torch.autograd.Function):
    """For processors, whose time goes into copies here: one of Q, K and V together, none in between.

    The softmax takes whole-tensor steps, since torch's kernel takes one row at a time, 20 times longer at 12 values.
    """

    @staticmethod
    def forward(ctx: Any, projected: Float[Tensor, "rows tokens 3 heads size"]) -> Tensor:
        rows, tokens, _, heads, size = projected.shape
        query, key, value = projected.permute(2, 0, 3, 1, 4).reshape(3, rows * heads, tokens, size)
        precise = _precise(torch.bmm(query, key.transpose(1, 2))).mul_(size**-0.5)
        precise.sub_(precise.amax(dim=-1, keepdim=True)).exp_()
        precise.div_(precise.sum(dim=-1, keepdim=True))
        shares = precise.to(value.dtype)
        ctx.save_for_backward(query, key, value, precise, shares)
        return torch.bmm(shares, value).view(rows, heads, tokens, size).transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Float[Tensor, "rows tokens heads size"]) -> Tensor:
        query, key, value, precise, shares = ctx.saved_tensors
        rows, tokens, heads, size = gradient.shape
        mixed = gradient.transpose(1, 2).reshape(rows * heads, tokens, size)
        both = query.new_empty(3, rows * heads, tokens, size)
        torch.bmm(shares.transpose(1, 2), mixed, out=both[2])
        scores = _precise(torch.bmm(mixed, value.transpose(1, 2))).mul_(precise)
        scores.addcmul_(precise, scores.sum(dim=-1, keepdim=True), value=-1).mul_(size**-0.5)
        scores = scores.to(value.dtype)
        torch.bmm(scores, key, out=both[0])
        torch.bmm(scores.transpose(1, 2), query, out=both[1])
        return both.view(3, rows, heads, tokens, size).permute(1, 3, 0, 2, 4)


def _precise(values: Tensor) -> Tensor:
    """In float32 at least: the same tensor, or a copy of one that is less precise."""
    return values if values.dtype == torch.float64 else values.float()


def _beside_rows(parameter: Float[Tensor, "models size"], inputs: Tensor) -> Tensor:
    """[models, 1, ..., 1, size]."""
    return parameter.view(len(parameter), *[1] * (inputs.dim() - 2), parameter.shape[-1])
