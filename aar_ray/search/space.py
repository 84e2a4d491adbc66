"""The search space as samplers see it, with constraints and conditions built in.

A sampler knows one joint space of fixed ranges, in which every searched setting has its parameter:

- A constraint `smaller <= larger` makes the range of `smaller` depend on `larger`. So `smaller` is sampled as its share
  of the range that `larger` leaves, from 0 to 1: every point meets the constraint, and nothing is drawn apart from the
  rest.
- A setting whose condition (`when`) does not hold has its default, whatever its parameter is: two points that differ
  only there are the same settings. To a sampler such a parameter is told as if drawn by chance, so that it learns
  nothing from it.

Samplers that know no kinds of parameters draw from the unit cube: a coordinate is a share of a range, or of a list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from aar_ray.config import PRETRAIN_SECTIONS, Choice, Fixed, Integer, Study, dotted
from aar_ray.search.ranges import Range
from aar_ray.seeds import stream
from aar_ray.study_file.constraints import constraints


class Space:
    """Searched settings by dotted name, and their translation to a sampler's parameters and back."""

    def __init__(self, study: Study) -> None:
        self._names = tuple(study.search)
        self._others = {name: hashable(value) for name, value in dotted(study.reference()).items()}
        self._defaults = {name: hashable(study.default(name)) for name in study.search}
        self._conditions = study.conditions
        self._choices: dict[str, tuple[Any, ...]] = {}
        self._bounded_by: dict[str, list[str]] = {}
        for smaller, larger in constraints(study):
            self._bounded_by.setdefault(smaller, []).append(larger)
        self._order = self._deciding_first()
        self._ranges: dict[str, Range] = {}
        for name in reversed(self._order):
            distribution = study.search[name]
            if isinstance(distribution, Choice | Fixed):
                values = distribution.choice if isinstance(distribution, Choice) else (distribution.fixed,)
                self._choices[name] = tuple(map(hashable, values))
            else:
                # a larger setting below the least value of a smaller one would leave that one no range
                smaller_ones = [other for other, larger in self._bounded_by.items() if name in larger]
                least = max((self._ranges[other].low for other in smaller_ones), default=-math.inf)
                self._ranges[name] = Range.of(distribution, least)
        whole = {name for name, part in study.search.items() if isinstance(part, Integer)}
        self.distributions = {name: self._distribution(name, name in whole) for name in self._order}

    @property
    def pretrain_names(self) -> tuple[str, ...]:
        """Settings of the pre-trained encoder."""
        return tuple(name for name in self.distributions if name.split(".")[0] in PRETRAIN_SECTIONS)

    @property
    def finetune_names(self) -> tuple[str, ...]:
        """All others: they can be varied on one and the same encoder."""
        return tuple(name for name in self.distributions if name.split(".")[0] not in PRETRAIN_SECTIONS)

    # --- from a point to settings ------------------------------------------------------------------------------

    def settings(self, params: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
        """What a sampler proposed beside some fixed values, as values of settings, in the order of the study file."""
        return self._settings(fixed, lambda name, upper: self._of_param(name, params[name], upper))

    def settings_at(self, point: Mapping[str, float], fixed: Mapping[str, Any]) -> dict[str, Any]:
        """The same from coordinates in the unit cube."""
        return self._settings(fixed, lambda name, upper: self._at(name, point[name], upper))

    def _settings(self, fixed: Mapping[str, Any], value_of: Callable[[str, float], Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in self._order:
            if name in fixed:
                values[name] = fixed[name]
            elif self.is_active(name, values):
                values[name] = value_of(name, self._upper(name, values))
            else:
                values[name] = self._defaults[name]
        return {name: values[name] for name in self._names}

    def is_active(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether a setting's condition holds, given the searched ones that decide."""
        conditions = self._conditions.get(name, {})
        return all(values.get(other, self._others[other]) in accepted for other, accepted in conditions.items())

    def _of_param(self, name: str, param: Any, upper: float) -> Any:
        if name in self._choices:
            return self._choices[name][param]
        return self._at(name, param, upper) if name in self._bounded_by else param

    def _at(self, name: str, share: float, upper: float) -> Any:
        if name in self._ranges:
            return self._ranges[name].value(share, upper)
        choices = self._choices[name]
        return choices[min(math.floor(share * len(choices)), len(choices) - 1)]

    # --- from settings to a point ------------------------------------------------------------------------------

    def params(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The parameters that give these values of all searched settings; None where one lies outside the space."""
        return self._point(values, self._to_param)

    def point(self, values: Mapping[str, Any]) -> dict[str, float] | None:
        """The same as coordinates in the unit cube."""
        return self._point(values, self._to_share)

    def outside(self, values: Mapping[str, Any]) -> str | None:
        """The first setting whose value the space does not have: out of its range, or against what others are."""
        return next((name for name in self._order if not self._has(name, values)), None)

    def _has(self, name: str, values: Mapping[str, Any]) -> bool:
        value = values[name]
        if not self.is_active(name, values):
            return bool(value == self._defaults[name])
        if name in self._choices:
            return value in self._choices[name]
        return isinstance(value, int | float) and self._ranges[name].holds(value, self._upper(name, values))

    def _point(self, values: Mapping[str, Any], translate: Callable[[str, Any, float], Any]) -> dict[str, Any] | None:
        if self.outside(values) is not None:
            return None
        # of a value without effect: drawn by chance, and the same whenever the same settings are told
        chance = stream(0, "no effect", *(f"{name}={values[name]!r}" for name in self._order))
        point: dict[str, Any] = {}
        for name in self._order:
            upper, share = self._upper(name, values), chance.random()
            value = values[name] if self.is_active(name, values) else self._at(name, share, upper)
            point[name] = translate(name, value, upper)
        return point

    def _to_param(self, name: str, value: Any, upper: float) -> Any:
        if name in self._choices:
            return self._choices[name].index(value)
        return self._ranges[name].share(value, upper) if name in self._bounded_by else value

    def _to_share(self, name: str, value: Any, upper: float) -> float:
        if name in self._choices:
            return (self._choices[name].index(value) + 0.5) / len(self._choices[name])
        return self._ranges[name].share(value, upper)

    # --- all points --------------------------------------------------------------------------------------------

    def grid(self, levels: int | None, fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """All settings on a grid, each once.

        Args:
            levels: values of a range that has more: its ends and, evenly between them, the others. None takes all
                values, which only a finite space has.
            fixed: values of settings that do not vary.
        """
        free = [name for name in self._order if name not in fixed]
        shares = [_levels(self._count(name), levels, name in self._ranges) for name in free]
        seen: set[tuple[Any, ...]] = set()
        for point in product(*shares):
            settings = self.settings_at(dict(zip(free, point, strict=True)), fixed)
            if (values := tuple(settings.values())) not in seen:
                seen.add(values)
                yield settings

    def size(self, levels: int | None = None) -> float:
        """An upper bound of the points of that grid; infinite for a range without steps and no levels."""
        counts = [self._count(name) for name in self._order]
        return math.prod(
            min(count, levels) if levels and name in self._ranges else count
            for name, count in zip(self._order, counts, strict=True)
        )

    def _count(self, name: str) -> float:
        return self._ranges[name].count() if name in self._ranges else len(self._choices[name])

    # --- order and ranges --------------------------------------------------------------------------------------

    def _upper(self, name: str, values: Mapping[str, Any]) -> float:
        return min((values[larger] for larger in self._bounded_by.get(name, ())), default=math.inf)

    def _deciding_first(self) -> list[str]:
        """The settings, each after those that bound it or decide on it."""
        order: dict[str, None] = {}

        def place(name: str) -> None:
            for other in (*self._bounded_by.get(name, ()), *self._conditions.get(name, ())):
                if other in self._names:
                    place(other)
            order.setdefault(name)

        for name in self._names:
            place(name)
        return list(order)

    def _distribution(self, name: str, whole: bool) -> BaseDistribution:
        if name in self._choices:
            return CategoricalDistribution(range(len(self._choices[name])))
        if name in self._bounded_by:
            return FloatDistribution(0.0, 1.0)
        numbers = self._ranges[name]
        if whole:
            return IntDistribution(int(numbers.low), int(numbers.high), step=int(numbers.step or 1))
        return FloatDistribution(numbers.low, numbers.high, log=numbers.log, step=numbers.step)


def hashable(value: Any) -> Any:
    """A list, as YAML and JSON have it, as the tuple that a setting is."""
    return tuple(value) if isinstance(value, list) else value


def _levels(count: float, levels: int | None, is_range: bool) -> list[float]:
    """Shares that stand for `count` values, or for so many levels of them."""
    if math.isinf(count):
        assert levels is not None, "a range without steps has no end of values"
        return [level / (levels - 1) for level in range(levels)]
    picked = list(range(int(count)))
    if is_range and levels is not None and levels < count:
        picked = [round(level * (count - 1) / (levels - 1)) for level in range(levels)]
    return [(number + 0.5) / count for number in picked]
