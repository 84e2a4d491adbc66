"""Spending by expected gain: a new encoder, other fine-tuning on a paid one, or more folds for a trial that leads.

A model of all scores so far (`surrogate`) says what a setting promises. Every setting gets a few folds first; it gets
more of them only while its mean over all folds may well come out above that of the best setting that has them (racing
over folds: a trial is paused, promoted, or left). A new encoder may first get some epochs alone: it goes on where its
linear probe is in the better half (never by its own loss, which means another thing under another λ). Where a setting
needs an encoder that is not there, its promise is divided by the seconds of the pre-training too, so that fine-tune
settings are tried on a paid encoder until a new one promises more a second.

Animals differ far more than settings do: scores are compared after each fold's own level has been taken off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from aar_ray.search.space import Space
from aar_ray.search.surrogate import Array, Cube, GaussianProcess, expected_improvement
from aar_ray.seeds import stream

GROWTH = 3
"""Times as many folds from rung to rung."""
WORST = 2.0
"""Scores further below the median than this many times the best one's lead count as no further: a setting that learns
nothing says little about the ones that do."""
HOPE = 1.5
"""Deviations above its expected mean over all folds that a trial is credited with while folds are missing. Of settings
that differ little beside their folds' noise, the means of the best that 200 folds found were .91 of that noise's
deviation at 0, 1.21 at 1.5, 1.14 at 3."""
RANDOM, NEAR, LEADERS, PAID = 200, 25, 6, 4
"""Candidates: uniform ones, those around each leading setting, leading settings, paid encoders that are looked at."""


@dataclass(frozen=True)
class Seen:
    """A trial as a decision may know it."""

    settings: Mapping[str, Any]
    scores: Mapping[int, float]
    """Macro-F1 by number of the fold."""
    state: Literal["running", "open", "complete", "failed"]
    """`open`: it waits for more folds, or for the end."""
    probe: float | None = None
    """Macro-F1 of the linear probe on its encoder after the first epochs."""


@dataclass(frozen=True)
class Start:
    """A new setting."""

    settings: dict[str, Any]
    folds: int
    """How many it gets at first; 0: the first epochs of its encoder alone."""


@dataclass(frozen=True)
class Promote:
    """More folds for a trial."""

    trial: int
    folds: int
    """How many it then has."""


@dataclass(frozen=True)
class Outcome:
    """What a trial's mean over all folds is expected to be, and how far it may be from that."""

    mean: float
    deviation: float = 0.0

    @property
    def at_best(self) -> float:
        """What it may well come to."""
        return self.mean + HOPE * self.deviation


def rungs(first_folds: int, folds: int) -> tuple[int, ...]:
    """Numbers of folds at which a trial waits to be compared; the last one is all of them."""
    found = [min(first_folds, folds)]
    while found[-1] < folds:
        found.append(min(found[-1] * GROWTH, folds))
    return tuple(found)


