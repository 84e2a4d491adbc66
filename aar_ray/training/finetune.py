"""Fine-tuning of the classifier on one fold (paper, "Model fine-tuning" and "Experimental setting").

The scratch baseline is the same function without pre-trained weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aar_ray.config import Settings, dotted
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.method.class_weights import class_weights
from aar_ray.method.classifier import Classifier, Head
from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.method.scores import accuracy, confusion_matrix, macro_f1, scores
from aar_ray.seeds import drawing_from, torch_stream

VERSION = 1
"""Part of every fine-tune key: raise it when the same settings would give another classifier."""

EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class FineTuned:
    """A classifier of one fold, at its best epoch."""

    result: dict[str, Any]
    """Scores on the validation animals, one record an epoch, and the settings as they were applied; plain data."""
    probabilities: NDArray[np.float32]
    """Of each class for each validation window, in the order of the validation set."""
    model: dict[str, Tensor]
    """Weights of encoder and head."""


def finetune(
    train: LabelledWindows,
    validation: LabelledWindows,
    settings: Settings,
    *,
    seed: int,
    encoder: dict[str, Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> FineTuned:
    """Train on some animals, keep the epoch that is best on the validation animals.

    Args:
        train, validation: z-scored windows of different animals.
        settings: sections `patchtst`, `classifier` and `finetune` are read.
        seed: of the study.
        encoder: pre-trained weights of E_T; None starts from random weights.

    Raises:
        ValueError: a frozen encoder without pre-trained weights; nothing to train or to validate on.
    """
    if encoder is None and settings.finetune.encoder == "frozen":
        raise ValueError("finetune.encoder must be trained where there are no pre-trained weights, got frozen")
    for name, windows in (("train", train), ("validate", validation)):
        if not len(windows.labels):
            raise ValueError(f"fine-tuning needs windows to {name} on, got none")
    device = torch.device(device)
    model = _build(train, settings, seed, encoder).to(device)
    fit = _Fit(model, train, validation, settings, seed, device)
    best, epochs = fit.until_patience_ends()
    model.load_state_dict(best.model)
    probabilities = fit.validation_logits().softmax(dim=1).cpu().numpy()
    return FineTuned(
        result={
            **scores(best.confusion, train.classes),
            "best_epoch": best.epoch,
            "epochs": epochs,
            "applied": dotted(settings),
        },
        probabilities=probabilities,
        model={name: value.cpu() for name, value in best.model.items()},
    )


def _build(train: LabelledWindows, settings: Settings, seed: int, encoder: dict[str, Tensor] | None) -> Classifier:
    _, axes, length = train.windows.shape
    patchtst = {**dict(settings.patchtst), "dropout": settings.finetune.dropout}
    with drawing_from(seed, "initial weights", "finetune"):
        model = Classifier(
            PatchTSTEncoder(length, **patchtst),
            Head(
                axes,
                settings.patchtst.model_size,
                len(train.classes),
                dropout=settings.finetune.dropout,
                **dict(settings.classifier),
            ),
        )
    if encoder is not None:
        model.encoder.load_state_dict(encoder)
    return model


@dataclass(frozen=True)
class _Best:
    epoch: int
    score: float
    confusion: NDArray[np.int64]
    model: dict[str, Tensor]


class _Fit:
    """One classifier, its data on its device, and the loop."""

    def __init__(
        self,
        model: Classifier,
        train: LabelledWindows,
        validation: LabelledWindows,
        settings: Settings,
        seed: int,
        device: torch.device,
    ) -> None:
        self.model, self.finetune, self.seed, self.device = model, settings.finetune, seed, device
        self.classes = len(train.classes)
        self.train_labels = torch.as_tensor(train.labels, device=device)
        self.validation_labels = torch.as_tensor(validation.labels, device=device)
        counts = np.bincount(train.labels, minlength=self.classes)
        self.class_weights = torch.as_tensor(
            class_weights(
                counts,
                class_weights=settings.finetune.class_weights,
                class_balance_beta=settings.finetune.class_balance_beta,
            ),
            dtype=torch.float32,
            device=device,
        )
        train_windows = torch.as_tensor(train.windows, device=device)
        validation_windows = torch.as_tensor(validation.windows, device=device)
        frozen = settings.finetune.encoder == "frozen"
        # a frozen encoder gives the same features every epoch: it runs once, and only the head is trained
        self.trained: nn.Module = model.head if frozen else model
        self.inputs = self._features(train_windows) if frozen else train_windows
        self.validation_inputs = self._features(validation_windows) if frozen else validation_windows
        self.optimiser = _optimiser(self.trained, settings)

    def until_patience_ends(self) -> tuple[_Best, list[dict[str, float]]]:
        """The best epoch, and a record of each."""
        best: _Best | None = None
        epochs: list[dict[str, float]] = []
        for epoch in range(1, self.finetune.epochs + 1):
            train_loss = self._run_epoch(epoch)
            logits = self.validation_logits()
            predicted = logits.argmax(dim=1).cpu().numpy()
            confusion = confusion_matrix(self.validation_labels.cpu().numpy(), predicted, self.classes)
            record = {
                "train_loss": train_loss,
                "validation_loss": float(cross_entropy(logits, self.validation_labels)),
                "macro_f1": macro_f1(confusion),
                "accuracy": accuracy(confusion),
            }
            epochs.append(record)
            if not math.isfinite(train_loss + record["validation_loss"]):
                raise ArithmeticError(f"the fine-tuning loss was not finite in epoch {epoch}: lower learning_rate")
            score = record[self.finetune.selection]
            if best is None or score > best.score:
                weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
                best = _Best(epoch, score, confusion, weights)
            if epoch - best.epoch >= self.finetune.patience:
                break
        assert best is not None
        return best, epochs

    def _run_epoch(self, epoch: int) -> float:
        generator = torch_stream(self.seed, "finetune", "shuffle", epoch, device=self.device)
        order = torch.randperm(len(self.inputs), generator=generator, device=self.device)
        total = torch.zeros((), device=self.device)
        self.trained.train()
        with drawing_from(self.seed, "finetune", "dropout", epoch):
            for chosen in order.split(self.finetune.batch_size):
                labels = self.train_labels[chosen]
                losses = cross_entropy(self.trained(self.inputs[chosen]), labels, reduction="none")
                # the mean over windows of weight times loss: a batch's rare windows keep their weight whatever else
                # is in the batch, unlike torch's weighted mean
                loss = (self.class_weights[labels] * losses).mean()
                self.optimiser.zero_grad(set_to_none=True)
                loss.backward()
                self.optimiser.step()
                total += loss.detach() * len(chosen)
        return float(total / len(self.inputs))

    @torch.no_grad()
    def validation_logits(self) -> Tensor:
        """Of every validation window, dropout off."""
        self.trained.eval()
        return torch.cat([self.trained(part) for part in self.validation_inputs.split(EVALUATION_BATCH)])

    @torch.no_grad()
    def _features(self, windows: Tensor) -> Tensor:
        self.model.eval()
        return torch.cat([self.model.features(part) for part in windows.split(EVALUATION_BATCH)])


def _optimiser(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    kind = torch.optim.Adam if settings.finetune.optimiser == "adam" else torch.optim.AdamW
    return kind(
        model.parameters(), lr=settings.finetune.learning_rate, weight_decay=settings.finetune.weight_decay, fused=True
    )
