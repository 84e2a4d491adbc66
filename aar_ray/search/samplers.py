"""Samplers that learn, or that spread points evenly: each draws one point of a joint space.

A point is drawn from the earlier trials and a seed alone: whatever a sampler has learnt is learnt anew each time, so a
study that was interrupted draws what it would have drawn. No parameter is ever drawn apart from the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn

import numpy as np
import optuna
from cmaes import CMA, get_warm_start_mgd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import TrialState, create_trial
from scipy.stats.qmc import Sobol

optuna.logging.set_verbosity(optuna.logging.WARNING)

Vector = NDArray[np.float64]
"""A point of the unit cube, one coordinate a setting."""

BETTER: dict[str, Literal["maximize", "minimize"]] = {"macro_f1": "maximize", "seconds": "minimize"}
"""Direction of each objective."""

FIRST_DEVIATION = 0.3
"""Standard deviation of the evolution's first generation, in widths of a range: wide enough to reach both ends."""

PROMISING = 0.1
"""Share of an earlier study's trials, the best ones, that say where the evolution begins (arXiv 2012.06932)."""


def modelled(
    name: str,
    seed: int,
    distributions: Mapping[str, BaseDistribution],
    told: Sequence[tuple[dict[str, Any], Sequence[float] | None]],
    objectives: Sequence[str],
) -> dict[str, Any]:
    """A point that a model of the earlier trials promises most of.

    Args:
        name: `tpe`, Optuna's tree-structured Parzen estimator over all parameters jointly; of several objectives the
            multi-objective one. Or `gp`, a Gaussian process with expected improvement.
        seed: of this draw.
        distributions: of all parameters.
        told: parameters of the earlier trials with their values, one an objective; None while a trial runs. At least
            one has values.
        objectives: what the values are.
    """
    sampler = (
        _JointTPE(seed) if name == "tpe" else GPSampler(seed=seed, n_startup_trials=1, independent_sampler=_Never())
    )
    study = optuna.create_study(directions=[BETTER[objective] for objective in objectives], sampler=sampler)
    for params, values in told:
        state = TrialState.RUNNING if values is None else TrialState.COMPLETE
        study.add_trial(create_trial(params=params, distributions=dict(distributions), values=values, state=state))
    return study.ask(dict(distributions)).params


def evolved(
    seed: int, told: Sequence[tuple[Vector, float]], earlier: Sequence[tuple[Vector, float]], dimensions: int
) -> Vector:
    """A point of the next generation of a covariance matrix adaptation (CMA-ES).

    Args:
        seed: of this draw.
        told: points of the study's complete trials with their scores, in the order of the trials: one generation after
            another, the last of which need not be complete.
        earlier: those of earlier studies, from whose best the first generation is drawn.
        dimensions: of a point, 2 or more.
    """
    bounds = np.tile([0.0, 1.0], (dimensions, 1))
    mean, deviation, covariance = np.full(dimensions, 0.5), FIRST_DEVIATION, None
    if earlier:
        # counted up, so that one trial suffices; a hair more, since the package counts down
        share = math.ceil(PROMISING * len(earlier)) / len(earlier)
        losses = [(point, -score) for point, score in earlier]
        mean, deviation, covariance = get_warm_start_mgd(losses, gamma=min(share * (1 + 1e-9), 1.0))
    evolution = CMA(mean=mean, sigma=deviation, cov=covariance, bounds=bounds, seed=seed)
    size = evolution.population_size
    for start in range(0, len(told) - size + 1, size):
        evolution.tell([(point, -score) for point, score in told[start : start + size]])
    return evolution.ask()


def spread(seed: int, position: int, dimensions: int) -> Vector:
    """Point number `position` of a scrambled Sobol sequence, whose points fill the cube evenly."""
    # drawn from the start: a power of two keeps the sequence's balance, and points are few
    count = 2 ** math.ceil(math.log2(position + 1))
    points: NDArray[np.float64] = Sobol(dimensions, rng=np.random.default_rng(seed)).random(count)
    return points[position]


class _Never(BaseSampler):
    """Draws nothing: a parameter that would be drawn apart from the others is a mistake of ours."""

    def infer_relative_search_space(self, *_: Any) -> NoReturn:
        raise AssertionError("asked to draw in place of the joint sampler")

    def sample_relative(self, *_: Any) -> NoReturn:
        raise AssertionError("asked to draw in place of the joint sampler")

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> NoReturn:
        raise AssertionError(f"{param_name} would be drawn apart from the other parameters")


def _joint_gp(seed: int) -> BaseSampler:
    return GPSampler(seed=seed, n_startup_trials=1, independent_sampler=_Never())


class _JointTPE(TPESampler):
    """Optuna's TPE, joint also for several objectives, where its own default is not."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=1, multivariate=True)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> NoReturn:
        raise AssertionError(f"{param_name} would be drawn apart from the other parameters")
