"""TF-C's training step written plainly, as the paper reads: what the fast form has to equal, and is timed against.

Weights come by name from a `TFCModel`'s state; every view goes through its encoder by itself; attention, softmax and
Adam are torch's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from aar_ray.config import Settings
from aar_ray.method.tfc import Views

State = Mapping[str, Tensor]


def reference_loss(state: State, views: Views, settings: Settings) -> Tensor:
    """Eq. 4 of a batch, without dropout; layer norm before each sub-layer, mean over patches, cosine distance."""
    h_t, h_T = (embedding(state, "time_encoder", x, settings) for x in (views.windows, views.augmented_windows))  # noqa: N806
    h_f, h_F = (embedding(state, "frequency_encoder", x, settings) for x in (views.spectra, views.augmented_spectra))  # noqa: N806
    z_t, z_T = projections(state, "time_projector", h_t, h_T)  # noqa: N806
    z_f, z_F = projections(state, "frequency_projector", h_f, h_F)  # noqa: N806
    tfc = settings.tfc
    contrast = contrastive(h_t, h_T, tfc.temperature) + contrastive(h_f, h_F, tfc.temperature)
    consistency = sum(
        F.relu(distance(z_t, z_f) - distance(one, other) + tfc.margin)
        for one, other in ((z_T, z_f), (z_t, z_F), (z_T, z_F))
    )
    assert isinstance(consistency, Tensor)
    return tfc.contrastive_weight * contrast + (1 - tfc.contrastive_weight) * consistency.mean()


def embedding(state: State, name: str, series: Tensor, settings: Settings) -> Tensor:
    """h: patches, eq. 6, Transformer layers, mean over the patches, axes side by side."""
    patchtst = settings.patchtst
    padded = F.pad(series, (0, patchtst.patch_stride), mode="replicate")
    patches = padded.unfold(-1, patchtst.patch_length, patchtst.patch_stride)
    tokens = linear(state, f"{name}.patch_projection", patches) + state[f"{name}.positions"]
    for layer in range(patchtst.layers):
        own = f"{name}.layers.{layer}"
        tokens = tokens + attention(
            state, f"{own}.attention", norm(state, f"{own}.attention_norm", tokens), patchtst.heads
        )
        hidden = F.gelu(linear(state, f"{own}.feedforward.0", norm(state, f"{own}.feedforward_norm", tokens)))
        tokens = tokens + linear(state, f"{own}.feedforward.3", hidden)
    return norm(state, f"{name}.final_norm", tokens).mean(dim=2).flatten(1)


def attention(state: State, name: str, tokens: Tensor, heads: int) -> Tensor:
    """softmax(Q Kᵀ / √d) V of each head."""
    query, key, value = (
        part.unflatten(-1, (heads, -1)).transpose(-2, -3)
        for part in linear(state, f"{name}.query_key_value", tokens).chunk(3, dim=-1)
    )
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    mixed = scores.softmax(dim=-1) @ value
    return linear(state, f"{name}.output", mixed.transpose(-2, -3).flatten(-2))


def projections(state: State, name: str, original: Tensor, augmented: Tensor) -> tuple[Tensor, Tensor]:
    """z of both views, over which the batch norm's statistics go."""
    hidden = linear(state, f"{name}.0", torch.cat([original, augmented]))
    hidden = F.batch_norm(hidden, None, None, state[f"{name}.1.weight"], state[f"{name}.1.bias"], training=True)
    z_original, z_augmented = linear(state, f"{name}.3", F.relu(hidden)).chunk(2)
    return z_original, z_augmented


def contrastive(original: Tensor, augmented: Tensor, temperature: float) -> Tensor:
    """Eqs. 1 and 2: the sum below the fraction runs over all other windows."""
    original, augmented = F.normalize(original, dim=1), F.normalize(augmented, dim=1)
    itself = torch.eye(len(original), dtype=torch.bool, device=original.device)
    to_own, to_other = original @ original.T / temperature, original @ augmented.T / temperature
    others = torch.cat([view.masked_fill(itself, -torch.inf) for view in (to_own, to_other)], dim=1)
    return (others.logsumexp(dim=1) - to_other.diagonal()).mean()


def distance(one: Tensor, other: Tensor) -> Tensor:
    """1 - cosine."""
    return 1 - F.cosine_similarity(one, other, dim=1)


def linear(state: State, name: str, inputs: Tensor) -> Tensor:
    return F.linear(inputs, state[f"{name}.weight"], state[f"{name}.bias"])


def norm(state: State, name: str, tokens: Tensor) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.layer_norm(tokens, weight.shape, weight, state[f"{name}.bias"])
