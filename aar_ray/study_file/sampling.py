"""What a sampler can do with the searched settings of a study file."""

from __future__ import annotations

import math

from aar_ray.config import Choice, Fixed, LogUniform, Sampler, range_ends
from aar_ray.study_file.settings import Space
from aar_ray.study_file.text import Document
from aar_ray.study_file.wording import one_of

TOLD = ("stage_aware", "tpe", "gp", "cma-es")
"""Samplers that learn from whole scores of any study, or, as stage_aware, run its best settings first."""

MOST_POINTS = 20_000
"""Points of a grid, and of a finite space that is looked through for what has not been tried."""


def check_sampler(document: Document, space: Space) -> None:
    """Report a sampler that the searched settings do not suit."""
    sampler, varying = document.section("sampler"), [*space.search]
    name = sampler.get("name", Sampler.model_fields["name"].default)
    if document.value.get("warm_start") and not document.is_reported("warm_start") and name not in TOLD:
        message = f"goes with a sampler that can be told of other studies, {one_of(TOLD)}, got {name}"
        document.report(("warm_start",), message, about_name=True)
    if space.unknown or document.is_reported("sampler") or document.is_reported("search"):
        return
    first = sampler.get("first_epochs")
    if first is not None and first >= min(space.values("pretrain.epochs")):
        message = f"must be below pretrain.epochs, got {first} and {min(space.values('pretrain.epochs'))}"
        document.report(("sampler", "first_epochs"), message)
    if first is not None and 0 in space.values("pretrain.probe_every"):
        message = "needs the linear probe to judge by, and pretrain.probe_every is 0"
        document.report(("sampler", "first_epochs"), message)
    if first is not None and "random" in space.values("finetune.initial_weights"):
        message = "judges encoders by their first epochs, and with finetune.initial_weights random none is pre-trained"
        document.report(("sampler", "first_epochs"), message)
    if sampler.get("name") == "cma-es" and len(varying) == 1:
        message = f"cma-es needs two searched settings or more, got {varying[0]} alone; use tpe or gp"
        document.report(("sampler", "name"), message)
    if sampler.get("name") == "grid":
        levels = sampler.get("grid_points", Sampler.model_fields["grid_points"].default)
        points = math.prod(_levels(space, name, levels) for name in varying)
        if points > MOST_POINTS:
            message = (
                f"a grid of {points} points is too large, at most {MOST_POINTS} are looked through; "
                "give fewer grid_points, search fewer settings, or use qmc"
            )
            document.report(("sampler", "name"), message)


def _levels(space: Space, name: str, levels: int) -> int:
    distribution = space.search[name]
    if isinstance(distribution, Choice):
        return len(distribution.choice)
    if isinstance(distribution, Fixed):
        return 1
    low, high = range_ends(distribution)
    if isinstance(distribution, LogUniform) or distribution.step is None:
        return levels
    return min(levels, round((high - low) / distribution.step) + 1)
