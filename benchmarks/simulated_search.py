"""Searches over tables of known scores, on a simulated clock: this project's own, and the peers', by their own code.

A table holds every setting's score on every fold and what it costs, so a search takes milliseconds. Workers take jobs,
a job is a setting and some more of its folds, and what a search may know is what has ended on the clock.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal, Protocol

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.tune.search.optuna import OptunaSearch

from aar_ray.config import Choice, Integer, Settings, Study
from aar_ray.search.space import Space
from aar_ray.search.stage_aware import Promote, Seen, StageAware

WORKERS = 4
STARTUP = 8
"""Random trials before a model takes over; the same for every search that has one."""
ETA = 3
"""Reduction factor of every search that halves."""

Setting = tuple[int, ...]


@dataclass(frozen=True)
class Table:
    """Scores of every setting of a grid, the higher the better."""

    name: str
    categorical: tuple[bool, ...]
    """Of each parameter; the others are ordered."""
    scores: NDArray[np.float64]
    """[values of each parameter ..., folds]."""
    pretrain: int = 0
    """How many of the first parameters are the encoder's; a new combination of them costs its pre-training."""
    encoder_seconds: float | NDArray[np.float64] = 0.0
    """[values of each of those parameters ...], or the same for all."""
    fold_seconds: float | NDArray[np.float64] = 1.0
    """[values of each parameter ...], or the same for all."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Values of each parameter."""
        return self.scores.shape[:-1]

    @property
    def folds(self) -> int:
        """Folds of each setting."""
        return self.scores.shape[-1]

    def fold_cost(self, setting: Setting) -> float:
        """Seconds of fine-tuning a setting on one fold."""
        return float(np.broadcast_to(self.fold_seconds, self.sizes)[setting])

    def encoder_cost(self, setting: Setting) -> float:
        """Seconds of pre-training a setting's encoder; 0 where the table has one stage."""
        if not self.pretrain:
            return 0.0
        return float(np.broadcast_to(self.encoder_seconds, self.sizes[: self.pretrain])[setting[: self.pretrain]])

    def mean_cost(self) -> float:
        """Seconds of a trial that pre-trains and is fine-tuned on all folds, mean over all settings."""
        encoder = np.mean(self.encoder_seconds) if self.pretrain else 0.0
        return float(encoder + self.folds * np.mean(self.fold_seconds))

    def regret(self, setting: Setting) -> float:
        """0 for the best setting of the table, 1 for its median one."""
        means = self.scores.mean(axis=-1)
        return float((means.max() - means[setting]) / (means.max() - np.median(means)))


@dataclass
class Job:
    """Some more folds of a setting."""

    setting: Setting
    folds: int


class Search(Protocol):
    """What a search does on the clock."""

    def next(self) -> Job | None:
        """The next job for a worker that is free."""

    def told(self, setting: Setting, scores: Sequence[float]) -> None:
        """All scores of a setting so far."""


def simulate(table: Table, search: Search, budget: float, *, reuse: bool = True) -> Iterator[tuple[float, Setting]]:
    """The setting that a search would name after each job, with the seconds of all workers until then.

    Every search names the best mean among the settings that have the most folds.

    Args:
        table: what is searched.
        search: asked for a job whenever a worker is free.
        budget: seconds of work of all workers together.
        reuse: whether an encoder is pre-trained once and waited for by whoever needs it too, or by every setting anew.
    """
    ended: dict[Setting, list[float]] = {}
    ready: dict[Setting, float] = {}
    running: list[tuple[float, int, Job]] = []
    clock, spent, number = 0.0, 0.0, itertools.count()
    while True:
        while len(running) < WORKERS and spent < budget and (job := search.next()) is not None:
            encoder = job.setting[: table.pretrain] if reuse else job.setting
            seconds = job.folds * table.fold_cost(job.setting)
            if encoder not in ready:
                ready[encoder] = clock + table.encoder_cost(job.setting)
                spent += table.encoder_cost(job.setting)
            spent += seconds
            heapq.heappush(running, (max(clock, ready[encoder]) + seconds, next(number), job))
        if not running:
            return
        clock, _, job = heapq.heappop(running)
        scores = ended.setdefault(job.setting, [])
        scores += table.scores[job.setting][len(scores) : len(scores) + job.folds].tolist()
        search.told(job.setting, scores)
        most = max(map(len, ended.values()))
        yield clock * WORKERS, max((s for s in ended if len(ended[s]) == most), key=lambda s: np.mean(ended[s]))


