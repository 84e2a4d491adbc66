"""Small windows, small settings, and Adam written out, shared by the tests of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from aar_ray.config import FINETUNE_SECTIONS, Settings, dotted, settings_from
from aar_ray.corpus.labelled import LabelledWindows

AXES, LENGTH = 3, 23
CLASSES = ("lying", "grazing", "walking")


def tiny(**changes: Any) -> Settings:
    """Settings that train in milliseconds; a changed setting is written with `__` for the dot."""
    return settings_from(
        {
            "patchtst.patch_length": 5,
            "patchtst.patch_stride": 3,
            "patchtst.model_size": 14,
            "patchtst.layers": 1,
            "patchtst.heads": 2,
            "patchtst.feedforward_size": 13,
            "tfc.projector_hidden": 17,
            "tfc.projector_size": 7,
            "augment.time_families": ("jitter", "scaling", "time_shift", "crop", "rotation"),
            "pretrain.batch_size": 11,
            "pretrain.epochs": 1,
            "pretrain.learning_rate": 3e-3,
            "finetune.learning_rate": 3e-3,
            "finetune.epochs": 2,
            **{name.replace("__", "."): value for name, value in changes.items()},
        }
    )


def waves(labels: np.ndarray, *, seed: int, noise: float = 0.3) -> Tensor:
    """One window a label: waves of 1, 3 or 5 turns a window, in a random phase, with noise."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (len(labels), AXES, 1))
    turns = (1 + 2 * labels)[:, None, None]
    clean = np.sin(2 * np.pi * turns * np.arange(LENGTH) / LENGTH + phase)
    return torch.as_tensor((clean + noise * rng.normal(size=clean.shape)).astype(np.float32))


def windows(count: int, *, seed: int = 0) -> Tensor:
    """Of all three kinds in turn."""
    return waves(np.arange(count) % 3, seed=seed)


def herd(counts: dict[int, int], *, seed: int, classes: tuple[str, ...] = CLASSES) -> LabelledWindows:
    """One animal with so many windows of each class."""
    labels = np.repeat(list(counts), list(counts.values())).astype(np.int64)
    names = np.array([f"animal {seed}"] * len(labels), dtype=object)
    return LabelledWindows(
        windows=waves(labels, seed=seed).numpy(),
        labels=labels,
        classes=classes,
        subjects=names,
        recordings=names,
        starts=2.0 * np.arange(len(labels)),
    )


def read_of(settings: Settings) -> dict[str, Any]:
    """What fine-tuning reads of the settings."""
    return {name: value for name, value in dotted(settings).items() if name.split(".")[0] in FINETUNE_SECTIONS}


def applied_of(settings: Settings) -> dict[str, Any]:
    """Of these what comes back for windows that say nothing of their z-score: neither their scope, nor another stage's
    dropout, nor an axis about which nothing is turned, nor the form of a context that is not there."""
    unread = {"normalise.scope", "patchtst.dropout"}
    if not settings.finetune.rotation_degrees:
        unread.add("finetune.rotation_axis")
    if not settings.finetune.context_seconds:
        unread.add("finetune.context_form")
    return {name: value for name, value in read_of(settings).items() if name not in unread}


class WrittenOutAdam:
    """Adam as its paper has it; weight decay is part of the gradient, or taken off the weight where `decoupled`."""

    def __init__(
        self,
        weights: list[Tensor],
        *,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        weight_decay: float,
        decoupled: bool = False,
    ) -> None:
        self.weights, self.rate, self.decay, self.decoupled = weights, learning_rate, weight_decay, decoupled
        self.beta1, self.beta2, self.steps = beta1, beta2, 0
        self.first = [torch.zeros_like(weight) for weight in weights]
        self.second = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...]) -> None:
        self.steps += 1
        for weight, gradient, first, second in zip(self.weights, gradients, self.first, self.second, strict=True):
            if self.decoupled:
                weight -= self.rate * self.decay * weight
            else:
                gradient = gradient + self.decay * weight
            first.copy_(self.beta1 * first + (1 - self.beta1) * gradient)
            second.copy_(self.beta2 * second + (1 - self.beta2) * gradient * gradient)
            mean = first / (1 - self.beta1**self.steps)
            variance = second / (1 - self.beta2**self.steps)
            weight -= self.rate * mean / (variance.sqrt() + 1e-8)
