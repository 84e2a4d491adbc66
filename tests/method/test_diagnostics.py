"""Diagnostics against double sums and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from aar_ray.method.diagnostics import alignment, effective_rank, off_diagonal_cosine, uniformity


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit_rows(embeddings: Tensor) -> list[list[float]]:
    return [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in embeddings.tolist()]


def squared_distance(u: list[float], v: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(u, v, strict=True))


def test_alignment_is_the_mean_squared_distance_of_positives() -> None:
    one, other = draw(11, 5), draw(11, 5, seed=1)
    pairs = zip(unit_rows(one), unit_rows(other), strict=True)
    assert alignment(one, other) == pytest.approx(sum(squared_distance(u, v) for u, v in pairs) / 11)
    assert alignment(one, 7 * one) == pytest.approx(0)
    assert alignment(one, -one) == pytest.approx(4)


def test_uniformity_is_the_log_of_the_mean_gaussian_potential_over_pairs() -> None:
    rows = unit_rows(draw(11, 5))
    potentials = [math.exp(-2 * squared_distance(rows[i], rows[j])) for i in range(11) for j in range(i)]
    assert uniformity(draw(11, 5)) == pytest.approx(math.log(sum(potentials) / len(potentials)))


def test_uniformity_in_closed_form() -> None:
    assert uniformity(torch.ones(7, 3)) == pytest.approx(0)  # collapsed
    assert uniformity(torch.tensor([[3.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-8)  # antipodes, d² = 4
    assert uniformity(torch.eye(5)) == pytest.approx(-4)  # orthogonal, d² = 2


def test_off_diagonal_cosine_is_the_mean_over_different_windows() -> None:
    rows = unit_rows(draw(11, 5))
    cosines = [
        sum(a * b for a, b in zip(rows[i], rows[j], strict=True)) for i in range(11) for j in range(11) if i != j
    ]
    assert off_diagonal_cosine(draw(11, 5)) == pytest.approx(sum(cosines) / len(cosines))
    assert off_diagonal_cosine(2 * torch.eye(5)) == pytest.approx(0)
    assert off_diagonal_cosine(torch.ones(7, 3)) == pytest.approx(1)


@pytest.mark.parametrize("directions", [1, 3, 7])
def test_effective_rank_of_equal_spread_is_the_number_of_directions(directions: int) -> None:
    unit = torch.eye(11, dtype=torch.float64)[:directions]
    assert effective_rank(5 + torch.cat([unit, -unit])) == pytest.approx(directions)


def test_effective_rank_is_the_exponential_of_the_entropy_of_the_singular_values() -> None:
    # rows ±3 e1 and ±1 e2: singular values 3 √2 and √2, shares 3/4 and 1/4
    rows = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]], dtype=torch.float64)
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert effective_rank(rows) == pytest.approx(expected)
    assert effective_rank(0.01 * rows + 100) == pytest.approx(expected)  # neither place nor scale matters
    assert effective_rank(torch.ones(7, 3)) == 1.0
