"""Diagnostics against double sums and closed forms."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from aar_ray.method.collapse import collapse
from aar_ray.method.diagnostics import (
    PROBE_RIDGE,
    alignment,
    effective_rank,
    off_diagonal_cosine,
    probe_macro_f1,
    uniformity,
)


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


def three_animals(*, shift: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of 83 windows of three animals and three behaviours, the third animal without the last of them."""
    animals = torch.arange(83) % 3
    labels = torch.where(animals == 2, torch.arange(83) % 2, torch.arange(83) // 3 % 3)
    return draw(83, 7) + shift * torch.eye(7, dtype=torch.float64)[labels], labels, animals


def test_the_probe_is_a_balanced_ridge_regression_leave_one_animal_out() -> None:
    spread = torch.logspace(-3, 3, 7, dtype=torch.float64)  # features of unlike scale weigh alike
    embeddings = three_animals(shift=1.5)[0] * spread
    h, labels, animals = (part.numpy() for part in (embeddings, *three_animals()[1:]))
    scaled = StandardScaler().fit_transform(h) * math.sqrt(82 / 83)  # by n, and ours by n - 1
    scaled = np.concatenate([scaled, np.ones((83, 1))], axis=1)  # our constant is pulled towards zero too
    scores = []
    for animal in range(3):
        train, left_out = animals != animal, animals == animal
        weights = (1 / np.bincount(labels[train]) / 3)[labels[train]]
        ridge = Ridge(alpha=PROBE_RIDGE, fit_intercept=False)
        predicted = ridge.fit(scaled[train], np.eye(3)[labels[train]], sample_weight=weights).predict(scaled[left_out])
        here = sorted(set(labels[left_out]))
        scores.append(f1_score(labels[left_out], predicted.argmax(axis=1), labels=here, average="macro"))
    found = probe_macro_f1(embeddings, *three_animals()[1:], classes=3)
    assert found == pytest.approx(np.mean(scores), abs=1e-12)
    assert 0.4 < found < 0.95  # a score that a wrong rule would miss


def test_the_probe_scores_what_can_be_told_apart_and_survives_what_cannot() -> None:
    assert probe_macro_f1(*three_animals(shift=50.0), classes=3) == 1
    assert probe_macro_f1(*three_animals(), classes=3) < 0.6
    _, labels, animals = three_animals()
    assert 0 <= probe_macro_f1(torch.ones(83, 7), labels, animals, classes=4) < 0.5  # collapsed, and an absent class


def test_the_probe_learns_nothing_from_the_animal_that_it_scores() -> None:
    # behaviours are told by the animal's own offset: within an animal alone they can be learnt
    labels, animals = torch.arange(60) % 2, torch.arange(60) // 20
    h = torch.nn.functional.one_hot(2 * animals + labels, 6).double()
    assert probe_macro_f1(h, labels, animals, classes=2) < 0.5


def test_a_probe_needs_two_animals() -> None:
    h, labels, _ = three_animals()
    with pytest.raises(ValueError, match="at least 2 animals, got 1"):
        probe_macro_f1(h, labels, torch.zeros_like(labels), classes=3)


SPREAD = {
    "off_diagonal_cosine_h": 0.9,
    "effective_rank_h": 20.0,
    "off_diagonal_cosine_z": 0.3,
    "effective_rank_z": 9.0,
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"off_diagonal_cosine_h": 0.995}, "h, the encoder's output, has collapsed: .* is 0.995"),
        ({"off_diagonal_cosine_z": 0.999}, "z, the projection .*, has collapsed: .* is 0.999"),
        ({"effective_rank_h": 1.2}, "h, .* onto a line: its effective rank is 1.20"),
        ({"effective_rank_z": 1.0}, "z, .* onto a line: its effective rank is 1.00"),
    ],
)
def test_a_collapse_is_said_in_words(change: dict[str, float], said: str) -> None:
    assert collapse(SPREAD) is None
    reason = collapse({**SPREAD, **change})
    assert reason is not None
    assert re.search(said, reason)
