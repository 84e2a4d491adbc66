"""What tells a useful embedding from a collapsed one, without labels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

Embeddings = Float[Tensor, "batch size"]


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
