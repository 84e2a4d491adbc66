"""How sure a study can be of its scores: statistics of a few animals and a few seeds, on plain arrays.

A setting's scores are a table: one row a run (a seed), one column a validation animal. Animals are few and differ far
more than settings do; seeds are fewer still. So an interval adds the spread of both, settings are compared animal by
animal, and the best of many noisy scores is reported from runs that did not make it the best.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
POWER = 0.8
"""Chance to see a difference that `resolvable_difference` calls resolvable."""


class Interval(NamedTuple):
    """A mean and its 95 % interval; the ends are NaN where there is nothing to judge them by."""

    mean: float
    low: float
    high: float


class Spread(NamedTuple):
    """A variance and the degrees of freedom that it was estimated with."""

    variance: float
    freedom: float


class Difference(NamedTuple):
    """Mean paired difference over the animals that two settings share, its 95 % interval, and one-sided p of `<= 0`."""

    mean: float
    low: float
    high: float
    animals: int
    p: float


@dataclass(frozen=True)
class Scored:
    """Scores of one setting."""

    number: int
    """Of its first trial."""
    scores: NDArray[np.float64]
    """[runs, animals]: each animal's macro-F1 in each run; NaN where an animal was not scored."""
    sought: NDArray[np.bool_]
    """[runs]: whether the run's score had a part in picking the setting out of many."""

    @property
    def chooses(self) -> NDArray[np.bool_]:
        """[runs]: runs that choose the winner; all where no search picked the setting out, as in a study of arms."""
        chooses = np.ones(len(self.scores), dtype=bool)
        fresh = np.flatnonzero(~self.sought)
        if self.sought.any():
            chooses[fresh[choosing(len(fresh)) :]] = False
        return chooses

    @property
    def reports(self) -> NDArray[np.bool_]:
        """[runs]: runs that had no part in the choice; all of them where no search picked the setting out."""
        return ~self.chooses if self.sought.any() else np.ones(len(self.scores), dtype=bool)

    def by_animal(self, runs: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """[animals]: mean over the runs in which the animal was scored; NaN where it was in none."""
        chosen = self.scores if runs is None else self.scores[runs]
        scored = ~np.isnan(chosen)
        count = scored.sum(axis=0)
        return np.divide(
            np.where(scored, chosen, 0).sum(axis=0), count, out=np.full(len(count), np.nan), where=count > 0
        )

    def mean(self, runs: NDArray[np.bool_] | None = None) -> float:
        """Mean over animals of their means over runs."""
        values = self.by_animal(runs)
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else np.nan


@dataclass(frozen=True)
class Winner:
    """The best setting, and its score from runs that did not choose it."""

    number: int
    candidates: int
    """Settings that it was chosen from."""
    chosen_by: float
    """The score that chose it: the best of many, so overstated."""
    runs: int
    """Runs behind `score`; 0 where no run is left that did not choose."""
    score: Interval
    """On these animals: the interval is over seeds alone."""
    elsewhere: Interval
    """On other animals of the kind: the interval is over animals and seeds."""


def choosing(fresh: int) -> int:
    """How many of the fresh runs of a setting help to choose the winner: the earlier half; the later one reports."""
    return fresh // 2


def t_interval(values: Sequence[float] | NDArray[np.float64]) -> Interval:
    """Mean of the values with its 95 % interval by Student's t, mean ± t(.975, n - 1) s / √n."""
    return _around(float(np.mean(values)) if len(values) else np.nan, [_of_mean(np.asarray(values))])


def seed_spread(settings: Iterable[Scored]) -> Spread | None:
    """Variance of a run's mean over animals from seed to seed, pooled over all settings that ran afresh.

    Runs of the search are left out: a setting is run again because its first score was high, so that one is no longer
    a fair draw. None where no setting has two fair runs.
    """
    squares, freedom = 0.0, 0
    for setting in settings:
        fair = setting.scores[~setting.sought]
        # only animals that every run has: a missing one would pass for noise of the seed
        fair = fair[:, ~np.isnan(fair).any(axis=0)] if len(fair) else fair
        if len(fair) > 1 and fair.shape[1]:
            means = fair.mean(axis=1)
            squares += float(((means - means.mean()) ** 2).sum())
            freedom += len(means) - 1
    return Spread(squares / freedom, freedom) if freedom else None


def interval(setting: Scored, seeds: Spread | None, runs: NDArray[np.bool_] | None = None) -> Interval:
    """Mean of a setting with its 95 % interval over animals and, where their spread is known, seeds.

    var = s²_animals / animals + s²_seeds / runs, with Welch's and Satterthwaite's degrees of freedom. The noise of one
    animal in one run is counted in both terms, which makes the interval a little wide.
    """
    values = setting.by_animal(runs)
    values = values[~np.isnan(values)]
    count = len(setting.scores) if runs is None else int(runs.sum())
    parts = [_of_mean(values)] if len(values) > 1 or seeds is None else []
    return _around(float(values.mean()) if len(values) else np.nan, [*parts, *_of_seeds(seeds, count)])


def paired_difference(ours: Scored, theirs: Scored, seeds: Spread | None = None) -> Difference:
    """By how much `ours` beats `theirs`, animal by animal: what makes an animal hard makes it hard for both."""
    differences = ours.by_animal() - theirs.by_animal()
    differences = differences[~np.isnan(differences)]
    mean = float(differences.mean()) if len(differences) else np.nan
    of_seeds = [*_of_seeds(seeds, len(ours.scores)), *_of_seeds(seeds, len(theirs.scores))]
    parts = [_of_mean(differences), *of_seeds]
    around = _around(mean, parts)
    return Difference(*around, animals=len(differences), p=_p_above(mean, parts))


def beside_winner(winner: Scored, settings: Sequence[Scored], seeds: Spread | None = None) -> dict[int, bool]:
    """Of each setting, whether it cannot be told from the winner.

    One that the winner beats in a one-sided paired t-test at level .05 / (settings - 1) can be told. The level is
    Bonferroni's over all settings that the winner could have been, so the best of all settings, whichever it is, stays
    in this set in 95 % of studies, also when the winner is another one (the confidence set of Hsu 1996, here with a
    variance of its own for each pair).
    """
    level = (1 - CONFIDENCE) / max(1, len(settings) - 1)
    return {
        setting.number: setting is winner or not paired_difference(winner, setting, seeds).p <= level
        for setting in settings
    }


def choose(settings: Sequence[Scored]) -> Scored | None:
    """The winner: of the settings that ran afresh, where there are such, the best by the runs that choose."""
    searched = [setting for setting in settings if setting.sought.any()]
    confirmed = [setting for setting in searched if (~setting.sought).any()]
    candidates = confirmed or settings
    # ties go to the earlier one
    return max(candidates, key=lambda one: (one.mean(one.chooses), -one.number), default=None)


def report_winner(settings: Sequence[Scored]) -> Winner | None:
    """The winner with a score that its having been chosen does not flatter; None where nothing was scored.

    The search and the earlier half of the fresh runs choose; the later half reports. Its draws are independent of the
    choice, so its mean is unbiased, whatever the noise. Without fresh runs there is no such score: `runs` is 0 and both
    intervals are NaN.
    """
    winner = choose(settings)
    if winner is None:
        return None
    seeds, reports = seed_spread(settings), winner.reports
    runs = int(reports.sum())
    mean = winner.mean(reports) if runs else np.nan
    return Winner(
        number=winner.number,
        candidates=len(settings),
        chosen_by=winner.mean(winner.chooses),
        runs=runs,
        score=_around(mean, _of_seeds(seeds, runs)) if runs else Interval(np.nan, np.nan, np.nan),
        elsewhere=interval(winner, seeds, reports) if runs else Interval(np.nan, np.nan, np.nan),
    )


def smallest_sign_p(animals: int) -> float:
    """The smallest two-sided p that a paired sign test over so many animals can give: 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - animals))


def resolvable_difference(deviation: float, animals: int, comparisons: int = 1) -> float:
    """Smallest true difference that `animals` show in four of five studies, in the unit of `deviation`.

    Args:
        deviation: of paired differences between animals.
        animals: number of validation animals.
        comparisons: that the level .05 (one-sided) is shared by, as in `beside_winner`.

    Returns:
        (t(1 - .05 / comparisons) + t(.8)) deviation / √animals; NaN for one animal.
    """
    if animals < 2:
        return np.nan
    level = 1 - (1 - CONFIDENCE) / max(1, comparisons)
    quantiles = stats.t.ppf(level, animals - 1) + stats.t.ppf(POWER, animals - 1)
    return float(quantiles * deviation / np.sqrt(animals))


def _of_mean(values: NDArray[np.float64]) -> Spread:
    """Variance of the values' mean."""
    if len(values) < 2:
        return Spread(np.nan, np.nan)
    return Spread(float(np.var(values, ddof=1)) / len(values), len(values) - 1)


def _of_seeds(seeds: Spread | None, runs: int) -> list[Spread]:
    return [] if seeds is None else [Spread(seeds.variance / runs, seeds.freedom)]


def _together(parts: Sequence[Spread]) -> Spread:
    """Sum of independent variances, with degrees of freedom after Welch and Satterthwaite."""
    total = sum(part.variance for part in parts)
    shares = sum(part.variance**2 / part.freedom for part in parts)
    return Spread(total, total**2 / shares if shares else min((part.freedom for part in parts), default=np.nan))


def _around(mean: float, parts: Sequence[Spread]) -> Interval:
    if not parts:
        return Interval(mean, np.nan, np.nan)
    total = _together(parts)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, total.freedom) * np.sqrt(total.variance))
    return Interval(mean, mean - half, mean + half)


def _p_above(mean: float, parts: Sequence[Spread]) -> float:
    """One-sided p of a mean of at most 0; 1 where a difference of exactly 0 has no spread."""
    total = _together(parts)
    if np.isnan(total.variance) or total.variance == 0:
        # equal on every animal: no difference, or one without any doubt about it
        return float(mean <= 0) if total.variance == 0 else np.nan
    return float(stats.t.sf(mean / np.sqrt(total.variance), total.freedom))
