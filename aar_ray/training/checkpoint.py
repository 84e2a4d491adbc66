"""What pre-training leaves, and what it depends on: read also where there is no torch until weights are needed."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aar_ray.config import PRETRAIN_SECTIONS, Settings, dotted

if TYPE_CHECKING:
    # whoever holds a handle of the stages' actor imports this, every trial among them
    from torch import Tensor

VERSION = 7
"""Part of every pre-train key: raise it when the same settings would give another encoder, or other files of it."""

CHECKPOINT, ENCODER = "checkpoint.pt", "encoder.safetensors"
"""Names of the files that a pre-train leaves."""


@dataclass(kw_only=True)
class Progress:
    """How far a pre-train is."""

    epoch: int
    history: list[dict[str, float]] = field(default_factory=list)
    """One record an epoch: losses, diagnostics, learning rate, seconds, those of waiting for data among them; in some
    the probe's macro-F1."""
    applied: dict[str, Any] = field(default_factory=dict)
    """Settings by dotted name, as the model, its optimiser and the loop had them."""


@dataclass(kw_only=True)
class Checkpoint(Progress):
    """A pre-train after some epochs: enough to go on, and to read its encoder from."""

    model: dict[str, Tensor]
    optimiser: dict[str, Any]

    @property
    def progress(self) -> Progress:
        """Without the tensors."""
        return Progress(epoch=self.epoch, history=self.history, applied=self.applied)

    def to_bytes(self) -> bytes:
        """For a file or another process."""
        import torch

        buffer = io.BytesIO()
        torch.save(self.__dict__, buffer)
        return buffer.getvalue()

    def files(self) -> dict[str, bytes]:
        """What is kept: all that is needed to go on, and the weights of E_T, so that who wants only them reads them."""
        import safetensors.torch

        return {CHECKPOINT: self.to_bytes(), ENCODER: safetensors.torch.save(self.encoder())}

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        import torch

        return cls(**torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))

    def encoder(self) -> dict[str, Tensor]:
        """Weights of E_T, which is all that fine-tuning takes over."""
        prefix = "time_encoder."
        return {name.removeprefix(prefix): value for name, value in self.model.items() if name.startswith(prefix)}


def pretrain_settings(settings: Settings) -> dict[str, Any]:
    """What the pre-trained encoder depends on, by dotted name."""
    return {name: value for name, value in dotted(settings).items() if name.split(".")[0] in PRETRAIN_SECTIONS}
