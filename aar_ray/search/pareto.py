"""The Pareto front of macro-F1 and cost: settings that no other beats in the one without paying more of the other."""

from __future__ import annotations

from collections.abc import Sequence


def on_front(scores: Sequence[float], costs: Sequence[float]) -> list[bool]:
    """Whether each point is on the front: no other one scores as much and costs as little, and differs in one of both.

    Args:
        scores: the more the better; a NaN is on no front.
        costs: the less the better, one a score.
    """
    points = list(zip(scores, costs, strict=True))
    return [
        score == score
        and cost == cost
        and not any(other >= score and price <= cost and (other > score or price < cost) for other, price in points)
        for score, cost in points
    ]