def regrets(table: Table, search: Search, budget: float, shares: Sequence[float], *, reuse: bool = True) -> list[float]:
    """Regret of what is named at shares of the budget; before anything has ended, that of a median setting."""
    named = list(simulate(table, search, budget, reuse=reuse))
    found = []
    for share in shares:
        until = [setting for seconds, setting in named if seconds <= share * budget + 1e-9]
        found.append(table.regret(until[-1]) if until else 1.0)
    return found


# --- this project ------------------------------------------------------------------------------------------------


class _Grid(Study):
    """A study whose settings are the coordinates of a table."""

    def reference(self) -> Settings:
        return Settings()

    def default(self, name: str) -> Any:
        return 0


def space_of(table: Table) -> Space:
    """The table's grid as the space of a study."""
    search = {
        f"{'patchtst' if number < table.pretrain else 'finetune'}.x{number}": Choice(choice=tuple(range(size)))
        if categorical
        else Integer(integer=(0, size - 1))
        for number, (size, categorical) in enumerate(zip(table.sizes, table.categorical, strict=True))
    }
    return Space(_Grid.model_construct(search=search, fixed={}, require=()))


class Own:
    """`aar_ray.search.stage_aware`, the code that runs in a study."""

    def __init__(self, table: Table, seed: int, first_folds: int = 1, trials_per_encoder: int = 3) -> None:
        self.space, self.table = space_of(table), table
        self.decide = StageAware(
            self.space,
            folds=table.folds,
            first_folds=first_folds,
            startup_trials=STARTUP,
            trials_per_encoder=trials_per_encoder,
            seed=seed,
        )
        self.trials: list[Setting] = []
        self.scores: list[list[float]] = []
        self.running: set[int] = set()

    def next(self) -> Job | None:
        seen = [self._seen(number) for number in range(len(self.trials))]
        # as a study knows it: from its first trial
        first = self.trials[0] if self.trials else (0,) * len(self.table.sizes)
        action = self.decide.next(seen, self.table.encoder_cost(first) / self.table.fold_cost(first))
        if action is None:
            return None
        if isinstance(action, Promote):
            self.running.add(action.trial)
            return Job(self.trials[action.trial], action.folds - len(self.scores[action.trial]))
        self.running.add(len(self.trials))
        self.trials.append(tuple(action.settings.values()))
        self.scores.append([])
        return Job(self.trials[-1], action.folds)

    def _seen(self, number: int) -> Seen:
        scores = self.scores[number]
        settings = dict(zip(self.space.distributions, self.trials[number], strict=True))
        whole: Literal["complete", "open"] = "complete" if len(scores) == self.table.folds else "open"
        return Seen(settings, dict(enumerate(scores)), "running" if number in self.running else whole)

    def told(self, setting: Setting, scores: Sequence[float]) -> None:
        number = self.trials.index(setting)
        self.running.discard(number)
        self.scores[number] = list(scores)


# --- peers -------------------------------------------------------------------------------------------------------


def _distributions(table: Table) -> dict[str, BaseDistribution]:
    return {
        f"x{number}": CategoricalDistribution(range(size)) if categorical else IntDistribution(0, size - 1)
        for number, (size, categorical) in enumerate(zip(table.sizes, table.categorical, strict=True))
    }


class OptunaTPE:
    """Plain Optuna: every trial gets all folds."""

    def __init__(self, table: Table, seed: int) -> None:
        self.folds, self.distributions = table.folds, _distributions(table)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self.trials: dict[Setting, optuna.Trial] = {}
        self.known: dict[Setting, float] = {}

    def next(self) -> Job | None:
        for _ in range(100):
            trial = self.study.ask(self.distributions)
            setting = tuple(trial.params.values())
            if setting not in self.trials:
                self.trials[setting] = trial
                return Job(setting, self.folds)
            # a setting that was tried is answered and not paid for again
            if setting in self.known:
                self.study.tell(trial, self.known[setting])
            else:
                self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return None

    def told(self, setting: Setting, scores: Sequence[float]) -> None:
        self.known[setting] = float(np.mean(scores))
        self.study.tell(self.trials[setting], self.known[setting])


