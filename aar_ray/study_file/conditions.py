"""Conditions of a study file: under `when`, a searched setting names others and the values under which it varies."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from aar_ray.config import PRETRAIN_SECTIONS, Integer, LogUniform, Uniform, accepted_values
from aar_ray.study_file.settings import Space, is_known
from aar_ray.study_file.text import Document, Steps
from aar_ray.study_file.wording import did_you_mean, one_of, shown


def check_conditions(document: Document, space: Space) -> None:
    """Report conditions that cannot hold, that nothing can decide, or that go round in a circle."""
    deciding: dict[str, list[str]] = {}
    for name, part in space.search.items():
        for other, given in (part.when or {}).items():
            steps: Steps = ("search", name, "when", other)
            if not is_known(document, steps, given) or other in space.unknown:
                continue
            message = _undecided(space, name, other)
            if message:
                document.report(steps, message, about_name=True)
                continue
            deciding.setdefault(name, []).append(other)
            _check_values(document, space, steps, given)
    try:
        TopologicalSorter(deciding).prepare()
    except CycleError as error:
        circle = error.args[1][::-1]
        message = f"goes round in a circle: {' depends on '.join(circle)}; leave one condition out"
        document.report(("search", circle[0], "when", circle[1]), message, about_name=True)


def _undecided(space: Space, name: str, other: str) -> str:
    """Why one setting cannot decide whether another varies, or nothing."""
    if other == name:
        return f"must name another setting than {name} itself"
    if other not in space.search and other not in space.fixed:
        return "must name a setting that is searched or fixed, this one is neither; fix it or leave the condition out"
    if _is_of_encoder(name) and not _is_of_encoder(other):
        return f"must name a setting of pre-training, as {name} is one: encoders are shared by fine-tune settings"
    distribution = space.search.get(other)
    if isinstance(distribution, Uniform | LogUniform):
        return "must name a choice, an integer or a fixed setting: a number of a range is never met exactly"
    return ""


def _is_of_encoder(name: str) -> bool:
    return name.partition(".")[0] in PRETRAIN_SECTIONS


def _check_values(document: Document, space: Space, steps: Steps, given: Any) -> None:
    """Every value of a condition must be one that the deciding setting can have."""
    other = str(steps[-1])
    accepted = accepted_values(other, given)
    if not accepted:
        document.report(steps, "must list at least one value")
    several = isinstance(given, list) and len(accepted) == len(given) and accepted != (tuple(given),)
    possible = [tuple(value) if isinstance(value, list) else value for value in space.all_values(other)]
    for index, value in enumerate(accepted):
        if value in possible and not (isinstance(value, bool) and not any(each is value for each in possible)):
            continue
        message = f"must be a value that {other} can have, {_listed(space, other, possible)}, got {shown(value)}"
        hint = did_you_mean(value, [each for each in possible if isinstance(each, str)])
        document.report((*steps, index) if several else steps, f"{message}{hint}")


def _listed(space: Space, name: str, possible: Sequence[Any]) -> str:
    distribution = space.search.get(name)
    if isinstance(distribution, Integer):
        low, high = distribution.integer
        return f"{low} to {high}" + (f" in steps of {distribution.step}" if distribution.step > 1 else "")
    return one_of([shown(value) for value in possible])
