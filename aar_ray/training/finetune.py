"""Fine-tuning of classifiers, each on one fold (paper, "Model fine-tuning" and "Experimental setting").

The folds and seeds of a setting, and settings of equal shape, are trained together as a bundle: one model with stacked
weights. Each is what it would be alone, with its own data, order, dropout, optimiser settings and early stopping; one
that has stopped leaves the bundle. The scratch baseline is the same function without pre-trained weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from aar_ray.config import FINETUNE_SECTIONS, Settings, dotted
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.method.class_weights import class_weights
from aar_ray.method.classifier import Classifier, Head
from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.method.scale import Scale
from aar_ray.method.scores import accuracy, confusion_matrix, macro_f1, scores
from aar_ray.seeds import drawing_from
from aar_ray.training.applied import encoder_settings
from aar_ray.training.bundle import EVALUATION_BATCH, Bundle, Member, Turn
from aar_ray.training.labels import chosen_labels
from aar_ray.training.rates import Rates

VERSION = 4
"""Part of every fine-tune key: raise it when the same settings would give another classifier."""


@dataclass(frozen=True)
class Job:
    """One classifier to fine-tune."""

    train: LabelledWindows
    validation: LabelledWindows
    """Z-scored windows of other animals than `train`."""
    settings: Settings
    """Of these the sections `normalise`, `patchtst`, `classifier` and `finetune` are read."""
    seed: int
    """Of the trial."""
    encoder: dict[str, Tensor] | None = None
    """Pre-trained weights of E_T; None starts from random weights."""

    def check(self) -> None:
        """Whether it can be done.

        Raises:
            ValueError: a frozen encoder without pre-trained weights; nothing to train or to validate on.
        """
        if self.encoder is None and self.settings.finetune.encoder == "frozen":
            raise ValueError("finetune.encoder must be trained where there are no pre-trained weights, got frozen")
        for name, windows in (("train", self.train), ("validate", self.validation)):
            if not len(windows.labels):
                raise ValueError(f"fine-tuning needs windows to {name} on, got none")

    def with_its_labels(self) -> Job:
        """The same with the labels alone that its settings let it use."""
        finetune = self.settings.finetune
        share, animals = finetune.label_share, finetune.label_animals
        return replace(self, train=chosen_labels(self.train, label_share=share, label_animals=animals, seed=self.seed))

    def shape(self) -> dict[str, Any]:
        """What the jobs of a bundle agree in; all else may differ."""
        sections = {"patchtst": self.settings.patchtst, "classifier": self.settings.classifier}
        finetune = self.settings.finetune
        return {
            **{f"{section}.{name}": value for section, part in sections.items() for name, value in part},
            "patchtst.dropout": None,  # of pre-training alone
            "finetune.encoder": finetune.encoder,
            "finetune.optimiser": finetune.optimiser,
            "finetune.batch_size": finetune.batch_size,
            "axes and samples of a window": self.train.windows.shape[1:],
            "classes": self.train.classes,
        }


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
    """Train on some animals, keep the epoch that is best on the validation animals: a bundle of one.

    Args:
        train, validation, settings, seed, encoder: see `Job`.

    Raises:
        ValueError: a frozen encoder without pre-trained weights; nothing to train or to validate on.
        ArithmeticError: the loss became NaN or infinite.
    """
    (outcome,) = finetune_bundle([Job(train, validation, settings, seed, encoder)], device=device)
    if isinstance(outcome, ArithmeticError):
        raise outcome
    return outcome


def finetune_bundle(jobs: Sequence[Job], *, device: torch.device | str = "cpu") -> list[FineTuned | ArithmeticError]:
    """Train the classifiers of all jobs at once.

    Returns:
        One outcome a job, in the jobs' order: an error where the loss of that job became NaN or infinite.

    Raises:
        ValueError: jobs whose models differ in shape, or one that cannot be done (see `Job.check`).
    """
    for job in jobs:
        job.check()
        differing = [name for name, value in job.shape().items() if value != jobs[0].shape()[name]]
        if differing:
            raise ValueError(f"the jobs of a bundle must agree in {', '.join(differing)}; make two bundles of them")
    fits = [_Fit(job.with_its_labels()) for job in jobs]
    # who has most windows comes first, so that those with a step left in an epoch stand side by side
    running = sorted(fits, key=lambda fit: -len(fit.job.train))
    bundle = _bundle([fit.job for fit in running], torch.device(device)) if running else None
    for row, fit in enumerate(running):
        assert bundle is not None
        fit.applied = _applied(fit.job, bundle, row)
    while running:
        assert bundle is not None
        losses = bundle.run_epoch(len(running[0].epochs) + 1)
        for row, (fit, loss) in enumerate(zip(running, losses, strict=True)):
            fit.record(loss, bundle.logits(row), partial(bundle.state, row))
        going_on = [row for row, fit in enumerate(running) if fit.goes_on()]
        if len(going_on) < len(running):
            bundle.keep(going_on)
            running = [running[row] for row in going_on]
    return [fit.outcome() for fit in fits]


def _bundle(jobs: Sequence[Job], device: torch.device) -> Bundle:
    settings = jobs[0].settings.finetune
    prepared = _Inputs(device)
    return Bundle(
        [_member(job, prepared) for job in jobs],
        batch_size=settings.batch_size,
        decoupled_decay=settings.optimiser == "adamw",
        device=device,
    )


def _member(job: Job, inputs: _Inputs) -> Member:
    settings = job.settings.finetune
    model = _build(job).to(device=inputs.device, dtype=torch.as_tensor(job.train.windows[:0]).dtype)
    frozen = settings.encoder == "frozen"
    return Member(
        # a frozen encoder gives the same features every epoch: it runs once, and only the head is trained
        model=model.head if frozen else model,
        prefix="head." if frozen else "",
        untrained={f"encoder.{name}": value for name, value in model.encoder.state_dict().items()} if frozen else {},
        train=inputs(job, job.train, model),
        labels=job.train.labels,
        validation=inputs(job, job.validation, model),
        seed=job.seed,
        class_weights=_class_weights(job),
        dropout=settings.dropout,
        rates=Rates(
            layers=len(model.encoder.layers),
            learning_rate=settings.learning_rate,
            layer_decay=settings.layer_decay,
            unfreeze_every=settings.unfreeze_every,
        ),
        weight_decay=settings.weight_decay,
        turn=_turn(job, inputs.device) if settings.rotation_degrees else None,
    )


def _applied(job: Job, bundle: Bundle, row: int) -> dict[str, Any]:
    """The settings of a job, from its model and what trains it where these hold them."""
    read = {name: value for name, value in dotted(job.settings).items() if name.split(".")[0] in FINETUNE_SECTIONS}
    member, module = bundle.members[row], bundle.stack.module
    return {
        **read,
        **(encoder_settings(module.encoder) if isinstance(module, Classifier) else {}),
        "finetune.encoder": "trained" if isinstance(module, Classifier) else "frozen",
        "finetune.optimiser": "adamw" if bundle.adam.decoupled else "adam",
        "finetune.batch_size": bundle.batch_size,
        "finetune.initial_weights": "random" if job.encoder is None else "pretrained",
        **{f"finetune.{name}": getattr(member, name) for name in ("dropout", "weight_decay")},
        **{
            f"finetune.{name}": getattr(member.rates, name)
            for name in ("learning_rate", "layer_decay", "unfreeze_every")
        },
        "finetune.rotation_degrees": member.turn.degrees if member.turn else 0.0,
    }


def _turn(job: Job, device: torch.device) -> Turn:
    found, settings = job.train.statistics, job.settings
    if found is None:
        raise ValueError("turned training windows need the statistics of their z-score, got windows without them")
    mean, deviation = (
        torch.as_tensor(part.astype(job.train.windows.dtype), device=device) for part in (found.mean, found.deviation)
    )
    scale = Scale(settings.normalise.scope, mean, deviation)
    return Turn(scale, settings.finetune.rotation_degrees, settings.finetune.rotation_axis)


class _Inputs:
    """What models are trained on, on its device: windows, or the features that a frozen encoder makes of them.

    Jobs that share their windows, and where it is frozen their encoder, share what is made of them.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._made: dict[tuple[int, int | None], Tensor] = {}

    def __call__(self, job: Job, labelled: LabelledWindows, model: Classifier) -> Tensor:
        frozen = job.settings.finetune.encoder == "frozen"
        key = id(labelled.windows), id(job.encoder) if frozen else None
        if key not in self._made:
            windows = torch.as_tensor(labelled.windows, device=self.device)
            self._made[key] = _features(model, windows) if frozen else windows
        return self._made[key]


