"""Searches in vain: settings of a study file that cannot change a result, because of what others are."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

from aar_ray.config import FINETUNE_SECTIONS
from aar_ray.study_file.settings import Space
from aar_ray.study_file.text import Document


class Need(NamedTuple):
    """Settings that have an effect only where another can have certain values."""

    settings: tuple[str, ...]
    of: tuple[str, ...]
    """The settings that decide."""
    enough: Callable[..., bool]
    """Whether one value of each of them gives the settings an effect."""
    reason: str


def _drawn(family: str) -> Callable[[Any], bool]:
    return lambda families: family in families


NEEDS = (
    Need(
        ("tfc.margin",),
        ("tfc.margin_form",),
        lambda form: form == "hinge",
        "tfc.margin_form is linear, under which δ is an additive constant without a gradient",
    ),
    Need(
        ("tfc.margin", "tfc.margin_form"),
        ("tfc.margin",),
        lambda margin: margin < 2,
        "tfc.margin is 2 or more, beyond every distance, where the hinge is linear and δ has no gradient",
    ),
    Need(
        ("tfc.margin", "tfc.margin_form", "tfc.distance"),
        ("tfc.contrastive_weight",),
        lambda weight: weight < 1,
        "tfc.contrastive_weight is 1, which leaves the consistency loss out",
    ),
    Need(
        ("tfc.projector_hidden", "tfc.projector_size"),
        ("tfc.contrastive_weight", "tfc.alignment_weight"),
        lambda contrast, alignment: contrast < 1 or alignment > 0,
        "tfc.contrastive_weight is 1 and tfc.alignment_weight 0, which leave z out of the loss",
    ),
    Need(
        ("tfc.contrastive_form", "tfc.anchors", "tfc.time_weight", "tfc.frequency_weight"),
        ("tfc.contrastive_weight",),
        lambda weight: weight > 0,
        "tfc.contrastive_weight is 0, which leaves the contrastive losses out",
    ),
    Need(
        ("tfc.temperature",),
        ("tfc.contrastive_weight", "tfc.alignment_weight"),
        lambda contrast, alignment: contrast > 0 or alignment > 0,
        "tfc.contrastive_weight and tfc.alignment_weight are 0, which leave the contrastive losses out",
    ),
    *(
        Need(settings, (f"augment.{kind}_families",), _drawn(family), f"augment.{kind}_families never holds {family}")
        for family, kind, settings in (
            ("jitter", "time", ("augment.jitter_deviation",)),
            ("scaling", "time", ("augment.scaling_deviation",)),
            ("time_shift", "time", ("augment.shift_fraction",)),
            ("crop", "time", ("augment.crop_fraction",)),
            ("perturbation", "frequency", ("augment.perturbation_strength", "augment.perturbed_share")),
            ("masking", "frequency", ("augment.masked_share",)),
        )
    ),
    Need(
        ("augment.rotation_degrees", "augment.rotation_axis"),
        ("augment.time_families", "augment.rotate_first"),
        lambda families, first: first or "rotation" in families,
        "augment.time_families never holds rotation and augment.rotate_first is false",
    ),
    Need(
        ("augment.rotation_axis", "augment.rotate_first"),
        ("augment.rotation_degrees",),
        lambda degrees: degrees > 0,
        "augment.rotation_degrees is 0, which turns nothing",
    ),
    Need(
        ("finetune.rotation_axis",),
        ("finetune.rotation_degrees",),
        lambda degrees: degrees > 0,
        "finetune.rotation_degrees is 0, which turns nothing",
    ),
    Need(
        ("finetune.context_form",),
        ("finetune.context_seconds",),
        lambda seconds: seconds > 0,
        "finetune.context_seconds is 0, which leaves a window alone",
    ),
    Need(
        ("finetune.layer_decay", "finetune.unfreeze_every"),
        ("finetune.encoder",),
        lambda encoder: encoder == "trained",
        "finetune.encoder is never trained, which leaves the head alone",
    ),
    Need(
        ("augment.perturbed_share",),
        ("augment.perturbation_strength",),
        lambda strength: strength > 0,
        "augment.perturbation_strength is 0, which changes no bin",
    ),
    Need(
        ("classifier.fused_size",),
        ("classifier.convolution",),
        lambda convolution: convolution == "across_axes",
        "classifier.convolution is never across_axes, which alone has a fused size",
    ),
    Need(
        ("finetune.class_balance_beta",),
        ("finetune.class_weights",),
        lambda weights: weights == "effective_number",
        "finetune.class_weights is never effective_number, which alone has a β",
    ),
    Need(
        ("finetune.optimiser",),
        ("finetune.weight_decay",),
        lambda decay: decay > 0,
        "finetune.weight_decay is 0, without which adam and adamw are the same",
    ),
    Need(
        ("finetune.patience",),
        ("finetune.patience", "finetune.epochs"),
        lambda patience, epochs: patience < epochs,
        "it is never below finetune.epochs, so training never stops early",
    ),
    Need(
        ("finetune.patience",),
        ("finetune.selection",),
        lambda selection: selection != "last",
        "finetune.selection is last, which trains all epochs",
    ),
    Need(
        ("pretrain.probe_every",),
        ("pretrain.probe_every",),
        lambda _: False,
        "the probe watches pre-training and never changes it",
    ),
    Need(
        ("finetune.selection",),
        ("finetune.epochs",),
        lambda epochs: epochs > 1,
        "finetune.epochs is 1, which leaves no epoch to choose",
    ),
)


def check_effects(document: Document, space: Space) -> None:
    """Report each searched setting that has no effect, whatever the others draw, with the reason."""
    for need in NEEDS:
        for name in need.settings:
            # where its condition (`when`) holds: it has no effect elsewhere by what the file says
            values = [space.values(other, beside=name) for other in need.of]
            if all(values) and not any(need.enough(*combination) for combination in product(*values)):
                _refuse(document, space, name, need.reason)
    if space.values("finetune.initial_weights") == ["random"]:
        for name in space.search:
            if name.split(".")[0] not in FINETUNE_SECTIONS or name == "patchtst.dropout":
                _refuse(document, space, name, "finetune.initial_weights is random, so no encoder is pre-trained")
    pretrain = document.section("resources").get("pretrain", {})
    if isinstance(pretrain, dict) and pretrain.get("workers", 1) == 1:
        _refuse(document, space, "tfc.negatives", "resources.pretrain.workers is 1, so a batch has no other worker")


def _refuse(document: Document, space: Space, name: str, reason: str) -> None:
    if name in space.search:
        message = f"searching it changes nothing: {reason}; fix it or leave it out"
        document.report(("search", name), message, about_name=True)
