"""Fine-tuning of classifiers, each on one fold (paper, "Model fine-tuning" and "Experimental setting").

The folds and seeds of a setting, and settings of equal shape, are trained together as a bundle: one model with stacked
weights. Each is what it would be alone, with its own data, order, dropout, optimiser settings and early stopping; one
that has stopped leaves the bundle. The scratch baseline is the same function without pre-trained weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from aar_ray.config import Settings
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.method.class_weights import class_weights
from aar_ray.method.classifier import Classifier, Head
from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.method.neighbours import neighbour_mean
from aar_ray.method.scale import Scale
from aar_ray.method.scores import accuracy, confusion_matrix, macro_f1, scores
from aar_ray.seeds import drawing_from
from aar_ray.training.applied import finetune_settings
from aar_ray.training.bundle import EVALUATION_BATCH, Bundle, Member, Turn
from aar_ray.training.features import in_context
from aar_ray.training.labels import chosen_labels
from aar_ray.training.precision import check_precision
from aar_ray.training.rates import Rates
from aar_ray.training.stopping import Stopping

VERSION = 6
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
            "finetune.precision": finetune.precision,
            "axes and samples of a window": self.train.windows.shape[1:],
            "classes": self.train.classes,
            "the form of a context": finetune.context.get("context_form"),
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
        ValueError: jobs whose models differ in shape, or one that cannot be done (see `Job.check`); a number type that
            is not settled or that the machine cannot do.
    """
    for job in jobs:
        job.check()
        differing = [name for name, value in job.shape().items() if value != jobs[0].shape()[name]]
        if differing:
            raise ValueError(f"the jobs of a bundle must agree in {', '.join(differing)}; make two bundles of them")
    fits = [_Fit(job) for job in jobs]
    # who has most windows comes first, so that those with a step left in an epoch stand side by side
    running = sorted(fits, key=lambda fit: -len(fit.job.train))
    bundle = _bundle(running, torch.device(device)) if running else None
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


def _bundle(fits: Sequence[_Fit], device: torch.device) -> Bundle:
    settings = fits[0].job.settings.finetune
    precision = check_precision("finetune", settings.precision, device)
    inputs = _Inputs(device)
    models = [_build(fit.job).to(device=device, dtype=_dtype(fit.job)) for fit in fits]
    bundle = Bundle(
        [_member(fit, model, inputs) for fit, model in zip(fits, models, strict=True)],
        batch_size=settings.batch_size,
        decoupled_decay=settings.optimiser == "adamw",
        precision=precision,
        device=device,
    )
    for row, (fit, model) in enumerate(zip(fits, models, strict=True)):
        fit.applied = finetune_settings(model, bundle, row, fit.context, fit.labels, fit.balance, fit.stopping)
        fit.applied["finetune.smoothing_seconds"] = fit.smoothing_seconds
        fit.applied["finetune.initial_weights"] = "random" if fit.job.encoder is None else "pretrained"
        if fit.job.train.scope is not None:
            fit.applied["normalise.scope"] = fit.job.train.scope
    return bundle


def _dtype(job: Job) -> torch.dtype:
    return torch.as_tensor(job.train.windows[:0]).dtype


def _member(fit: _Fit, model: Classifier, inputs: _Inputs) -> Member:
    job, settings = fit.job, fit.job.settings.finetune
    frozen = settings.encoder == "frozen"
    train = inputs(job, job.train, model)
    features, *contexts = train
    if frozen:
        model.head.standardise(features)
    if model.head.context is not None:
        model.head.context.standardise(*contexts)
    counts = np.bincount(job.train.labels, minlength=len(job.train.classes))
    return Member(
        # a frozen encoder gives the same features every epoch: it runs once, and only the head is trained
        model=model.head if frozen else model,
        prefix="head." if frozen else "",
        untrained={f"encoder.{name}": value for name, value in model.encoder.state_dict().items()} if frozen else {},
        train=train,
        labels=job.train.labels,
        validation=inputs(job, job.validation, model),
        seed=job.seed,
        class_weights=fit.balance(counts),
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
    """What models read, on its device: windows, or the features that a frozen encoder makes of them; and contexts.

    Jobs that share their windows, and where it is frozen their encoder, share what is made of them.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._made: dict[tuple[int, int | None], Tensor] = {}
        self._read: dict[tuple[int, int | None, float], tuple[Tensor, ...]] = {}

    def __call__(self, job: Job, labelled: LabelledWindows, model: Classifier) -> tuple[Tensor, ...]:
        finetune = job.settings.finetune
        key = id(labelled.windows), id(job.encoder) if finetune.encoder == "frozen" else None
        if key not in self._made:
            windows = torch.as_tensor(labelled.windows, device=self.device)
            self._made[key] = _features(model, windows) if finetune.encoder == "frozen" else windows
        read = *key, finetune.context_seconds
        if read not in self._read:
            own = self._made[key]
            contexts = () if labelled.context is None else (torch.as_tensor(labelled.context).to(own),)
            self._read[read] = own, *contexts
        return self._read[read]


@torch.no_grad()
def _features(model: Classifier, windows: Tensor) -> Tensor:
    model.eval()
    return torch.cat([model.features(part) for part in windows.split(EVALUATION_BATCH)])


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
                standardised=settings.finetune.encoder == "frozen",
                context_size=job.train.context_size,
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
    probabilities: NDArray[np.float32]
    model: dict[str, Tensor]


class _Fit:
    """What has become of one job, and what its settings made of it beside the model."""

    def __init__(self, job: Job) -> None:
        given = job.settings.finetune
        self.context = partial(in_context, **given.context)
        self.labels = partial(chosen_labels, label_share=given.label_share, label_animals=given.label_animals)
        self.balance = partial(
            class_weights, class_weights=given.class_weights, class_balance_beta=given.class_balance_beta
        )
        self.smoothing_seconds = given.smoothing_seconds
        self.stopping = Stopping(given.selection, given.patience, given.epochs)
        self.job = replace(
            job,
            # windows whose labels it may not use are neighbours all the same
            train=self.labels(self.context(job.train), seed=job.seed),
            validation=self.context(job.validation),
        )
        """With the contexts that it reads, and with the labels alone that it may use."""
        self.best: _Best | None = None
        self.epochs: list[dict[str, float]] = []
        self.failure: ArithmeticError | None = None
        self.applied: dict[str, Any] = {}

    def record(self, train_loss: float, logits: Tensor, weights: Callable[[], dict[str, Tensor]]) -> None:
        """Look at the validation logits after an epoch; `weights` copies the model's, should it be the best so far."""
        truth = self.job.validation.labels
        probabilities = self._probabilities(logits)
        confusion = confusion_matrix(truth, probabilities.argmax(axis=1), logits.shape[1])
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
        score = self.stopping.score(epoch, record)
        if self.best is None or score > self.best.score:
            self.best = _Best(epoch, score, confusion, probabilities, weights())

    def _probabilities(self, logits: Tensor) -> NDArray[np.float32]:
        found: NDArray[np.float32] = logits.softmax(dim=1).numpy()
        if not self.smoothing_seconds:
            return found
        validation = self.job.validation
        return neighbour_mean(found, validation.recordings, validation.starts, seconds=self.smoothing_seconds)

    def goes_on(self) -> bool:
        """Whether another epoch is due."""
        if self.failure is not None or self.best is None:
            return False
        return self.stopping.goes_on(len(self.epochs), self.best.epoch)

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
            probabilities=self.best.probabilities,
            model=self.best.model,
        )
