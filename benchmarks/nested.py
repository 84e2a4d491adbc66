"""A search of its own for each held-out animal: settings are chosen on others, and the animal is scored once.

The animals are held out in pairs. Of the others three validate and the rest train, for each setting of the search; the
best epoch of the best setting is trained again on all animals but one of the pair, which is scored then, whatever comes
out. Nothing that was known of an animal's labels has a part in what is scored on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from aar_ray.corpus.splits import Fold
from aar_ray.seeds import stream

Key = TypeVar("Key")

VALIDATING = 3
"""Animals on which the settings for a pair are chosen."""


@dataclass(frozen=True)
class Pair:
    """Two animals that are held out together."""

    held_out: tuple[str, ...]
    inner: Fold
    """For the search: neither of the two has a part in it."""
    outer: tuple[Fold, ...]
    """One for each of the two: all other animals train."""


class Chosen(NamedTuple):
    """What a search found."""

    place: int
    """Of the setting among those that were tried."""
    epochs: int
    score: float
    """Macro-F1 on the animals that chose: the best of many, so overstated."""


def pairs_of(animals: Sequence[str], seed: int) -> tuple[Pair, ...]:
    """The animals two by two, in an order that the seed draws; the next three on the circle validate.

    Raises:
        ValueError: an odd number of animals, or too few for a search.
    """
    if len(animals) % 2 or len(animals) < 2 + VALIDATING + 2:
        raise ValueError(f"pairs need an even number of animals, 8 or more, got {len(animals)}")
    circle = [sorted(animals)[place] for place in stream(seed, "pairs").permutation(len(animals))]
    pairs = []
    for first in range(0, len(circle), 2):
        others = circle[first + 2 :] + circle[:first]
        held_out = tuple(circle[first : first + 2])
        inner = Fold(
            "+".join(held_out), tuple(sorted(others[VALIDATING:])), tuple(sorted(others[:VALIDATING])), held_out
        )
        outer = tuple(Fold(one, tuple(sorted(set(circle) - {one})), (one,), ()) for one in held_out)
        pairs.append(Pair(held_out, inner, outer))
    return tuple(pairs)


def choose(curves: Sequence[Sequence[float]]) -> Chosen:
    """The best epoch of the best setting; ties go to fewer epochs and the earlier setting.

    Args:
        curves: for each setting its validation macro-F1 after each epoch.
    """
    found = [(-score, epoch, place) for place, curve in enumerate(curves) for epoch, score in enumerate(curve, start=1)]
    score, epoch, place = min(found)
    return Chosen(place, epoch, -score)


def grouped(chosen: Mapping[str, Key]) -> dict[Key, list[str]]:
    """The animals of each choice."""
    groups: dict[Key, list[str]] = {}
    for animal, key in chosen.items():
        groups.setdefault(key, []).append(animal)
    return groups


def rows(scores: Mapping[tuple[int, str], float], seeds: Sequence[int], animals: Sequence[str]) -> NDArray[np.float64]:
    """[seeds, animals]."""
    return np.array([[scores[seed, animal] for animal in animals] for seed in seeds])