@dataclass
class _Asha:
    """A stopping rule of another library around its own suggestions: fold by fold, until it says stop."""

    table: Table
    going_on: list[Setting] = field(default_factory=list)
    identities: dict[Setting, Any] = field(default_factory=dict)

    def next(self) -> Job | None:
        if self.going_on:
            return Job(self.going_on.pop(0), 1)
        for _ in range(100):
            identity, setting = self.suggested()
            if setting not in self.identities:
                self.identities[setting] = identity
                return Job(setting, 1)
            self.again(identity)
        return None

    def told(self, setting: Setting, scores: Sequence[float]) -> None:
        result = {"score": float(np.mean(scores)), "training_iteration": len(scores)}
        if self.goes_on(self.identities[setting], result) and len(scores) < self.table.folds:
            self.going_on.append(setting)
        else:
            self.over(self.identities[setting], result)

    def suggested(self) -> tuple[Any, Setting]:
        raise NotImplementedError

    def again(self, identity: Any) -> None:
        """A suggestion that was tried before."""

    def goes_on(self, identity: Any, result: Mapping[str, Any]) -> bool:
        raise NotImplementedError

    def over(self, identity: Any, result: Mapping[str, Any]) -> None:
        """The trial is at its end."""


class RayASHA(_Asha):
    """Ray Tune's ASHA; settings by its OptunaSearch, as Tune tells it, or by chance."""

    def __init__(self, table: Table, seed: int, *, optuna_search: bool) -> None:
        super().__init__(table)
        self.scheduler = AsyncHyperBandScheduler(
            metric="score", mode="max", max_t=table.folds, grace_period=1, reduction_factor=ETA
        )
        self.draw, self.number = np.random.default_rng(seed), itertools.count()
        self.searcher: OptunaSearch | None = None
        if optuna_search:
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
            self.searcher = OptunaSearch(_distributions(table), metric="score", mode="max", sampler=sampler)

    def suggested(self) -> tuple[Any, Setting]:
        trial = SimpleNamespace(trial_id=str(next(self.number)))
        self.scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
        if self.searcher is None:
            return trial, tuple(int(self.draw.integers(size)) for size in self.table.sizes)
        config = self.searcher.suggest(trial.trial_id)
        assert isinstance(config, dict)
        return trial, tuple(int(config[f"x{number}"]) for number in range(len(self.table.sizes)))

    def again(self, identity: Any) -> None:
        if self.searcher is not None:
            self.searcher.on_trial_complete(identity.trial_id, error=True)

    def goes_on(self, identity: Any, result: Mapping[str, Any]) -> bool:
        if self.searcher is not None:
            self.searcher.on_trial_result(identity.trial_id, dict(result))
        return self.scheduler.on_trial_result(None, identity, dict(result)) == "CONTINUE"  # type: ignore[arg-type]

    def over(self, identity: Any, result: Mapping[str, Any]) -> None:
        if self.searcher is not None:
            self.searcher.on_trial_complete(identity.trial_id, dict(result))


class SyneTuneASHA(_Asha):
    """Syne Tune's ASHA, which draws by chance."""

    def __init__(self, table: Table, seed: int) -> None:
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        from syne_tune import config_space
        from syne_tune.optimizer.baselines import ASHA

        super().__init__(table)
        space = {
            f"x{number}": config_space.choice(list(range(size))) if categorical else config_space.randint(0, size - 1)
            for number, (size, categorical) in enumerate(zip(table.sizes, table.categorical, strict=True))
        }
        self.scheduler = ASHA(
            space,
            metric="score",
            time_attr="training_iteration",
            max_t=table.folds,
            do_minimize=False,
            random_seed=seed,
            reduction_factor=ETA,
        )
        self.number = itertools.count()

    def suggested(self) -> tuple[Any, Setting]:
        suggestion = self.scheduler.suggest()
        trial = SimpleNamespace(trial_id=next(self.number), config=suggestion.config)
        self.scheduler.on_trial_add(trial)
        return trial, tuple(int(suggestion.config[f"x{number}"]) for number in range(len(self.table.sizes)))

    def goes_on(self, identity: Any, result: Mapping[str, Any]) -> bool:
        return bool(self.scheduler.on_trial_result(identity, dict(result)) == "CONTINUE")

    def over(self, identity: Any, result: Mapping[str, Any]) -> None:
        self.scheduler.on_trial_complete(identity, dict(result))
