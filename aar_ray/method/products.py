"""x Wᵀ + b, by whichever of torch's two libraries multiplies faster.

On processors torch hands float32 products to MKL, which uses no AVX-512 on AMD's: 105 GFLOP/s of one Zen 5 core where
oneDNN, which torch brings along too and takes bfloat16 to, has 240 (docs/performance.md). torch has no public way to
choose, so this calls what its compiler calls for a linear layer; where that is missing, in float64 and on other devices
it is torch's own linear layer. So it is under autocast to bfloat16, which torch takes to oneDNN itself; but there each
of many models has its own product: with several threads one product of all can round otherwise than one of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

SMALLEST = 32
"""A product with fewer rows, inputs or outputs is as fast in MKL, whose calls cost less."""


def product(
    inputs: Float[Tensor, "*models_and_rows size"],
    weight: Float[Tensor, "*models out size"],
    bias: Float[Tensor, "*models out"],
) -> Float[Tensor, "*models_and_rows out"]:
    """x Wᵀ + b of all rows; with stacked weights, of each model's rows by its own. Gradients once, not twice."""
    dtype = _taken_in(inputs, weight)
    if dtype is not None:
        result: Tensor = _Product.apply(inputs.to(dtype), weight.to(dtype), bias.to(dtype))
        return result
    if weight.dim() == 2:
        return linear(inputs, weight, bias)
    products = torch.baddbmm(bias.unsqueeze(1), inputs.flatten(1, -2), weight.transpose(1, 2))
    return products.unflatten(1, inputs.shape[1:-1])


def _taken_in(inputs: Tensor, weight: Tensor) -> torch.dtype | None:
    """The number type in which each model has a product of its own; None where torch takes its usual way."""
    *models, out, size = weight.shape
    rows = inputs.numel() // (size * math.prod(models))
    if inputs.device.type != "cpu" or inputs.dtype == torch.float64 or min(rows, out, size) < SMALLEST:
        return None
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") if models else None
    return torch.float32 if inputs.dtype == torch.float32 and _onednn is not None else None


def _found() -> Any:
    """torch's operator, if it is there and the processor has what MKL leaves unused."""
    if not torch.backends.mkldnn.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


_onednn = _found()


def _multiplied(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """rows weightᵀ + bias of one model."""
    if _onednn is None:
        return linear(rows, weight, bias)
    result: Tensor = _onednn(rows, weight, bias, "none", [], "")
    return result


class _Product(torch.autograd.Function):
    """The product and its gradients, by oneDNN where it is, one model after another."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Float[Tensor, "*models_and_rows size"],
        weight: Float[Tensor, "*models out size"],
        bias: Tensor,
    ) -> Float[Tensor, "*models_and_rows out"]:
        ctx.save_for_backward(inputs, weight)
        results = _each(_multiplied, inputs.flatten(weight.dim() - 2, -2), weight, bias)
        return results.view(*inputs.shape[:-1], weight.shape[-2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Float[Tensor, "*models_and_rows out"]) -> tuple[Tensor | None, Tensor, Tensor]:
        inputs, weight = ctx.saved_tensors
        first = weight.dim() - 2
        sent, rows = gradient.contiguous().flatten(first, -2), inputs.flatten(first, -2)
        back = None
        if ctx.needs_input_grad[0]:
            back = _each(lambda one, own: _multiplied(one, own.t()), sent, weight).view(inputs.shape)
        return back, _each(_weight_gradient, sent, rows), sent.sum(dim=-2)


def _each(of_one: Callable[..., Tensor], rows: Tensor, *others: Tensor) -> Tensor:
    """Of one model's matrices, or of each of many models'."""
    return of_one(rows, *others) if rows.dim() == 2 else torch.stack(list(map(of_one, rows, *others)))


def _weight_gradient(sent: Float[Tensor, "rows out"], rows: Float[Tensor, "rows size"]) -> Float[Tensor, "out size"]:
    # oneDNN is up to half as fast again where the result is wider than high
    if sent.shape[1] > rows.shape[1]:
        return _multiplied(rows.t(), sent.t()).t()
    return _multiplied(sent.t(), rows.t())