@torch.no_grad()
def _features(model: Classifier, windows: Tensor) -> Tensor:
    model.eval()
    return torch.cat([model.features(part) for part in windows.split(EVALUATION_BATCH)])


def _class_weights(job: Job) -> NDArray[np.float64]:
    return class_weights(
        np.bincount(job.train.labels, minlength=len(job.train.classes)),
        class_weights=job.settings.finetune.class_weights,
        class_balance_beta=job.settings.finetune.class_balance_beta,
    )


def _build(job: Job) -> Classifier:
    _, axes, length = job.train.windows.shape
    settings = job.settings
    patchtst = {**dict(settings.patchtst), "dropout": settings.finetune.dropout}
    with drawing_from(job.seed, "initial weights", "finetune"):
        model = Classifier(
            PatchTSTEncoder(length, **patchtst),
            Head(
                axes,
                settings.patchtst.model_size,
                len(job.train.classes),
                dropout=settings.finetune.dropout,
                **dict(settings.classifier),
            ),
        )
    if job.encoder is not None:
        model.encoder.load_state_dict(job.encoder)
    return model


@dataclass(frozen=True)
class _Best:
    epoch: int
    score: float
    confusion: NDArray[np.int64]
    logits: Tensor
    model: dict[str, Tensor]


@dataclass
class _Fit:
    """What has become of one job."""

    job: Job
    best: _Best | None = None
    epochs: list[dict[str, float]] = field(default_factory=list)
    failure: ArithmeticError | None = None
    applied: dict[str, Any] = field(default_factory=dict)

    def record(self, train_loss: float, logits: Tensor, weights: Callable[[], dict[str, Tensor]]) -> None:
        """Look at the validation logits after an epoch; `weights` copies the model's, should it be the best so far."""
        truth = self.job.validation.labels
        confusion = confusion_matrix(truth, logits.argmax(dim=1).numpy(), logits.shape[1])
        record = {
            "train_loss": train_loss,
            "validation_loss": float(cross_entropy(logits, torch.as_tensor(truth))),
            "macro_f1": macro_f1(confusion),
            "accuracy": accuracy(confusion),
        }
        self.epochs.append(record)
        epoch = len(self.epochs)
        if not math.isfinite(train_loss + record["validation_loss"]):
            self.failure = ArithmeticError(
                f"the fine-tuning loss was not finite in epoch {epoch}: lower finetune.learning_rate"
            )
            return
        score = record[self.job.settings.finetune.selection]
        if self.best is None or score > self.best.score:
            self.best = _Best(epoch, score, confusion, logits, weights())

    def goes_on(self) -> bool:
        """Whether another epoch is due."""
        if self.failure is not None or self.best is None:
            return False
        finetune, epoch = self.job.settings.finetune, len(self.epochs)
        return epoch < finetune.epochs and epoch - self.best.epoch < finetune.patience

    def outcome(self) -> FineTuned | ArithmeticError:
        if self.failure is not None:
            return self.failure
        assert self.best is not None
        return FineTuned(
            result={
                **scores(self.best.confusion, self.job.train.classes),
                "best_epoch": self.best.epoch,
                "epochs": self.epochs,
                "applied": self.applied,
            },
            probabilities=self.best.logits.softmax(dim=1).numpy(),
            model=self.best.model,
        )
