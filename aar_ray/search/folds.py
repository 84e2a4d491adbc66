"""Fine-tuning of folds, some of them in each Ray task, found in the store where it has been done before."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import ray

from aar_ray.config import FINETUNE_SECTIONS, Settings, dotted
from aar_ray.corpus.labelled import LabelledWindows, normalised_for
from aar_ray.corpus.splits import Fold
from aar_ray.method.scores import pooled
from aar_ray.search.placement import Placement
from aar_ray.search.processes import in_environment
from aar_ray.store import stage_key
from aar_ray.training import forest
from aar_ray.training.features import in_context

Stopped = Callable[[], bool]

TASK_FAILURES = 2
"""Times that a task whose process died is started again.

Counted here: Ray would start one that runs out of memory again for ever.
"""

LOOK_UP_SECONDS = 0.5
"""After which those who wait for a task look whether they are still wanted."""


def _finetune_version() -> int:
    from aar_ray.training import finetune

    return finetune.VERSION


@dataclass(frozen=True)
class Folds:
    """The folds of a study and what their tasks need; travels to trials."""

    folds: tuple[Fold, ...]
    labelled: Any
    """Ray reference to the `LabelledWindows`, in g."""
    labelled_key: str
    placement: Placement
    stages: Any
    """Handle of the `Stages` actor."""
    environment: Mapping[str, str] | None = None
    """Variables of the tasks' processes: those of trials where others submit them, so that the same processes serve
    both; None for what whoever submits them has, as trials do."""
    rungs: tuple[int, ...] = ()
    """Numbers of folds on which the trial pauses: folds on both sides of a pause are not trained together."""
    finetune_version: int = field(default_factory=_finetune_version)
    """Of the code, looked up where the study runs."""

    def finetuned(
        self, settings: Settings, encoder_key: str | None, seed: int, stopped: Stopped = lambda: False
    ) -> Iterator[dict[str, Any]]:
        """Fine-tune on every fold; yields `fold_finished` fields as the folds end.

        Args:
            settings: of the trial.
            encoder_key: of the pre-trained encoder; None starts from random weights.
            seed: of the trial.
            stopped: asked now and then whether to leave off.
        """
        read = {name: value for name, value in dotted(settings).items() if name.split(".")[0] in FINETUNE_SECTIONS}
        made_from = {"encoder": encoder_key, "settings": read, **self._made_from(seed)}
        encoder = self.stages.encoder.remote(encoder_key) if encoder_key else None
        # folds that are trained together cost less than one by one: no more tasks than can run at once
        most = self.placement.fold_tasks
        yield from self._each(
            "finetune", self.finetune_version, made_from, stopped, most, _finetune_folds, settings, encoder
        )

    def forest(
        self, seed: int, settings: Settings | None = None, stopped: Stopped = lambda: False
    ) -> Iterator[dict[str, Any]]:
        """The random forest on every fold, on windows with the context that a network of these settings has."""
        context = (settings or Settings()).finetune.context
        # what is not there has no part in a key, so that forests of before there was a choice are found
        given = {name: value for name, value in context.items() if value not in (0, "mean")}
        made_from = {**self._made_from(seed), **given}
        most = len(self.folds)
        yield from self._each("random forest", forest.VERSION, made_from, stopped, most, _forest_folds, context)

    def _made_from(self, seed: int) -> dict[str, Any]:
        return {"labelled": self.labelled_key, "seed": seed}

    def _each(
        self,
        stage: str,
        version: int,
        made_from: dict[str, Any],
        stopped: Stopped,
        most: int,
        task: Any,
        *arguments: Any,
    ) -> Iterator[dict[str, Any]]:
        """The folds that are found, then the others as they end, in at most `most` tasks."""
        seed = made_from["seed"]
        everything = [{**made_from, "fold": asdict(fold)} for fold in self.folds]
        keys = [stage_key(stage, version, one) for one in everything]
        placement = self.placement
        # a trial sits in its own placement group, which has room for nothing else
        needed = {"num_cpus": placement.fold_cpus, "num_gpus": placement.fold_gpus}
        task = task.options(**needed, **in_environment(self.environment), scheduling_strategy="DEFAULT")

        def start(numbers: Sequence[int]) -> Any:
            folds = [self.folds[number] for number in numbers]
            return task.remote(self.labelled, folds, seed, placement, *arguments)

        claimer = uuid.uuid4().hex
        unclaimed = dict(zip(keys, range(len(keys)), strict=True))
        made_here: dict[str, int] = {}
        # by rounding a fold's numbers depend on which others are trained with it: these are always the same ones, also
        # where some of them are found
        ends = sorted({*(rung for rung in self.rungs if rung < len(self.folds)), len(self.folds)})
        bundles = [part for start, end in pairwise([0, *ends]) for part in _shared_out(range(start, end), most)]
        waiting: dict[Any, _Bundle] = {}
        try:
            while (unclaimed or waiting) and not stopped():
                # what another trial or study makes now is waited for; claims on what is made here are renewed
                states = ray.get(self.stages.claim.remote([*unclaimed, *made_here], claimer))
                settled = {key: unclaimed.pop(key) for key in list(unclaimed) if states[key]}
                new = {key: number for key, number in settled.items() if states[key] is True}
                made_here |= new
                for numbers in bundles:
                    if not set(numbers) & set(new.values()):
                        continue
                    waiting[start(numbers)] = _Bundle(numbers)
                for key, number in settled.items():
                    if states[key] is not True:
                        yield _event(self.folds[number], seed, key, states[key], cached=True)
                ended = _first_ended(waiting) if waiting else None
                if ended is None:
                    if unclaimed and not waiting:
                        time.sleep(LOOK_UP_SECONDS)
                    continue
                bundle = waiting.pop(ended)
                try:
                    outcomes = ray.get(ended)
                except ray.exceptions.RayTaskError:
                    raise
                except ray.exceptions.RayError as died:
                    bundle.died(stage, died)
                    waiting[start(bundle.numbers)] = bundle
                    continue
                for number, outcome in _good_ones(bundle.numbers, outcomes):
                    if made_here.pop(keys[number], None) is not None:
                        ray.get(self.stages.keep.remote(keys[number], everything[number], outcome))
                        yield _event(self.folds[number], seed, keys[number], outcome["result"], cached=False)
        finally:
            self.stages.release.remote(keys, claimer)


class TaskDied(Exception):
    """A task's process died again and again."""


