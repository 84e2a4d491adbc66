"""Whether more trials are worth it, by a simple rule on what is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.integrate import quad
from scipy.stats import norm

from aar_ray.config import Study
from aar_ray.search.proposals import Known

FARTHEST = 12.0
"""Standard deviations beyond which a normal score is not looked for."""


def not_worth_it(study: Study, known: Sequence[Known]) -> str | None:
    """Why the search may end, or None while more trials may raise the best score by `budget.least_gain`.

    The next `budget.patience` trials are taken to score like the last ones: normally, with their mean and deviation.
    Random trials of the start say nothing about a model's, so they do not count; neither do those that were paused,
    which promised less.

    Args:
        study: its budget has both numbers.
        known: trials of the search, by number; their scores as far as they may be known.
    """
    patience, least = study.budget.patience, study.budget.least_gain
    if patience is None:
        return None
    scores = [trial.macro_f1 for trial in known if trial.state == "complete" and trial.macro_f1 is not None]
    learns = study.sampler.name in ("stage_aware", "tpe", "gp")
    if len(scores) < patience + (study.sampler.startup_trials if learns else 1):
        return None
    best, recent = max(scores), scores[-patience:]
    gain = expected_gain(best, float(np.mean(recent)), float(np.std(recent, ddof=1)), patience)
    if gain >= least:
        return None
    return (
        f"{patience} more trials like the last {patience} are expected to raise the best macro-F1, {best:.3f}, by "
        f"{gain:.2g}, less than budget.least_gain {least:g}"
    )


def expected_gain(best: float, mean: float, deviation: float, trials: int) -> float:
    """By how much the best of so many normal scores is expected to exceed `best`, counting 0 where it does not.

    That is the integral of P(maximum > y) = 1 - Φ((y - mean) / deviation)^trials over all y above `best`.
    """
    if deviation == 0:
        return max(mean - best, 0.0)
    start = (best - mean) / deviation

    def exceeds(score: float) -> float:
        return -math.expm1(trials * float(norm.logcdf(score)))

    beyond, _ = quad(exceeds, max(start, -FARTHEST), max(start, 0.0) + FARTHEST)
    return deviation * float(beyond + max(-FARTHEST - start, 0.0))
