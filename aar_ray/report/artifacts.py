"""What the store holds of a study's fine-tunings and encoders, for pictures: probabilities, truths and embeddings.

A missing artifact is no error here: what it would have shown is left out, and the caller says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aar_ray.corpus.files import read_labelled
from aar_ray.corpus.labelled import LabelledWindows, normalised_for
from aar_ray.corpus.splits import Fold
from aar_ray.seeds import stream
from aar_ray.store import MADE_FROM
from aar_ray.training.checkpoint import ENCODER

MOST_WINDOWS = 1000
"""That an embedding is drawn with."""


@dataclass(frozen=True)
class Embedded:
    """Windows in the space of an encoder."""

    vectors: NDArray[np.float32]
    """[windows, axes * D]: f̃, tokens averaged over the patches of each axis."""
    rows: list[tuple[str, str, str]]
    """Behaviour, animal and species of each window."""


class Kept:
    """Artifacts of a study.

    Args:
        store: root of the store.
        started: a `study_started` event.
    """

    def __init__(self, store: Path, started: Mapping[str, Any]) -> None:
        self._store, self._started = store, started
        self._labelled: LabelledWindows | None = None

    def labelled(self) -> LabelledWindows | None:
        """The labelled windows, in g; None where they are gone."""
        folder = self._store / "labelled" / str((self._started.get("labelled") or {}).get("key"))
        if self._labelled is None and (folder / MADE_FROM).is_file():
            self._labelled = read_labelled(folder, self._started["classes"])
        return self._labelled

    def validation(self, fold: Mapping[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
        """True classes [windows] and probabilities [windows, classes] of the animals of a `fold_finished` event."""
        kept = self._store / "finetune" / str(fold.get("key")) / "probabilities.npy"
        labelled = self.labelled()
        if labelled is None or not kept.is_file():
            return None
        labels, probabilities = labelled.of(fold["validation"]).labels, np.load(kept)
        return (labels, probabilities) if len(labels) == len(probabilities) else None

    def embedded(self, encoder: str, fold_key: str, seed: int) -> Embedded | None:
        """Labelled windows, at most 1000 drawn evenly, in the space of a pre-trained encoder that no label has touched.

        Args:
            encoder: key of the pre-train.
            fold_key: of one of the fine-tunings on it, which tells settings and normalisation.
            seed: of the named stream "projector".
        """
        weights = self._store / "pretrain" / encoder / ENCODER
        about = self._store / "finetune" / fold_key / MADE_FROM
        labelled = self.labelled()
        if labelled is None or not weights.is_file() or not about.is_file():
            return None
        # takes seconds to import, which no command without an embedding should pay
        import safetensors.torch

        from aar_ray.config import settings_from
        from aar_ray.training.classify import embeddings

        made_from = json.loads(about.read_text())
        animals = tuple(sorted({str(name) for name in labelled.subjects}))
        settings = settings_from(made_from["settings"])
        windows, _ = normalised_for(labelled, Fold("projector", animals, (), ()), settings.normalise.scope)
        count = min(MOST_WINDOWS, len(windows))
        chosen = np.sort(stream(seed, "projector").choice(len(windows), count, replace=False))
        vectors = embeddings(safetensors.torch.load_file(weights), settings, windows.windows[chosen])
        summary = (self._started.get("labelled") or {}).get("summary") or {}
        species = ", ".join(sorted({about["species"] for about in summary.values()})) or "not known"
        behaviours = [labelled.classes[code] for code in windows.labels[chosen]]
        return Embedded(
            vectors, [(name, str(windows.subjects[n]), species) for name, n in zip(behaviours, chosen, strict=True)]
        )
