"""Labelled windows by which a pre-train is watched: how well a linear probe on h tells behaviours apart.

The probe never changes the encoder. It sees the animals that no fold of the study tests, and scores each of them by a
probe that was trained on the others. Where every animal validates once (leave one subject out) its score is therefore
of the same kind as the validation score by which trials are ranked: a study may drop a pre-train by it, and must not
report it as a result.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.corpus.splits import Fold

WINDOWS = 2048
"""At most this many are looked at, as many of each animal, spread evenly over its recordings."""


def probe_windows(labelled: LabelledWindows, folds: Sequence[Fold]) -> LabelledWindows | None:
    """What a study lets the probe see, in g; None where fewer than two animals are left that no fold tests.

    Args:
        labelled: windows in g, without those of sealed animals.
        folds: of the study; test animals of any of them are left out.
    """
    tested = {animal for fold in folds for animal in fold.test}
    animals = sorted({str(animal) for animal in labelled.subjects} - tested)
    if len(animals) < 2:
        return None
    each = WINDOWS // len(animals)
    return labelled.at(np.concatenate([_spread(np.flatnonzero(labelled.subjects == name), each) for name in animals]))


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
