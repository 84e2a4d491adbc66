"""Know a recording again by its content, under another name, unit, delimiter, compression or number of digits.

A block of samples is known by where each axis has its largest and its smallest value: no unit changes that, and
rounding seldom does. A recording is known by the blocks of the smallest hashes (a bottom-k sketch: Cohen and Kaplan,
"Summarizing data using bottom-k sketches", PODC 2007), so that two recordings are compared without their samples.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

BLOCK = 64
"""Samples; their extremes on three axes have 36 bits."""
KEPT = 64
"""Blocks of a sketch."""
SHARED = 8
"""Blocks that two different recordings never share by chance."""


def sketch_of(samples: NDArray[np.float64]) -> set[int]:
    """Hashes of a recording's blocks, the KEPT smallest; blocks with a tie between extremes tell nothing.

    Args:
        samples: [T, 3], finite, in any unit.
    """
    count = len(samples) // BLOCK
    blocks = samples[: count * BLOCK].reshape(count, BLOCK, 3)
    code = np.zeros(count, dtype=np.uint64)
    plain = np.ones(count, dtype=np.bool_)
    for extreme, place in ((blocks.max(axis=1), blocks.argmax(axis=1)), (blocks.min(axis=1), blocks.argmin(axis=1))):
        plain &= ((blocks == extreme[:, None]).sum(axis=1) == 1).all(axis=1)
        for axis in range(3):
            code = code * np.uint64(BLOCK) + place[:, axis].astype(np.uint64)
    return smallest({int(one) for one in _mixed(code[plain])})


def smallest(hashes: set[int]) -> set[int]:
    """What a sketch keeps of several taken together."""
    return hashes if len(hashes) <= KEPT else set(sorted(hashes)[:KEPT])


def same_recordings(sketches: Mapping[str, set[int]]) -> Iterator[tuple[str, str]]:
    """Pairs of names whose sketches are of one recording, or of one that holds much of the other."""
    holders: dict[int, list[str]] = defaultdict(list)
    for name in sorted(sketches):
        for one in sketches[name]:
            holders[one].append(name)
    shared = Counter(pair for names in holders.values() for pair in combinations(names, 2))
    return (pair for pair, count in sorted(shared.items()) if count >= SHARED)


def _mixed(code: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread codes over 62 bits, so that the smallest are a random choice (the finaliser of SplitMix64)."""
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (code ^ (code >> np.uint64(31))) >> np.uint64(2)
