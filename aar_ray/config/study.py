"""The whole study file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from aar_ray.config.data import Data, Protocol, Source
from aar_ray.config.distributions import Distribution, accepted_values, as_value, nearest
from aar_ray.config.part import Names, Part
from aar_ray.config.settings import Settings, dotted, settings_from


class Sampler(Part):
    """How settings are proposed."""

    name: Literal["stage_aware", "tpe", "random", "grid", "qmc", "cma-es", "gp"] = "stage_aware"
    """This project's own, which weighs encoders, fine-tune settings and folds by their seconds; Optuna's multivariate
    TPE; uniform draws; all points of a grid, in an order drawn by chance; a scrambled Sobol sequence; covariance matrix
    adaptation; Optuna's Gaussian process with expected improvement."""
    first_folds: int = Field(default=1, ge=1)
    """Of stage_aware: folds that every setting gets; more only while its mean over all may come out best."""
    first_epochs: int | None = Field(default=None, ge=1)
    """Of stage_aware: epochs after which a new encoder goes on only where its linear probe is in the better half."""
    objectives: Annotated[tuple[Literal["macro_f1", "seconds"], ...], Strict(False)] = ("macro_f1",)
    """What the sampler pursues. `seconds` is the cost of a trial's encoder and folds, also where they were there
    already. The ranking stays by macro-F1."""
    startup_trials: int = Field(default=8, ge=1)
    """Random trials before the model of stage_aware, tpe or gp takes over."""
    grid_points: int = Field(default=3, ge=2)
    """Of grid: values of a range that has more, its ends and evenly between them. A choice has all of its values."""
    trials_per_encoder: int = Field(default=3, ge=1)
    """Fine-tune settings tried on each pre-trained encoder: with continuous λ and δ no two proposals share one."""

    @model_validator(mode="after")
    def _objectives_suit(self) -> Sampler:
        if "macro_f1" not in self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ValueError(
                f"objectives must hold macro_f1, and each once, got {', '.join(self.objectives) or 'none'}"
            )
        if self.name in ("cma-es", "stage_aware") and len(self.objectives) > 1:
            raise ValueError(f"objectives must be macro_f1 alone under name: {self.name}; tpe and gp pursue several")
        for name in ("first_folds", "first_epochs"):
            if self.name != "stage_aware" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} goes with name: stage_aware, got name: {self.name}")
        if self.name != "grid" and self.grid_points != type(self).model_fields["grid_points"].default:
            raise ValueError(f"grid_points goes with name: grid, got name: {self.name}")
        return self


class Budget(Part):
    """When a study ends."""

    trials: int | None = Field(default=None, ge=1)
    """Settings to try. A search needs one of the three; arms say themselves how many trials they are."""
    hours: float | None = Field(default=None, gt=0)
    """No trial is begun when all starts of the study together have taken so long."""
    accelerator_hours: float | None = Field(default=None, gt=0)
    """No trial is begun when accelerators have worked so long for the study; one that is shared counts by its share."""
    patience: int | None = Field(default=None, ge=3)
    """Of a search: it ends earlier where so many more trials like the last ones are not expected to raise the best
    macro-F1 by `least_gain`. It never does if not given."""
    least_gain: float = Field(default=0.005, gt=0, lt=1)
    """In macro-F1: what so many trials must promise."""

    @model_validator(mode="after")
    def _gain_has_a_patience(self) -> Budget:
        if self.patience is None and self.least_gain != type(self).model_fields["least_gain"].default:
            raise ValueError(
                f"least_gain goes with patience, the number of trials that must promise it, got {self.least_gain}"
            )
        return self


class Confirm(Part):
    """After a search: the best of many noisy trials is over-stated, so the best few run again before one is named."""

    best: int = Field(default=3, ge=0)
    """Settings that run again, by macro-F1; 0 leaves the confirmation out."""
    seeds: int = Field(default=2, ge=1)
    """Fresh seeds for each of them."""


class PretrainResources(Part):
    """What one Ray Train worker group takes."""

    groups: int | None = Field(default=None, ge=1)
    """Worker groups at once; as many as the cluster holds where none is given."""
    workers: int = Field(default=1, ge=1)
    """Workers of a group."""
    cpus_per_worker: int = Field(default=1, ge=1)
    gpus_per_worker: float | None = Field(default=None, ge=0)
    """1 where the cluster has GPUs and 0 where it has none, if not given."""


class FinetuneResources(Part):
    """What one fine-tuning task takes."""

    cpus: int = Field(default=1, ge=1)
    gpus: float | None = Field(default=None, ge=0)
    """A quarter where the cluster has GPUs and 0 where it has none, if not given."""


class Resources(Part):
    """Bundles that are asked of Ray."""

    cpus: int | None = Field(default=None, ge=2)
    """Processors of this machine to use where no `--address` is given; all of them if not given."""
    trial_slots: int = Field(default=4, ge=1)
    """Trials at once; a trial holds a slot and no processor."""
    store_gigabytes: float | None = Field(default=None, gt=0)
    """Disk space of the store, in 10^9 bytes: what no study's ranking needs is removed to keep to it. No limit if not
    given."""
    pretrain: PretrainResources = PretrainResources()
    finetune: FinetuneResources = FinetuneResources()


