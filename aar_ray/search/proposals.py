"""Which settings a trial gets: a pure function of the study and of what is known of earlier trials.

Nothing is kept between proposals: an Optuna study is filled with the known trials each time. So a study that was
interrupted proposes what it would have proposed, and Optuna is told the truth about every trial.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from aar_ray.config import Study, dotted
from aar_ray.search.samplers import Vector, evolved, modelled, spread
from aar_ray.search.space import Space, hashable
from aar_ray.seeds import stream, stream_seed
from aar_ray.study_file.sampling import MOST_POINTS

Origin = Literal["reference", "enqueued", "sampled", "arm", "repeat", "confirmation"]

State = Literal["running", "open", "stopped", "complete", "failed"]
"""`open`: paused with some folds and waiting to be promoted; `stopped`: left there when the study ended."""

ATTEMPTS = 10
"""Draws of a sampler that keeps pointing at what has been tried, before it gives way to chance."""

CHANCES = 100
"""Uniform draws after which the points of a finite space are looked through one by one."""

TAKEN_OVER = 3
"""Best settings of earlier studies that stage_aware runs itself: their animals' levels are not this study's."""

LEAST_SECONDS = 1e-3
"""Seconds of a trial that took none by the clock: cost is compared by its logarithm."""


@dataclass(frozen=True)
class Known:
    """An earlier trial: its settings, and its macro-F1 where it may be known by now."""

    settings: Mapping[str, Any]
    state: State
    macro_f1: float | None = None
    repeat_of: int | None = None
    """Number of the first trial of these settings, for a later one with another seed."""
    seconds: float | None = None
    """What its encoder and its folds cost when they were made, by it or by another trial."""
    scores: Mapping[int, float] = field(default_factory=dict)
    """Macro-F1 of the folds that have ended, by their position in the study."""
    probe: float | None = None
    """Of the encoder after its first epochs: macro-F1 of the linear probe."""


@dataclass(frozen=True)
class Proposal:
    """Values of the searched settings, and where they come from."""

    settings: dict[str, Any]
    origin: Origin
    repeat: int = 0
    """Of the settings: 0 is their first run, every other one has a seed of its own."""
    repeat_of: int | None = None
    """Number of the trial that was their first run."""
    arm: str | None = None
    folds: int | None = None
    """How far it runs at first, see `rungs.Action`; None: to its end."""


class Proposer:
    """Proposes trial after trial of one study."""

    def __init__(self, study: Study, earlier: Sequence[Known] = ()) -> None:
        """`earlier` are trials of other studies, in settings of this one: told to samplers that learn."""
        self.space = Space(study)
        self.sampler, self.seed = study.sampler, study.seed
        defaults = dotted(study.reference())
        self.reference = {name: hashable(defaults[name]) for name in study.search}
        self.earlier = earlier
        given = [{name: hashable(value) for name, value in study.completed(one).items()} for one in study.enqueue]
        self.enqueued = self._new_ones([*given, *self._taken_over(given)])
        self._grids: dict[int | None, list[dict[str, Any]]] = {}

    def _taken_over(self, given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The earlier studies' best settings beside those that run anyway, where the sampler is not told of them."""
        if self.sampler.name != "stage_aware":
            return []
        best = sorted(self.earlier, key=lambda trial: -(trial.macro_f1 or 0.0))
        settings = self._new_ones([dict(trial.settings) for trial in best])
        return [one for one in settings if one not in given][:TAKEN_OVER]

    def _new_ones(self, settings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Each of the settings once, without those of trial 0."""
        found: list[dict[str, Any]] = []
        for one in settings:
            if one != self.reference and one not in found:
                found.append(one)
        return found

    def propose(self, known: Sequence[Known]) -> Proposal | None:
        """Settings of the trial that follows the `known` ones, or None when there is nothing new to try.

        Trial 0 is the paper's setting, then come those that the file enqueues and, under stage_aware, the best of
        earlier studies. Then every `trials_per_encoder` trials
        share an encoder: with continuous λ and δ a sampler would never come back to one that is paid for. Equal
        settings are never proposed twice: a draw that repeats a trial has its answer in the journal, which the sampler
        was told, and another one is drawn.
        """
        if not known:
            return Proposal(self.reference, "reference")
        if len(known) <= len(self.enqueued):
            return Proposal(self.enqueued[len(known) - 1], "enqueued")
        shared = self._encoder_to_share(known)
        # an encoder with which every fine-tune setting has been tried gives way to a new one
        for fixed in (shared, {}) if shared else ({},):
            settings = self._untried(known, fixed)
            if settings is not None:
                return Proposal(settings, "sampled")
        return None

    def _encoder_to_share(self, known: Sequence[Known]) -> dict[str, Any]:
        """Pre-training settings that this trial takes over from the first of its group; empty for a new encoder."""
        if not self.space.finetune_names or not self.space.pretrain_names:
            return {}
        first = len(known) - len(known) % self.sampler.trials_per_encoder
        if first == len(known):
            return {}
        return {name: known[first].settings[name] for name in self.space.pretrain_names}

    def _untried(self, known: Sequence[Known], fixed: Mapping[str, Any]) -> dict[str, Any] | None:
        """The first draw that no known trial has."""
        tried = {_values(trial.settings) for trial in known}
        return next((settings for settings in self._draws(known, fixed) if _values(settings) not in tried), None)

    def _draws(self, known: Sequence[Known], fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Settings, one draw after another, given all that is known; `fixed` ones are kept."""
        if self.sampler.name == "grid":
            yield from self._of_grid(self.sampler.grid_points, fixed)
            return
        number = len(known)
        for attempt in range(ATTEMPTS):
            yield self._draw(known, fixed, attempt)
        for attempt in range(CHANCES):
            yield self._by_chance(stream(self.seed, "chance", number, attempt), fixed)
        # of a larger space, chance has found a new point
        if self.space.size() <= MOST_POINTS:
            yield from self._of_grid(None, fixed)

    def _draw(self, known: Sequence[Known], fixed: Mapping[str, Any], attempt: int) -> dict[str, Any]:
        """One draw of the sampler."""
        number, name = len(known), self.sampler.name
        if name == "qmc":
            return self._of_sequence(known, fixed, attempt)
        scored = sum(trial.state == "complete" for trial in (*self.earlier, *known))
        if name == "cma-es":
            return self._of_evolution(known, fixed, stream_seed(self.seed, "proposal", number, attempt) % 2**32)
        if name == "random" or scored < self.sampler.startup_trials:
            return self._by_chance(stream(self.seed, "proposal", number, attempt), fixed)
        # a shared encoder is no part of the question which fine-tune settings are best
        names = self.space.finetune_names if fixed else tuple(self.space.distributions)
        told = [
            ({name: params[name] for name in names}, self._objectives(trial))
            for trial in (*self.earlier, *known)
            # a failed trial has no result
            if trial.state != "failed" and (params := self.space.params(trial.settings))
        ]
        if not any(values for _, values in told):
            return self._by_chance(stream(self.seed, "proposal", number, attempt), fixed)
        params = modelled(
            name,
            stream_seed(self.seed, "proposal", number, attempt) % 2**32,
            {name: self.space.distributions[name] for name in names},
            told,
            self.sampler.objectives,
        )
        return self.space.settings(params, fixed)

    def _objectives(self, trial: Known) -> list[float] | None:
        """What the sampler is told of a trial; None while it runs."""
        if trial.state != "complete":
            return None
        seconds = math.log(max(trial.seconds or 0.0, LEAST_SECONDS))
        values = {"macro_f1": trial.macro_f1 or 0.0, "seconds": seconds}
        return [values[objective] for objective in self.sampler.objectives]

    def _by_chance(self, chance: np.random.Generator, fixed: Mapping[str, Any]) -> dict[str, Any]:
        return self.space.settings_at({name: chance.random() for name in self.space.distributions}, fixed)

    def _of_sequence(self, known: Sequence[Known], fixed: Mapping[str, Any], attempt: int) -> dict[str, Any]:
        """Point of the Sobol sequence by count: of trials, and for the settings of a new encoder of encoders."""
        names, pretrain = tuple(self.space.distributions), self.space.pretrain_names
        encoders = {tuple(trial.settings[name] for name in pretrain) for trial in known}
        seed = stream_seed(self.seed, "sequence")
        by_trial = spread(seed, len(known) + attempt, len(names))
        by_encoder = spread(seed, len(encoders) + attempt, len(names))
        point = {name: float((by_encoder if name in pretrain else by_trial)[index]) for index, name in enumerate(names)}
        return self.space.settings_at(point, fixed)

    def _of_evolution(self, known: Sequence[Known], fixed: Mapping[str, Any], seed: int) -> dict[str, Any]:
        names = tuple(self.space.distributions)

        def told(trials: Sequence[Known]) -> list[tuple[Vector, float]]:
            return [
                (np.array([point[name] for name in names]), trial.macro_f1 or 0.0)
                for trial in trials
                if trial.state == "complete" and (point := self.space.point(trial.settings))
            ]

        drawn = evolved(seed, told(known), told(self.earlier), len(names))
        return self.space.settings_at(dict(zip(names, map(float, drawn), strict=True)), fixed)

    def _of_grid(self, levels: int | None, fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """All points of the grid that have the fixed values, in an order drawn by chance once for the study."""
        if levels not in self._grids:
            points = list(self.space.grid(levels, {}))
            order = stream(self.seed, "grid").permutation(len(points))
            self._grids[levels] = [points[index] for index in order]
        for point in self._grids[levels]:
            if all(point[name] == value for name, value in fixed.items()):
                yield point


def _values(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(settings[name] for name in sorted(settings))
