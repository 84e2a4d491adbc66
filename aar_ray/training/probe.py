"""Labelled windows by which a pre-train is watched: how well a linear probe on h tells behaviours apart.

The probe never changes the encoder. It sees the animals that no fold of the study tests, and scores each of them by a
probe that was trained on the others. Where every animal validates once (leave one subject out) its score is therefore
of the same kind as the validation score by which trials are ranked: a study may drop a pre-train by it, and must not
report it as a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from aar_ray.corpus.labelled import LabelledWindows, Scope, normalised
from aar_ray.corpus.splits import Fold

WINDOWS = 2048
"""At most this many are looked at, as many of each animal, spread evenly over its recordings."""


@dataclass(frozen=True)
class ProbeWindows:
    """Windows of the animals that may be looked at, on the device of the encoder."""

    windows: Float[Tensor, "batch axes length"]
    """z-scored."""
    labels: Int[Tensor, " batch"]
    animals: Int[Tensor, " batch"]
    """Index into `names`."""
    names: tuple[str, ...]
    classes: int

    def to(self, device: torch.device) -> ProbeWindows:
        """The same on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("windows", "labels", "animals")}
        return replace(self, **moved)


def probe_windows(labelled: LabelledWindows, folds: Sequence[Fold], scope: Scope) -> ProbeWindows | None:
    """What a study lets the probe see; None where fewer than two animals are left that no fold tests.

    Args:
        labelled: windows in g, without those of sealed animals.
        folds: of the study; test animals of any of them are left out.
        scope: of the z-score; `source` takes the statistics of the animals that are looked at.
    """
    tested = {animal for fold in folds for animal in fold.test}
    animals = sorted({str(animal) for animal in labelled.subjects} - tested)
    if len(animals) < 2:
        return None
    each = WINDOWS // len(animals)
    chosen = [_spread(np.flatnonzero(labelled.subjects == animal), each) for animal in animals]
    seen = normalised(labelled.at(np.concatenate(chosen)), scope)
    return ProbeWindows(
        windows=torch.from_numpy(seen.windows),
        labels=torch.from_numpy(seen.labels),
        animals=torch.repeat_interleave(torch.tensor([len(mine) for mine in chosen])),
        names=tuple(animals),
        classes=len(seen.classes),
    )


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
