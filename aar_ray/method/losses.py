"""The three losses of TF-C and their weighted sum (paper, eqs. 1 to 4).

All similarities and logarithms are taken in float32 at least, whatever the encoders' precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

Embeddings = Float[Tensor, "batch size"]
Scalar = Float[Tensor, ""]

EPSILON = 1e-8
"""Lower bound of a norm, and of what stands under the root of the Euclidean distance."""


@dataclass(frozen=True)
class Losses:
    """Means over a batch: `total` is eq. 4, the others are its terms, unweighted."""

    total: Scalar
    time: Scalar
    frequency: Scalar
    consistency: Scalar
    alignment: Scalar


def contrastive_loss(
    originals: Embeddings,
    augmented: Embeddings,
    *,
    temperature: float,
    contrastive_form: Literal["decoupled", "nt_xent"] = "decoupled",
    anchors: Literal["originals", "both"] = "originals",
) -> Scalar:
    """L^T or L^F, averaged over the batch (paper, eqs. 1 and 2).

    An anchor's positive is its own augmented view; its negatives are all other windows' originals and augmented views
    in the batch. As printed, the positive is not part of the denominator (`decoupled`).

    Args:
        originals: h^t or h^f.
        augmented: h^T or h^F, row by row of the same windows.
        temperature: τ.
        contrastive_form: `nt_xent` adds the positive to the denominator.
        anchors: `both` also takes each augmented view as an anchor, and averages.

    Raises:
        ValueError: fewer than two windows, which leave no negatives; a temperature that is not positive.
    """
    if len(originals) < 2:
        raise ValueError(f"a contrastive loss needs at least 2 windows in a batch, got {len(originals)}")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    # autocast would take the products of float32 vectors in half precision, an error of 0.3 at temperature 0.01
    with torch.autocast(originals.device.type, enabled=False):
        originals, augmented = _unit(originals), _unit(augmented)
        loss = _anchored(originals, augmented, temperature, contrastive_form)
        if anchors == "both":
            loss = (loss + _anchored(augmented, originals, temperature, contrastive_form)) / 2
    return loss


def _anchored(anchor: Embeddings, other: Embeddings, temperature: float, contrastive_form: str) -> Scalar:
    to_own_view = anchor @ anchor.T / temperature
    to_other_view = anchor @ other.T / temperature
    positive = to_other_view.diagonal()
    itself = torch.eye(len(anchor), dtype=torch.bool, device=anchor.device)
    to_own_view = to_own_view.masked_fill(itself, -torch.inf)
    if contrastive_form == "decoupled":
        to_other_view = to_other_view.masked_fill(itself, -torch.inf)
    # logsumexp, since exp(1 / temperature) overflows float32 already at temperature 0.01
    log_denominator = torch.cat([to_own_view, to_other_view], dim=1).logsumexp(dim=1)
    return (log_denominator - positive).mean()


def consistency_loss(
    z_t: Embeddings,
    z_T: Embeddings,  # noqa: N803 - the paper's case tells the views apart
    z_f: Embeddings,
    z_F: Embeddings,  # noqa: N803
    *,
    margin: float,
    margin_form: Literal["hinge", "linear"] = "hinge",
    distance: Literal["cosine", "euclidean"] = "cosine",
) -> Scalar:
    """L^C, averaged over the batch: S^tf should be smaller than S^Tf, S^tF and S^TF by a margin (paper, eq. 3).

    Args:
        z_t, z_T: projections of the original and the augmented window.
        z_f, z_F: projections of the original and the augmented spectrum.
        margin: δ.
        margin_form: eq. 3 is printed without max(0, .) (`linear`), under which δ is a constant without gradient and
            the distances run away; `hinge` puts it around each of the three terms.
        distance: d, 1 - cosine in [0, 2], or Euclidean between normalised vectors, also in [0, 2].
    """
    z_t, z_T, z_f, z_F = (_unit(z) for z in (z_t, z_T, z_f, z_F))  # noqa: N806
    measure = _cosine_distance if distance == "cosine" else _euclidean_distance
    original = measure(z_t, z_f)
    pairs = torch.stack([measure(z_T, z_f), measure(z_t, z_F), measure(z_T, z_F)])
    terms = original - pairs + margin
    if margin_form == "hinge":
        terms = terms.relu()
    return terms.sum(dim=0).mean()


def joint_loss(
    time: Scalar,
    frequency: Scalar,
    consistency: Scalar,
    alignment: Scalar,
    *,
    contrastive_weight: float,
    alignment_weight: float = 0.0,
    time_weight: float = 1.0,
    frequency_weight: float = 1.0,
) -> Losses:
    """λ (L^T + L^F) + (1 - λ) L^C (paper, eq. 4), plus the weighted alignment term that the paper does not have.

    `time_weight` and `frequency_weight` weigh L^T and L^F inside the bracket; 0 leaves one out.
    """
    contrast = time_weight * time + frequency_weight * frequency
    total = contrastive_weight * contrast + (1 - contrastive_weight) * consistency
    return Losses(total + alignment_weight * alignment, time, frequency, consistency, alignment)


def _unit(embeddings: Embeddings) -> Embeddings:
    precise = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
    return normalize(precise, dim=-1, eps=EPSILON)


def _cosine_distance(one: Embeddings, other: Embeddings) -> Float[Tensor, " batch"]:
    return 1 - (one * other).sum(dim=-1)


def _euclidean_distance(one: Embeddings, other: Embeddings) -> Float[Tensor, " batch"]:
    # the root's gradient is infinite at 0
    return ((one - other).square().sum(dim=-1) + EPSILON).sqrt()
