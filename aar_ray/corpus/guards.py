"""Leaks that only the windows show: each is an error that names the animals."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aar_ray.corpus.recording import InputError
from aar_ray.corpus.splits import Fold

if TYPE_CHECKING:
    from aar_ray.corpus.labelled import LabelledWindows

COMPARED = 128
"""Windows of two recordings that are compared."""
ENOUGH = 16
"""Windows that both must have at the same moments."""
MOVING = 0.02
"""g, deviation of the norm within a window: below it a sensor mostly shows its own noise."""
TOGETHER = 0.5
"""Correlation of the norm, sample by sample; two animals have about 0, even where they walk side by side."""


def check_sides(labelled: LabelledWindows, fold: Fold) -> None:
    """Refuse a fold with windows of one recording on two sides: neighbours and overlapping windows are nearly equal.

    Raises:
        ValueError: names the animals and the recordings.
    """
    sides = {"training": fold.train, "validation": fold.validation, "test": fold.test}
    found = {name: {str(one) for one in labelled.of(animals).recordings} for name, animals in sides.items()}
    for first, second in combinations(sides, 2):
        shared = found[first] & found[second]
        if shared:
            both = np.isin(labelled.recordings.astype(str), [*shared])
            animals = sorted({str(one) for one in labelled.subjects[both]})
            raise ValueError(
                f"fold {fold.name}: windows of one recording must be on one side, got {', '.join(sorted(shared))} in "
                f"{first} and {second} (animals {', '.join(animals)}); a recording is of one animal"
            )


def check_statistics(animals: Collection[str], fold: Fold) -> None:
    """Refuse a z-score with statistics of animals that a fold is scored on.

    Args:
        animals: whose windows mean and deviation come from.
        fold: whose windows are to be scored.

    Raises:
        ValueError: names the animals.
    """
    strangers = sorted(set(animals) - set(fold.train))
    if strangers:
        raise ValueError(
            f"fold {fold.name}: mean and deviation must come from its training animals ({', '.join(fold.train)}), got "
            f"those of {', '.join(strangers)} too"
        )


def check_sensors(labelled: LabelledWindows) -> None:
    """Refuse two animals whose sensors felt the same movements at the same moments: they are sensors of one animal.

    The norm of the acceleration does not depend on how a sensor is turned, so that six sensors on one neck show the
    same norm, sample by sample.

    Raises:
        InputError: names all such pairs.
    """
    norms = np.linalg.norm(labelled.windows, axis=1)
    deviations = norms.std(axis=1)
    moving = deviations > MOVING
    recordings = labelled.recordings.astype(str)
    own = {name: np.flatnonzero((recordings == name) & moving) for name in np.unique(recordings)}
    pairs = {
        tuple(sorted((str(labelled.subjects[one[0]]), str(labelled.subjects[other[0]]))))
        for one, other in combinations([rows for rows in own.values() if len(rows) >= ENOUGH], 2)
        if labelled.subjects[one[0]] != labelled.subjects[other[0]] and _together(norms, labelled.starts, one, other)
    }
    if pairs:
        raise InputError(
            "animals must not share their movements, got the same ones at the same moments in "
            f"{'; '.join(' and '.join(pair) for pair in sorted(pairs))}: sensors of one animal have one name; "
            "map them with same_animal"
        )


def _together(
    norms: NDArray[np.float32], starts: NDArray[np.float64], one: NDArray[np.intp], other: NDArray[np.intp]
) -> bool:
    """Whether two recordings' norms go together over the windows that begin at the same moment."""
    _, first, second = np.intersect1d(starts[one].round(2), starts[other].round(2), return_indices=True)
    if len(first) < ENOUGH:
        return False
    sides = [norms[rows[chosen[:COMPARED]]] for rows, chosen in ((one, first), (other, second))]
    left, right = (side - side.mean(axis=1, keepdims=True) for side in sides)
    return float((left * right).sum() / np.sqrt((left**2).sum() * (right**2).sum())) > TOGETHER
