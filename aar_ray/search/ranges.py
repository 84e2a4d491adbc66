"""A range of numbers, and its translation to shares from 0 to 1 and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aar_ray.config import Integer, LogUniform, Uniform, range_ends


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; a share of it is one of the values up to some upper bound."""

    low: float
    high: float
    step: float | None
    log: bool

    @classmethod
    def of(cls, distribution: Uniform | LogUniform | Integer, at_least: float) -> Range:
        """The range of a distribution, begun at its first value that is not below `at_least`."""
        low, high = range_ends(distribution)
        step = None if isinstance(distribution, LogUniform) else distribution.step
        if at_least > low:
            # a hair above a whole number of steps is that number of steps
            low = at_least if step is None else low + step * math.ceil((at_least - low) / step - 1e-9)
        return cls(low, high, step, isinstance(distribution, LogUniform))

    def count(self, upper: float = math.inf) -> float:
        """How many values there are up to `upper`; infinite without steps."""
        if self.step is None:
            return math.inf
        return math.floor((min(self.high, upper) - self.low) / self.step + 1e-9) + 1

    def value(self, share: float, upper: float = math.inf) -> float:
        """The value at a share of what lies up to `upper`; values in steps take equal parts of it."""
        if self.step is not None:
            count = self.count(upper)
            return self.low + self.step * min(math.floor(share * count), count - 1)
        high = min(self.high, upper)
        if self.log:
            # rounding must not carry the value over either bound
            value = math.exp(math.log(self.low) + share * (math.log(high) - math.log(self.low)))
            return min(max(value, self.low), high)
        return min(self.low + share * (high - self.low), high)

    def share(self, value: float, upper: float = math.inf) -> float:
        """The share, of what lies up to `upper`, that gives a value; of a value in steps the middle of its part."""
        if self.step is not None:
            return (round((value - self.low) / self.step) + 0.5) / self.count(upper)
        high = min(self.high, upper)
        if high == self.low:
            return 0.5
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(high) - math.log(self.low))
        return (value - self.low) / (high - self.low)

    def holds(self, value: float, upper: float = math.inf) -> bool:
        """Whether a number is a value of the range, up to `upper`."""
        if not self.low <= value <= min(self.high, upper):
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return math.isclose(steps, round(steps), rel_tol=1e-9, abs_tol=1e-9)