class Study(Part):
    """A study file."""

    name: str = Field(pattern=r"^\w[\w.-]*$")
    """Names the folder under `results/`."""
    seed: int = Field(default=0, ge=0)
    """Of every random stream."""
    data: Data
    protocol: Protocol = Protocol()
    fixed: dict[str, Any] = {}
    """Settings by dotted name."""
    search: dict[str, Distribution] = {}
    """Distributions by dotted name."""
    arms: dict[str, dict[str, Any]] = {}
    """Instead of a search: settings by dotted name for each arm that is compared; the first one is the reference."""
    seeds: int = Field(default=1, ge=1)
    """Times that each arm is run, each time with another seed."""
    require: Names = ()
    """Constraints `smaller <= larger` between two searched settings."""
    enqueue: Annotated[tuple[dict[str, Any], ...], Strict(False)] = ()
    """Settings that are known to be good, each by dotted name: they run after trial 0, in this order. What an entry
    leaves out is as in trial 0."""
    warm_start: Names = ()
    """Earlier studies, by name or by the folder of their results: tpe, gp and cma-es are told their complete trials, as
    far as this study could have proposed them; stage_aware runs the best few of these after trial 0."""
    sampler: Sampler = Sampler()
    budget: Budget = Budget()
    confirm: Confirm = Confirm()
    resources: Resources = Resources()
    store: str = Field(default="results/.store", min_length=1)
    """Folder of the stage artifacts, shared by all studies that name it."""

    @property
    def simulated(self) -> bool:
        """Whether any recording is simulated: everything made from it is then marked SIMULATED."""
        return any(source.reader == "simulated" for source in self.sources())

    def sources(self) -> Iterator[Source]:
        """All sources, the labelled one last."""
        yield from self.data.unlabelled
        yield self.data.labelled

    @property
    def varied(self) -> tuple[str, ...]:
        """Settings that differ between trials, in the order of the file."""
        return tuple(self.search) or tuple(dict.fromkeys(name for arm in self.arms.values() for name in arm))

    @property
    def planned_trials(self) -> int | None:
        """Trials of the whole study: each arm with each seed, or those of the search and of its confirmation.

        None where only time ends the search.
        """
        if self.arms:
            return len(self.arms) * self.seeds
        if self.budget.trials is None:
            return None
        return self.budget.trials + min(self.confirm.best, self.budget.trials) * self.confirm.seeds

    def reference(self) -> Settings:
        """Trial 0: the first arm, or the paper's setting, that is every default, with what the file fixes.

        A searched setting whose default its distribution leaves out starts at the nearest value, so that trial 0 is
        always a point of the search.
        """
        if self.arms:
            return self.arm(next(iter(self.arms)))
        return settings_from({**self.fixed, **self.completed({})})

    def completed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values of all searched settings where only some are given: the others are as in trial 0.

        A given value stays also where the setting's condition does not hold.
        """
        conditions = self.conditions

        def value(name: str) -> Any:
            if name in given:
                return given[name]
            default = self.default(name)
            if name not in self.search:
                return self.fixed.get(name, default)
            decided = conditions.get(name, {}).items()
            holds = all(as_value(value(other)) in accepted for other, accepted in decided)
            return nearest(self.search[name], default) if holds else default

        return {name: value(name) for name in self.search}

    def default(self, name: str) -> Any:
        """What a setting is where nothing else is said, also while its condition does not hold."""
        return dotted(Settings())[name]

    @property
    def conditions(self) -> dict[str, dict[str, tuple[Any, ...]]]:
        """For each setting with a condition, the settings that decide and their values under which it varies."""
        return {
            name: {other: accepted_values(other, given) for other, given in part.when.items()}
            for name, part in self.search.items()
            if part.when
        }

    def arm(self, name: str) -> Settings:
        """Settings of an arm: what it names, what the file fixes, and every default."""
        return settings_from({**self.fixed, **self.arms[name]})

    @model_validator(mode="after")
    def _search_or_arms(self) -> Study:
        defaults = type(self).model_fields
        changed = {name for name in defaults if getattr(self, name) != defaults[name].default}
        if not self.search and not self.arms:
            raise _misplaced(("search",), "must be given, or arms to compare")
        budget = self.budget
        if self.search and budget.trials is budget.hours is budget.accelerator_hours is None:
            raise _misplaced(("budget", "trials"), "must be given for a search, or hours or accelerator_hours")
        if self.search:
            for name in sorted(changed & {"arms", "seeds"}):
                raise _misplaced((name,), "goes with arms, and this study searches; leave one of the two out")
        else:
            for name in sorted(changed & {"require", "enqueue", "warm_start", "sampler", "confirm"}):
                raise _misplaced((name,), "goes with a search, and this study compares arms; leave it out")
            for name in ("trials", "patience"):
                if getattr(self.budget, name) is not None:
                    raise _misplaced(("budget", name), "is for a search; arms run once for each of the `seeds`")
            if len(self.arms) < 2:
                raise _misplaced(("arms",), f"must name 2 arms or more, got {len(self.arms)}")
        return self


def _misplaced(steps: tuple[str, ...], rule: str) -> PydanticCustomError:
    """An error of the whole study that belongs to one place of its file."""
    return PydanticCustomError("study", "{rule}", {"rule": rule, "steps": steps})
