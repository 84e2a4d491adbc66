"""Whether an encoder has collapsed, by what was measured of its embeddings: read where there is no torch."""

from __future__ import annotations

from collections.abc import Mapping

COLLAPSED_COSINE = 0.99
"""Mean cosine between different windows above which all of them look the same."""
COLLAPSED_RANK = 1.5
"""Effective rank below which the windows lie on a line."""


def collapse(record: Mapping[str, float]) -> str | None:
    """What is wrong with an encoder whose epoch's record this is, in words; None while its embeddings are spread.

    Args:
        record: `off_diagonal_cosine_h`, `effective_rank_h` and the same of z, as `training.pretrain` watches them.
    """
    for name, place in (("h", "the encoder's output"), ("z", "the projection that the consistency loss sees")):
        cosine, rank = record[f"off_diagonal_cosine_{name}"], record[f"effective_rank_{name}"]
        if cosine > COLLAPSED_COSINE:
            return f"{name}, {place}, has collapsed: the mean cosine between different windows is {cosine:.3f}"
        if rank < COLLAPSED_RANK:
            return f"{name}, {place}, has collapsed onto a line: its effective rank is {rank:.2f}"
    return None
