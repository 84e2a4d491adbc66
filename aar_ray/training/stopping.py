"""Which epoch of a fine-tuning is kept, and when no other is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Stopping:
    """Early stopping by a validation score, or all epochs and the last one."""

    selection: Literal["macro_f1", "accuracy", "last"]
    patience: int
    """Epochs without a better score after which training stops; without effect under `last`."""
    epochs: int
    """At most."""

    def score(self, epoch: int, record: Mapping[str, float]) -> float:
        """What the best epoch has most of."""
        return float(epoch) if self.selection == "last" else record[self.selection]

    def goes_on(self, epoch: int, best: int) -> bool:
        """Whether an epoch is due after this one, the best so far being `best`."""
        return epoch < self.epochs and epoch - best < self.patience