class StageAware:
    """Decides what a study's next seconds go to; a pure function of what it is told."""

    def __init__(
        self,
        space: Space,
        *,
        folds: int,
        first_folds: int,
        startup_trials: int,
        trials_per_encoder: int,
        seed: int,
        first_epochs: int | None = None,
    ) -> None:
        """Settings are those of `config.Sampler`; `folds` is their number in the study."""
        self.space = space
        sorts = space.distributions.values()
        self.cube = Cube([len(s.choices) if isinstance(s, CategoricalDistribution) else None for s in sorts])
        self.rungs = rungs(first_folds, folds)
        self.probing = first_epochs is not None
        self.startup_trials, self.trials_per_encoder, self.seed = startup_trials, trials_per_encoder, seed
        names = list(space.distributions)
        self.finetune = [names.index(name) for name in space.finetune_names]
        self.pretrain = [names.index(name) for name in space.pretrain_names]
        self._points: dict[tuple[Any, ...], Array] = {}

    def next(self, seen: Sequence[Seen], price: float, *, may_start: bool = True) -> Start | Promote | None:
        """What to do next; None where nothing is worth it.

        Args:
            seen: all trials so far, by number.
            price: seconds of a pre-train, in seconds of fine-tuning one fold.
            may_start: whether the budget leaves room for a new trial.
        """
        draw = stream(self.seed, "stage aware", len(seen), sum(len(trial.scores) for trial in seen))
        scored = [number for number, trial in enumerate(seen) if trial.scores]
        points = np.array([self._point(trial.settings) for trial in seen])
        if promoted := self._promoted_by_probe(seen):
            return promoted
        if len(seen) < self.startup_trials or len(scored) < 2:
            outcomes = {number: Outcome(float(np.mean(list(seen[number].scores.values())))) for number in scored}
            return self._startup(seen, points, draw) if may_start else self._promoted(seen, outcomes)
        model, outcomes = self._model(seen, points, scored)
        promoted = self._promoted(seen, outcomes)
        if promoted or not may_start:
            return promoted
        best = max(outcome.mean for outcome in outcomes.values())
        return self._start(seen, points, model, best, price, draw)

    # --- what is known ---

    def _point(self, settings: Mapping[str, Any]) -> Array:
        key = tuple(settings[name] for name in self.space.distributions)
        if key not in self._points:
            point = self.space.point(settings)
            assert point is not None, f"a setting outside the space cannot be compared: {settings}"
            self._points[key] = np.array([point[name] for name in self.space.distributions])
        return self._points[key]

    def _model(
        self, seen: Sequence[Seen], points: Array, scored: Sequence[int]
    ) -> tuple[GaussianProcess, dict[int, Outcome]]:
        """The surrogate of all scores, and what each trial that has some will have over all folds."""
        means = without_fold_levels([seen[number].scores for number in scored])
        counts = np.array([float(len(seen[number].scores)) for number in scored])
        floor = np.median(means) - WORST * max(float(means.max() - np.median(means)), 1e-6)
        values = np.maximum(means, floor)
        rows = list(scored)
        # a setting that failed is as bad as the worst that did not, so the search keeps away; one whose encoder was
        # left after its first epochs is as good as the lower quarter
        for state, value in (("failed", values.min()), ("open", np.quantile(values, 0.25))):
            without = [number for number, trial in enumerate(seen) if trial.state == state and not trial.scores]
            rows += without
            values = np.concatenate([values, np.full(len(without), value)])
            counts = np.concatenate([counts, np.ones(len(without))])
        model = GaussianProcess(self.cube, points[rows], values, counts)
        of_scored = slice(len(scored))
        means, deviations = model.of_mean(points[scored], values[of_scored], counts[of_scored], self.rungs[-1])
        outcomes = dict(zip(scored, map(Outcome, means.tolist(), deviations.tolist()), strict=True))
        running = [number for number, trial in enumerate(seen) if trial.state == "running" and not trial.scores]
        if running:
            # what runs is taken to come out as predicted, so that the next one looks elsewhere
            expected, _ = model.predict(points[running])
            model = model.extended(points[running], expected)
        return model, outcomes

    # --- what can be done ---

    def _startup(self, seen: Sequence[Seen], points: Array, draw: np.random.Generator) -> Start | None:
        """Before the model takes over: by chance, some trials an encoder."""
        point = self.cube.random(draw, 1)[0]
        shared = len(seen) % self.trials_per_encoder
        if shared and self.finetune and self.pretrain:
            point[self.pretrain] = points[len(seen) - shared][self.pretrain]
        return self._first_new(seen, points, np.concatenate([point[None], self.cube.random(draw, RANDOM)]))

    def _promoted_by_probe(self, seen: Sequence[Seen]) -> Promote | None:
        """A trial whose encoder is in the better half by its probe."""
        probes = [trial.probe for trial in seen if trial.probe is not None]
        for number, trial in enumerate(seen):
            waits = trial.state == "open" and not trial.scores and trial.probe is not None
            if waits and len(probes) > 1 and trial.probe >= np.median(probes):  # type: ignore[operator]
                return Promote(number, self.rungs[0])
        return None

    def _promoted(self, seen: Sequence[Seen], outcomes: Mapping[int, Outcome]) -> Promote | None:
        """The open trial that may come out highest, where that is above every one that has all folds."""
        bar = max((outcomes[n].mean for n, trial in enumerate(seen) if trial.state == "complete"), default=-np.inf)
        waiting = [(outcomes[n].at_best, -n) for n, trial in enumerate(seen) if trial.state == "open" and trial.scores]
        if not waiting or max(waiting)[0] <= bar:
            return None
        number = -max(waiting)[1]
        return Promote(number, next(rung for rung in self.rungs if rung > len(seen[number].scores)))

    def _start(
        self,
        seen: Sequence[Seen],
        points: Array,
        model: GaussianProcess,
        best: float,
        price: float,
        draw: np.random.Generator,
    ) -> Start | None:
        candidates = self._candidates(seen, points, model, draw)
        gain = expected_improvement(*model.predict(candidates), best)
        paid = self._paid(seen, points)
        new = np.array([tuple(point[self.pretrain]) not in paid for point in candidates])
        # a new encoder is shared by the trials that follow on it
        seconds = self.rungs[0] + np.where(new, price / self.trials_per_encoder, 0.0)
        return self._first_new(seen, points, candidates[np.argsort(-gain / seconds, kind="stable")])

    def _paid(self, seen: Sequence[Seen], points: Array) -> set[tuple[float, ...]]:
        """Encoders that are there, or will be."""
        left = [trial.state == "failed" or (trial.state == "open" and not trial.scores) for trial in seen]
        return {tuple(point[self.pretrain]) for point, gone in zip(points, left, strict=True) if not gone}

    def _candidates(
        self, seen: Sequence[Seen], points: Array, model: GaussianProcess, draw: np.random.Generator
    ) -> Array:
        """Settings anywhere, near the leading ones, and on the encoders of the leading ones."""
        usable = [n for n, trial in enumerate(seen) if trial.state != "failed"]
        mean, _ = model.predict(points[usable])
        leading = [points[usable[index]] for index in np.argsort(-mean, kind="stable")]
        found = [self.cube.random(draw, RANDOM), *(self.cube.near(draw, p, NEAR) for p in leading[:LEADERS])]
        if self.finetune and self.pretrain:
            encoders: dict[tuple[float, ...], Array] = {}
            for point in leading:
                encoders.setdefault(tuple(point[self.pretrain]), point)
            for point in list(encoders.values())[:PAID]:
                anew = self.cube.random(draw, 2 * NEAR)
                anew[:, self.pretrain] = point[self.pretrain]
                found += [anew, self.cube.near(draw, point, NEAR, self.finetune)]
        return np.concatenate(found)

    def _first_new(self, seen: Sequence[Seen], points: Array, candidates: Array) -> Start | None:
        """The first candidate whose settings no trial has had."""
        tried = [dict(trial.settings) for trial in seen]
        for point in candidates:
            settings = self.space.settings_at(dict(zip(self.space.distributions, point.tolist(), strict=True)), {})
            if settings not in tried:
                new = tuple(point[self.pretrain]) not in self._paid(seen, points)
                return Start(settings, 0 if self.probing and self.pretrain and new else self.rungs[0])
        return None


def without_fold_levels(scores: Sequence[Mapping[int, float]]) -> Array:
    """Mean score of each trial after every fold's own level was taken off: score = trial + fold + noise.

    Least squares, by turns, over the trials that have several folds.

    Args:
        scores: of each trial, by fold; at least one each.
    """
    folds = sorted({fold for trial in scores for fold in trial})
    table: NDArray[np.float64] = np.array([[trial.get(fold, np.nan) for fold in folds] for trial in scores])
    known = ~np.isnan(table)
    shared = known & (known.sum(axis=1, keepdims=True) > 1)
    levels = np.zeros(len(folds))
    means = np.nanmean(table, axis=1)
    if not shared.any():
        return np.asarray(means)
    for _ in range(20):
        means = np.nanmean(table - levels, axis=1)
        rest = np.where(shared, table - means[:, None], 0.0)
        levels = rest.sum(axis=0) / np.maximum(shared.sum(axis=0), 1)
        levels -= levels.mean()
    return np.asarray(np.nanmean(table - levels, axis=1))
