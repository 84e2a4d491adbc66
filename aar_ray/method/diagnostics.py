"""What tells a useful embedding from a collapsed one: four looks without labels, and a linear probe."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from aar_ray.method.scores import confusion_matrix, macro_f1

Embeddings = Float[Tensor, "batch size"]

PROBE_RIDGE = 1e-2
"""Pull towards zero of the probe's weights, against features of variance 1."""


def alignment(originals: Embeddings, augmented: Embeddings) -> float:
    """Mean squared distance between normalised positives; 0 is perfect (Wang and Isola 2020)."""
    return float((normalize(originals, dim=1) - normalize(augmented, dim=1)).square().sum(dim=1).mean())


def uniformity(embeddings: Embeddings) -> float:
    """log of the mean of exp(-2 d²) over pairs of normalised embeddings; lower is more spread (ibid.)."""
    squared = torch.pdist(normalize(embeddings, dim=1)).square()
    return float((-2 * squared).logsumexp(dim=0) - torch.tensor(float(len(squared))).log())


def off_diagonal_cosine(embeddings: Embeddings) -> float:
    """Mean cosine between different windows; near 1, all windows look the same."""
    unit = normalize(embeddings, dim=1)
    count = len(unit)
    return float((unit.sum(dim=0).square().sum() - unit.square().sum()) / (count * (count - 1)))


def effective_rank(embeddings: Embeddings) -> float:
    """exp of the entropy of the normalised singular values of the centred embeddings (Roy and Vetterli 2007)."""
    singular = torch.linalg.svdvals(embeddings - embeddings.mean(dim=0))
    total = singular.sum()
    if total == 0:
        return 1.0
    share = singular / total
    return float(torch.special.entr(share).sum().exp())


def probe_macro_f1(
    embeddings: Embeddings, labels: Int[Tensor, " batch"], animals: Int[Tensor, " batch"], *, classes: int
) -> float:
    """Macro-F1 of a linear probe on h, leave one animal out, averaged over the animals.

    For each animal a ridge regression of the behaviours' indicators on the standardised embeddings of all other
    animals, in closed form, in which each behaviour weighs the same; the largest output is the prediction.

    Args:
        embeddings: h of labelled windows.
        labels: behaviour of each window, below `classes`.
        animals: number of each window's animal; at least two occur.
        classes: number of behaviours.

    Raises:
        ValueError: all windows are of one animal.
    """
    present = animals.unique()
    if len(present) < 2:
        raise ValueError(f"a probe that leaves one animal out needs at least 2 animals, got {len(present)}")
    h = embeddings.double()
    h = (h - h.mean(dim=0)) / h.std(dim=0).clamp_min(1e-12)
    h = torch.cat([h, h.new_ones(len(h), 1)], dim=1)
    behaviours = one_hot(labels, classes).double()
    scores = []
    for animal in present:
        left_out = animals == animal
        train, truth = h[~left_out], behaviours[~left_out]
        weights = truth / truth.sum(dim=0).clamp_min(1) / classes
        second = train.T @ (weights.sum(dim=1, keepdim=True) * train)
        ridge = PROBE_RIDGE * torch.eye(len(second), dtype=h.dtype, device=h.device)
        predicted = (h[left_out] @ torch.linalg.solve(second + ridge, train.T @ weights)).argmax(dim=1)
        scores.append(macro_f1(confusion_matrix(labels[left_out].cpu().numpy(), predicted.cpu().numpy(), classes)))
    return sum(scores) / len(scores)
