"""What a setting is searched over, and under which condition it varies."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field, Strict

from aar_ray.config.part import Part
from aar_ray.config.settings import Settings, dotted


class Searched(Part):
    """What every distribution has."""

    when: dict[str, Any] | None = Field(default=None, min_length=1)
    """Settings with the value, or the list of values, under which this one varies; else it has its default."""


class Uniform(Searched):
    """A number between two ends, both included; in steps where `step` is given."""

    uniform: Annotated[tuple[float, float], Strict(False)]
    step: float | None = Field(default=None, gt=0)


class LogUniform(Searched):
    """A number whose logarithm is uniform."""

    log_uniform: Annotated[tuple[float, float], Strict(False)]


class Integer(Searched):
    """A whole number between two ends, both included."""

    integer: Annotated[tuple[int, int], Strict(False)]
    step: int = Field(default=1, ge=1)


class Choice(Searched):
    """One of the values listed."""

    choice: Annotated[tuple[Any, ...], Strict(False)] = Field(min_length=2)


class Fixed(Searched):
    """Always the same value: of use with `when`, or to keep a setting's place in the file and in the tables."""

    fixed: Any


Distribution = Uniform | LogUniform | Integer | Choice | Fixed


def range_ends(distribution: Uniform | LogUniform | Integer) -> tuple[float, float]:
    """The lowest and the highest number of a range; both whole for `Integer`."""
    if isinstance(distribution, Uniform):
        return distribution.uniform
    return distribution.log_uniform if isinstance(distribution, LogUniform) else distribution.integer


def nearest(distribution: Distribution, value: Any) -> Any:
    """`value` where the distribution holds it; else its nearest number, or the first choice that is listed."""
    if isinstance(distribution, Choice):
        return value if value in distribution.choice else distribution.choice[0]
    if isinstance(distribution, Fixed):
        return distribution.fixed
    low, high = range_ends(distribution)
    if value is None or value <= low:
        return low
    inside = min(value, high)
    if isinstance(distribution, LogUniform) or distribution.step is None:
        return inside
    on_step = min(low + round((inside - low) / distribution.step) * distribution.step, high)
    return value if isinstance(distribution, Uniform) and math.isclose(on_step, value) else on_step


def accepted_values(setting: str, given: Any) -> tuple[Any, ...]:
    """The values that a condition accepts: what it gives, or each item of the list that it gives.

    Of a setting that is a list itself, such as `augment.time_families`, one list is one value.
    """
    is_list = isinstance(dotted(Settings()).get(setting), list)
    if isinstance(given, list | tuple) and (not is_list or all(isinstance(item, list | tuple) for item in given)):
        return tuple(map(as_value, given))
    return (as_value(given),)


def as_value(given: Any) -> Any:
    """A list, as YAML has it, as the tuple that a setting is."""
    return tuple(given) if isinstance(given, list) else given
