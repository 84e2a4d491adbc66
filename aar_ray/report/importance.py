"""Which settings made a difference, and which did not: importance with a null band.

Kernel ridge regression learns the score from the settings on one half of the trials; a setting's importance is by how
much the explained variance of the other half falls when that setting's values are shuffled there (as Breiman 2001 does
with forests), both ways round. The same with shuffled scores shows what settings reach that have no effect at all
(Altmann et al. 2010): below the 95th percentile of that, a setting is said to have shown none. The regression is linear
in the scores, so one fit serves all shuffled studies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from aar_ray.seeds import stream

PERMUTATIONS = 200
"""Shuffled studies that the null band is made of."""
SHUFFLES = 5
"""Of each setting's values."""
RIDGE = 0.3
"""Variance of the noise over that of the effects, as the regression takes it."""
FEWEST = 16
"""Trials below which nothing is said: eight to learn from and eight to look at."""


@dataclass(frozen=True)
class Importance:
    """Of one setting."""

    name: str
    share: float
    """Of the variance of the score that is lost without the setting; below 0 by chance."""
    null: float
    """95th percentile of that where no setting has any effect."""

    @property
    def shown(self) -> bool:
        """Whether the setting had an effect that chance does not explain."""
        return self.share > self.null and self.share > 0


def importances(
    settings: Sequence[Mapping[str, Any]], scores: Sequence[float] | NDArray[np.float64], seed: int = 0
) -> list[Importance]:
    """Importance of each setting that varies, the highest first; none with fewer than 16 trials or equal scores.

    The null is the largest importance over all settings of each shuffled study, so that with ten settings without
    effect one in twenty reports, and not one in two, calls one of them important.

    Args:
        settings: of each complete trial.
        scores: of each complete trial.
        seed: of the named stream "importance".
    """
    names = [name for name in dict.fromkeys(name for one in settings for name in one) if _varies(settings, name)]
    values = np.asarray(scores, dtype=float)
    if len(values) < FEWEST or not names or np.ptp(values) == 0:
        return []
    columns = np.column_stack([_spread_out(coded([one.get(name) for one in settings])) for name in names])
    draw = stream(seed, "importance")
    shuffled = np.column_stack([values, *(draw.permutation(values) for _ in range(PERMUTATIONS))])
    shares, *nulls = _shares(columns, shuffled, draw)
    null = float(np.quantile([one.max() for one in nulls], 0.95))
    found = [Importance(name, float(share), null) for name, share in zip(names, shares, strict=True)]
    return sorted(found, key=lambda one: -one.share)


def coded(values: Sequence[Any]) -> NDArray[np.float64]:
    """Values as numbers: numbers as they are (positive ones over more than a decade by their logarithm), all else by
    the order in which it first occurs; None is the lowest."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        numbers = np.array(values, dtype=float)
        return np.log10(numbers) if numbers.min() > 0 and numbers.max() > 10 * numbers.min() else numbers
    order = {str(value): place for place, value in enumerate(sorted({*map(str, values)}))}
    return np.array([-1.0 if value is None else float(order[str(value)]) for value in values])


def _varies(settings: Sequence[Mapping[str, Any]], name: str) -> bool:
    return len({str(one.get(name)) for one in settings}) > 1


def _spread_out(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks with mean 0 and deviation 1: where most values lie close together, they still differ."""
    ranks = rankdata(column)
    spread: NDArray[np.float64] = (ranks - ranks.mean()) / ranks.std()
    return spread


def _shares(
    columns: NDArray[np.float64], studies: NDArray[np.float64], draw: np.random.Generator
) -> NDArray[np.float64]:
    """[studies, settings]: loss of explained variance on the half that was not learnt from, mean of both ways.

    Args:
        columns: [trials, settings].
        studies: [trials, studies], scores that differ in their order alone.
        draw: of the halves and of the shuffled settings.
    """
    # takes a second to import, which no command without a report should pay
    from sklearn.kernel_ridge import KernelRidge

    halves = np.array_split(draw.permutation(len(columns)), 2)
    centred = studies - studies.mean(axis=0)
    lost = np.zeros((studies.shape[1], columns.shape[1]))
    for learnt, seen in (halves, halves[::-1]):
        model = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=1 / (2 * columns.shape[1]))
        model.fit(columns[learnt], centred[learnt])
        whole = _error(model, columns[seen], centred[seen])
        for setting in range(columns.shape[1]):
            for _ in range(SHUFFLES):
                without = columns[seen].copy()
                without[:, setting] = draw.permutation(without[:, setting])
                lost[:, setting] += _error(model, without, centred[seen]) - whole
    shares: NDArray[np.float64] = lost / (2 * SHUFFLES * centred.var(axis=0)[:, None])
    return shares


def _error(model: Any, columns: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """[studies]: mean squared error."""
    squared: NDArray[np.float64] = ((model.predict(columns) - scores) ** 2).mean(axis=0)
    return squared
