"""The settings as a model and its optimiser have them, read from the objects themselves.

They go back with the result and are compared with what the trial was to try: see `arrived`.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from aar_ray.method.classifier import Classifier
from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.method.layers import TokenBatchNorm
from aar_ray.method.tfc import TFCModel
from aar_ray.training.bundle import Bundle
from aar_ray.training.stopping import Stopping


def encoder_settings(encoder: PatchTSTEncoder) -> dict[str, Any]:
    """Section `patchtst` as an encoder was built; its dropout is that of the stage that trains it."""
    layer: Any = encoder.layers[0]
    return {
        "patchtst.patch_length": encoder.patch_projection.in_features,
        "patchtst.patch_stride": encoder.patch_stride,
        "patchtst.model_size": encoder.patch_projection.out_features,
        "patchtst.layers": len(encoder.layers),
        "patchtst.heads": layer.attention.heads,
        "patchtst.feedforward_size": layer.feedforward[0].out_features,
        "patchtst.normalisation": "batch" if isinstance(layer.attention_norm, TokenBatchNorm) else "layer",
        "patchtst.norm_position": "pre" if layer.pre_norm else "post",
        "patchtst.positions": "learned" if encoder.positions.requires_grad else "sincos",
    }


def tfc_settings(model: TFCModel) -> dict[str, Any]:
    """Sections `patchtst`, `tfc` and `spectrum.sides` as both encoders, projectors and the loss have them."""
    projector: Any = model.time_projector
    time, frequency = encoder_settings(model.time_encoder), encoder_settings(model.frequency_encoder)
    assert time == frequency
    bins, length = model.frequency_encoder.length, model.time_encoder.length
    return {
        **time,
        "patchtst.dropout": model.time_encoder.dropout.p,
        **{f"tfc.{name}": value for name, value in model.tfc.model_dump(mode="json").items()},
        "tfc.projector_hidden": projector[0].out_features,
        "tfc.projector_size": projector[-1].out_features,
        "spectrum.sides": "two" if bins == length else "one",
    }


def optimiser_settings(optimiser: torch.optim.Optimizer, section: str) -> dict[str, Any]:
    """Learning rate and weight decay of `pretrain` or `finetune`, as the optimiser has them."""
    (group,) = optimiser.param_groups
    found = {"learning_rate": group["lr"], "weight_decay": group["weight_decay"]}
    if section == "pretrain":
        found["beta1"], found["beta2"] = group["betas"]
    return {f"{section}.{name}": value for name, value in found.items()}


def finetune_settings(
    model: Classifier,
    bundle: Bundle,
    row: int,
    context: partial[Any],
    labels: partial[Any],
    balance: partial[Any],
    stopping: Stopping,
) -> dict[str, Any]:
    """Sections `patchtst`, `classifier` and `finetune` as a member of a bundle has them.

    Args:
        model: as the member was built; where its encoder is trained, the bundle's own copy of it is read.
        bundle, row: what trains it, and its place there.
        context: what found the contexts of its windows.
        labels: what chose its labels.
        balance: what weighed its classes.
        stopping: what picks its epoch.
    """
    member, module = bundle.members[row], bundle.stack.module
    trained = isinstance(module, Classifier)
    classifier = module if isinstance(module, Classifier) else model
    turn = member.turn
    found = {
        "encoder": "trained" if trained else "frozen",
        "optimiser": "adamw" if bundle.adam.decoupled else "adam",
        "batch_size": bundle.batch_size,
        "precision": bundle.precision,
        **{name: getattr(member, name) for name in ("dropout", "weight_decay")},
        **{name: getattr(member.rates, name) for name in ("learning_rate", "layer_decay", "unfreeze_every")},
        "rotation_degrees": turn.degrees if turn else 0.0,
        **({"rotation_axis": turn.axis} if turn else {}),
        **context.keywords,
        **labels.keywords,
        **balance.keywords,
        **asdict(stopping),
    }
    head = classifier.head if trained else module
    return {
        **encoder_settings(classifier.encoder),
        **{f"classifier.{name}": getattr(head, name) for name in ("convolution", "fused_size")},
        **{f"finetune.{name}": value for name, value in found.items()},
    }