@dataclass
class _Bundle:
    """Folds that one task is at."""

    numbers: list[int]
    deaths: int = 0

    def died(self, stage: str, error: ray.exceptions.RayError) -> None:
        """The task's process died.

        Raises:
            TaskDied: more often than it is started again.
        """
        self.deaths += 1
        if self.deaths > TASK_FAILURES:
            cause = str(error).strip().splitlines()
            raise TaskDied(
                f"the process of its {stage} task died {self.deaths} times, as where memory runs out: "
                f"{type(error).__name__}: {cause[0] if cause else 'no message'}"
            ) from error


def _shared_out(numbers: Sequence[int], most: int) -> list[list[int]]:
    """At most so many parts, as equal as can be."""
    parts = min(len(numbers), most)
    return [list(numbers[part::parts]) for part in range(parts)]


def _first_ended(waiting: Mapping[Any, Any]) -> Any | None:
    """One of the tasks that has ended, or None after some time."""
    ended, _ = ray.wait(list(waiting), timeout=LOOK_UP_SECONDS)
    return ended[0] if ended else None


def _good_ones(
    numbers: Sequence[int], outcomes: Sequence[dict[str, Any] | ArithmeticError]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """What a task made of its folds; an error that one of them met is raised when the others are through."""
    for number, outcome in zip(numbers, outcomes, strict=True):
        if not isinstance(outcome, ArithmeticError):
            yield number, outcome
    for outcome in outcomes:
        if isinstance(outcome, ArithmeticError):
            raise outcome


def _event(fold: Fold, seed: int, key: str, result: dict[str, Any], *, cached: bool) -> dict[str, Any]:
    return {
        "fold": fold.name,
        "validation": list(fold.validation),
        "seed": seed,
        "key": key,
        "cached": cached,
        "seconds": result["seconds"],
        "result": result,
    }


def mean_macro_f1(folds: Sequence[dict[str, Any]]) -> float:
    """What trials are ranked by: the mean over folds of the validation macro-F1, in whatever order they ended."""
    return math.fsum(fold["result"]["macro_f1"] for fold in folds) / len(folds)


def pooled_scores(folds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Scores of the validation windows of all folds together, beside the mean of the folds' own."""
    results = [fold["result"] for fold in folds]
    return pooled(results, list(results[0]["per_class"]))


@ray.remote(max_retries=0)
def _finetune_folds(
    labelled: LabelledWindows,
    folds: Sequence[Fold],
    seed: int,
    placement: Placement,
    settings: Settings,
    encoder: bytes | None,
) -> list[dict[str, Any] | ArithmeticError]:
    import safetensors.torch

    from aar_ray.training.finetune import Job, finetune_bundle
    from aar_ray.training.processors import use_processors

    started = time.perf_counter()
    use_processors(max(1, int(placement.fold_cpus)))
    weights = safetensors.torch.load(encoder) if encoder is not None else None
    jobs = [Job(*normalised_for(labelled, fold, settings.normalise.scope), settings, seed, weights) for fold in folds]
    outcomes = finetune_bundle(jobs, device="cuda" if placement.fold_gpus else "cpu")
    seconds = (time.perf_counter() - started) / len(folds)
    return [
        outcome
        if isinstance(outcome, ArithmeticError)
        else {
            "result": {**outcome.result, "seconds": seconds},
            "probabilities": outcome.probabilities,
            "model": safetensors.torch.save(outcome.model),
        }
        for outcome in outcomes
    ]


@ray.remote(max_retries=0)
def _forest_folds(
    labelled: LabelledWindows, folds: Sequence[Fold], seed: int, placement: Placement, context: dict[str, Any]
) -> list[dict[str, Any]]:
    outcomes = []
    for fold in folds:
        started = time.perf_counter()
        train, validation = (in_context(labelled.of(side), **context) for side in (fold.train, fold.validation))
        result = forest.forest_scores(train, validation, seed=seed, jobs=max(1, int(placement.fold_cpus)))
        result["applied"] = {f"finetune.{name}": value for name, value in context.items()}
        outcomes.append({"result": {**result, "seconds": time.perf_counter() - started}})
    return outcomes
