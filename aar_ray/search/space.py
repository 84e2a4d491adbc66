"""The search space as Optuna sees it, with constraints built into the ranges.

A constraint `smaller <= larger` makes the range of `smaller` depend on `larger`. Optuna's joint samplers know only
fixed ranges, so `smaller` is sampled as its share of the range that `larger` leaves, from 0 to 1: every proposal meets
the constraint, and nothing is drawn apart from the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from aar_ray.config import PRETRAIN_SECTIONS, Choice, Distribution, Integer, LogUniform, Study, Uniform
from aar_ray.study_file.constraints import constraints


class Space:
    """Searched settings by dotted name, and their translation to Optuna's parameters and back."""

    def __init__(self, study: Study) -> None:
        self.search: dict[str, Distribution] = dict(study.search)
        self._bounded_by: dict[str, list[str]] = {}
        for smaller, larger in constraints(study):
            self._bounded_by.setdefault(smaller, []).append(larger)
        self._order = self._larger_first()
        self.distributions = {name: self._distribution(name) for name in self._order}

    @property
    def pretrain_names(self) -> tuple[str, ...]:
        """Settings of the pre-trained encoder."""
        return tuple(name for name in self.distributions if name.split(".")[0] in PRETRAIN_SECTIONS)

    @property
    def finetune_names(self) -> tuple[str, ...]:
        """All others: they can be varied on one and the same encoder."""
        return tuple(name for name in self.distributions if name.split(".")[0] not in PRETRAIN_SECTIONS)

    def settings(self, params: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
        """What Optuna proposed beside some fixed values, as values of settings, in the order of the study file."""
        values: dict[str, Any] = {}
        for name in self._order:
            distribution = self.search[name]
            if name in fixed:
                values[name] = fixed[name]
            elif isinstance(distribution, Choice):
                values[name] = hashable(distribution.choice[params[name]])
            elif name in self._bounded_by:
                values[name] = _from_share(distribution, params[name], self._upper(name, values))
            else:
                values[name] = params[name]
        return {name: values[name] for name in self.search}

    def params(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The parameters that give these values; None where a value lies outside the space."""
        params: dict[str, Any] = {}
        for name in self._order:
            distribution, value = self.search[name], values[name]
            if isinstance(distribution, Choice):
                choices = [hashable(choice) for choice in distribution.choice]
                if value not in choices:
                    return None
                params[name] = choices.index(value)
            elif name in self._bounded_by:
                low, high = _ends(distribution)
                if not low <= value <= min(high, self._upper(name, values)):
                    return None
                params[name] = _to_share(distribution, value, self._upper(name, values))
            else:
                if not self.distributions[name]._contains(value):
                    return None
                params[name] = value
        return params

    def _upper(self, name: str, values: Mapping[str, Any]) -> float:
        return min(values[larger] for larger in self._bounded_by[name])

    def _larger_first(self) -> list[str]:
        order: list[str] = []

        def place(name: str) -> None:
            for larger in self._bounded_by.get(name, ()):
                place(larger)
            if name not in order:
                order.append(name)

        for name in self.search:
            place(name)
        return order

    def _distribution(self, name: str) -> BaseDistribution:
        distribution = self.search[name]
        if isinstance(distribution, Choice):
            return CategoricalDistribution(range(len(distribution.choice)))
        if name in self._bounded_by:
            return FloatDistribution(0.0, 1.0)
        low, high = _ends(distribution)
        # a larger setting below the least value of a smaller one would leave that one no range
        low = max([low, *(_ends(self.search[other])[0] for other, by in self._bounded_by.items() if name in by)])
        if isinstance(distribution, Integer):
            return IntDistribution(math.ceil(low), int(high), step=distribution.step)
        return FloatDistribution(low, high, log=isinstance(distribution, LogUniform), step=_step(distribution))


def hashable(value: Any) -> Any:
    """A list, as YAML and JSON have it, as the tuple that a setting is."""
    return tuple(value) if isinstance(value, list) else value


def _ends(distribution: Distribution) -> tuple[float, float]:
    if isinstance(distribution, Integer):
        return distribution.integer
    if isinstance(distribution, LogUniform):
        return distribution.log_uniform
    assert isinstance(distribution, Uniform)
    return distribution.uniform


def _step(distribution: Distribution) -> float | None:
    return distribution.step if isinstance(distribution, Uniform | Integer) else None


def _grid(distribution: Distribution, upper: float) -> tuple[float, float, int]:
    """Least value, step, and how many values there are up to `upper`."""
    low, high = _ends(distribution)
    step = _step(distribution)
    assert step is not None
    # a hair above a whole number of steps is that number of steps
    return low, step, math.floor((min(high, upper) - low) / step + 1e-9) + 1


def _from_share(distribution: Distribution, share: float, upper: float) -> float:
    low, high = _ends(distribution)
    if _step(distribution) is not None:
        low, step, count = _grid(distribution, upper)
        return low + step * min(math.floor(share * count), count - 1)
    high = min(high, upper)
    if isinstance(distribution, LogUniform):
        # rounding must not lift the value over its bound
        return min(math.exp(math.log(low) + share * (math.log(high) - math.log(low))), high)
    return min(low + share * (high - low), high)


def _to_share(distribution: Distribution, value: float, upper: float) -> float:
    low, high = _ends(distribution)
    if _step(distribution) is not None:
        low, step, count = _grid(distribution, upper)
        return (round((value - low) / step) + 0.5) / count
    high = min(high, upper)
    if high == low:
        return 0.5
    if isinstance(distribution, LogUniform):
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    return (value - low) / (high - low)
