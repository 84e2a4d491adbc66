"""Worker groups: one that dies is replaced and its pre-train goes on; where none stays up the study is given up."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import ray
import safetensors.torch
import torch

from aar_ray.config import Settings, dotted
from aar_ray.corpus.reading import Corpus
from aar_ray.search import groups
from aar_ray.search.artifacts import PretrainStage
from aar_ray.search.groups import REPLACEMENTS, Groups
from aar_ray.search.placement import Placement
from aar_ray.search.stages import Stages
from aar_ray.training.checkpoint import Checkpoint

PLACEMENT = Placement(
    groups=1, workers=1, worker_cpus=1, worker_gpus=0, fold_cpus=1, fold_gpus=0, trial_slots=1, fold_tasks=1
)
WANTED = {**dotted(Settings()), "pretrain.epochs": 4}


@ray.remote(num_cpus=0, max_retries=0)
def group_that_dies(name: str, stages: Any, epochs: int) -> None:
    """A group without Ray Train: after so many epochs its process is killed; else it works until it may go home."""
    while (job := ray.get(stages.take.remote(name))) is not None:
        done = Checkpoint.from_bytes(job["resume"]).epoch if job["resume"] else 0
        for epoch in range(done + 1, job["settings"]["pretrain.epochs"] + 1):
            if epochs == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            epochs -= 1
            # the weight says from where this group went on
            weights = {"time_encoder.w": torch.tensor(10.0 * done + epoch)}
            now = Checkpoint(epoch=epoch, model=weights, optimiser={}, history=[{"seconds": 1.0}] * epoch)
            ray.get(stages.advanced.remote(name, job, now.progress, now.files()))


@ray.remote(num_cpus=0, max_retries=0)
def comes_up_too_late() -> None:
    # an interrupt is seen between two waits, as it is by what waits for Ray
    never = threading.Event()
    while not never.wait(0.1):
        pass


@dataclass(frozen=True)
class DyingGroups(Groups):
    """The first group dies after one number of epochs, the second after the next, and so on."""

    epochs: Iterator[int] = field(default_factory=lambda: iter(()))

    def _start(self, dataset: Any) -> tuple[Any, str]:
        name = f"group-{uuid.uuid4().hex}"
        return group_that_dies.remote(name, self.stages, next(self.epochs)), name


@pytest.fixture
def stages(ray_cluster: Any, tmp_path: Path) -> Any:
    return (
        ray_cluster.remote(Stages).options(num_cpus=0).remote(str(tmp_path), PretrainStage(corpus="c" * 20, workers=1))
    )


def dying(stages: Any, monkeypatch: pytest.MonkeyPatch, *epochs: int) -> DyingGroups:
    monkeypatch.setattr(groups, "read_corpus", lambda corpus: None)
    corpus = Corpus(key="c" * 20, folder=Path(), windows=0, seconds=0.0, cached=True, summary={})
    return DyingGroups(PLACEMENT, corpus, None, stages, "", epochs=iter(epochs))


def test_a_group_that_dies_is_replaced_and_its_pre_train_goes_on(stages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ray.get(stages.request.remote(WANTED, 7))
    served = dying(stages, monkeypatch, 2, 1, 9)
    assert served.serve(lambda: False, lambda: True) == 3
    news = ray.get(stages.news.remote(key, 0))
    # no epoch was done twice, and the last group went on after the third
    assert (news["state"], len(news["records"])) == ("done", 4)
    weights = safetensors.torch.load(ray.get(stages.encoder.remote(key)))
    assert float(weights["w"]) == 10 * 3 + 4


def test_where_no_group_stays_up_the_study_is_given_up_and_no_trial(
    stages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ray.get(stages.request.remote(WANTED, 7))
    # an epoch by the first one breaks the row
    served = dying(stages, monkeypatch, 1, 0, 0, 0)
    assert served.serve(lambda: False, lambda: False) == 1 + REPLACEMENTS
    news = ray.get(stages.news.remote(key, 1))
    assert news["state"] == "given up"
    assert news["reason"].startswith(f"{REPLACEMENTS} worker groups in a row ended without an epoch: WorkerCrashed")


def test_where_the_groups_cannot_be_started_nobody_waits_for_ever(stages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(_: Corpus) -> None:
        raise OSError("Input/output error: corpus.parquet")

    key = ray.get(stages.request.remote(WANTED, 7))
    served = dying(stages, monkeypatch)
    monkeypatch.setattr(groups, "read_corpus", unreadable)
    with pytest.raises(OSError, match="Input/output error"):
        served.serve(lambda: False, lambda: False)
    served.watch(lambda _: None, lambda: False)
    news = ray.get(stages.news.remote(key, 0))
    assert news["state"] == "given up"
    assert news["reason"].endswith("could not be kept up: OSError: Input/output error: corpus.parquet")


def test_a_worker_that_has_the_files_gets_no_copy_of_the_corpus_through_ray(
    stages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    start = DyingGroups._start

    def told(self: DyingGroups, dataset: Any) -> tuple[Any, str]:
        given.append(dataset)
        return start(self, dataset)

    served = dying(stages, monkeypatch, 9, 9, 9)
    monkeypatch.setattr(DyingGroups, "_start", told)
    monkeypatch.setattr(groups, "read_corpus", lambda corpus: "the corpus")
    alone = replace(PLACEMENT, one_node=True)
    for placement in (alone, PLACEMENT, replace(alone, workers=2)):
        # the service has no work and says so
        ray.get(stages.drain.remote())
        replace(served, placement=placement).serve(lambda: False, lambda: False)
    assert given == [None, "the corpus", "the corpus"]


def test_a_group_that_is_not_needed_is_not_waited_for(stages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    served = dying(stages, monkeypatch)
    begun: list[Any] = []

    def never_up(self: DyingGroups, dataset: Any) -> tuple[Any, str]:
        begun.append(comes_up_too_late.remote())
        return begun[-1], "late"

    monkeypatch.setattr(DyingGroups, "_start", never_up)
    looks = itertools.count()
    assert served.serve(lambda: next(looks) > 5, lambda: True) == 1
    # by itself, and not because the study left off, which ends what would wait for ever
    assert next(looks) == 1
    with pytest.raises(ray.exceptions.RayError):
        ray.get(begun[0])


@ray.remote(num_cpus=0)
class Forgetful:
    """A service that is killed while a group is at work, and is asked whether there is need of it before anything."""

    def __init__(self) -> None:
        self.answers = iter([True, False])
        self.asked = threading.Event()

    def drain(self) -> bool:
        answer = next(self.answers, None)
        if answer is None:
            self.asked.set()
        return answer is not False

    def asked_often(self) -> None:
        self.asked.wait()


@ray.remote(num_cpus=0, max_retries=0)
def at_work_meanwhile(service: Any) -> str:
    ray.get(service.asked_often.remote())
    return "through"


def test_a_group_at_work_is_kept_where_a_new_service_knows_nothing_of_it(
    ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Forgetful.options(max_concurrency=2).remote()
    served = dying(service, monkeypatch)
    begun: list[Any] = []

    def started(self: DyingGroups, dataset: Any) -> tuple[Any, str]:
        begun.append(at_work_meanwhile.remote(service))
        return begun[-1], "at work"

    monkeypatch.setattr(DyingGroups, "_start", started)
    assert served.serve(lambda: False, lambda: True) == 1
    assert ray.get(begun[0]) == "through"


def test_groups_go_home_where_the_study_leaves_off(stages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    served = dying(stages, monkeypatch, 9)
    begun: list[Any] = []
    start = DyingGroups._start

    def remembered(self: DyingGroups, dataset: Any) -> tuple[Any, str]:
        begun.append(start(self, dataset))
        return begun[-1]  # type: ignore[no-any-return]

    monkeypatch.setattr(DyingGroups, "_start", remembered)
    # it waits for work until it is told
    assert served.serve(lambda: bool(ray.get(stages.staffed.remote()) is None), lambda: False) == 1
    ended, _ = ray.wait([begun[0][0]], timeout=0)
    assert ended
