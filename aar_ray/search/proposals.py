"""Which settings a trial gets: a pure function of the study and of what is known of earlier trials.

Nothing is kept between proposals: an Optuna study is filled with the known trials each time. So a study that was
interrupted proposes what it would have proposed, and Optuna is told the truth about every trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from aar_ray.config import Study, dotted
from aar_ray.search.space import Space, hashable
from aar_ray.seeds import stream_seed

optuna.logging.set_verbosity(optuna.logging.WARNING)

Origin = Literal["reference", "sampled", "arm", "repeat", "confirmation"]

ATTEMPTS = 100
"""Draws after which a space is taken to hold no setting that has not been tried."""


@dataclass(frozen=True)
class Known:
    """An earlier trial: its settings, and its macro-F1 where it may be known by now."""

    settings: Mapping[str, Any]
    state: Literal["running", "complete", "failed"]
    macro_f1: float | None = None
    repeat_of: int | None = None
    """Number of the first trial of these settings, for a later one with another seed."""


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


class Proposer:
    """Proposes trial after trial of one study."""

    def __init__(self, study: Study) -> None:
        self.space = Space(study)
        self.sampler, self.seed = study.sampler, study.seed
        defaults = dotted(study.reference())
        self.reference = {name: hashable(defaults[name]) for name in study.search}

    def propose(self, known: Sequence[Known]) -> Proposal | None:
        """Settings of the trial that follows the `known` ones, or None when there is nothing new to try.

        Trial 0 is the paper's setting. Then every `trials_per_encoder` trials share an encoder: with continuous λ and
        δ a sampler would never come back to one that is paid for.
        """
        number = len(known)
        if number == 0:
            return Proposal(self.reference, "reference")
        fixed = self._encoder_to_share(known)
        tried = [dict(trial.settings) for trial in known]
        for attempt in range(ATTEMPTS):
            # a model that keeps pointing at what has been tried gives way to chance
            name = self.sampler.name if attempt < ATTEMPTS // 2 else "random"
            settings = self._draw(known, fixed, name, stream_seed(self.seed, "proposal", number, attempt))
            if settings not in tried:
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

    def _draw(self, known: Sequence[Known], fixed: Mapping[str, Any], sampler: str, seed: int) -> dict[str, Any]:
        """One draw from a sampler, given all that is known; `fixed` settings are kept."""
        names = self.space.finetune_names if fixed else tuple(self.space.distributions)
        distributions = {name: self.space.distributions[name] for name in names}
        study = optuna.create_study(direction="maximize", sampler=self._sampler(sampler, seed))
        for trial in known:
            params = self.space.params(trial.settings)
            # what lies outside the space, as trial 0 may, cannot be told
            if params is not None and trial.state != "failed":
                study.add_trial(
                    create_trial(
                        params={name: params[name] for name in names},
                        distributions=distributions,
                        value=trial.macro_f1,
                        state=TrialState.COMPLETE if trial.state == "complete" else TrialState.RUNNING,
                    )
                )
        return self.space.settings(study.ask(distributions).params, fixed)

    def _sampler(self, name: str, seed: int) -> BaseSampler:
        # samplers take 32 bits
        seed %= 2**32
        if name == "random":
            return RandomSampler(seed=seed)
        return TPESampler(seed=seed, n_startup_trials=self.sampler.startup_trials)
