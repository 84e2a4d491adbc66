"""A worker that meets an error says why its pre-train failed, and goes on or begins again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import ray
import ray.train
import ray.train.torch
import torch

from aar_ray.config import Settings, dotted
from aar_ray.corpus.files import Resident
from aar_ray.training import worker
from aar_ray.training.checkpoint import CHECKPOINT, Progress
from aar_ray.training.pretrain import Diverged


@ray.remote(num_cpus=0)
class Service:
    """Hands out the same pre-train a few times and keeps what it is told of each."""

    def __init__(self, jobs: int) -> None:
        self.jobs, self.told = jobs, []  # type: ignore[var-annotated]

    def take(self, group: str, placed: Any) -> dict[str, Any] | None:
        self.jobs -= 1
        return {"key": "k", "settings": dotted(Settings()), "seed": 7, "resume": None} if self.jobs >= 0 else None

    def advanced(self, group: str, job: dict[str, Any], progress: Progress, files: dict[str, bytes]) -> bool:
        assert worker.Checkpoint.from_bytes(files[CHECKPOINT]).progress == progress
        self.told.append((f"epoch {progress.epoch}", False))
        return progress.epoch < 2

    def failed(self, group: str, job: dict[str, Any], reason: str, *, again: bool) -> None:
        self.told.append((reason, again))

    def keeps(self, text: str) -> None:
        """Where the windows are."""

    def tell(self) -> list[tuple[str, bool]]:
        return self.told


class Alone:
    """The context of the only worker of a group, or of the first of several."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def get_world_rank(self) -> int:
        return 0

    def get_local_world_size(self) -> int:
        return self.workers

    def get_world_size(self) -> int:
        return self.workers


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Exception]]:
    """What the pre-trains of a worker in this process will raise, one after another."""
    to_come: list[Exception] = []

    def pretrain(*_: Any, **__: Any) -> None:
        raise to_come.pop(0)

    windows = Resident(np.zeros((4, 3, 50), dtype=np.float32), [], [])
    monkeypatch.setattr(worker, "pretrain", pretrain)
    monkeypatch.setattr(worker, "_pulled", lambda *_: windows)
    monkeypatch.setattr(worker, "scale_of", lambda *_: None)
    monkeypatch.setattr(ray.train, "get_context", Alone)
    monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
    yield to_come
    assert to_come == []


def config(service: Any) -> dict[str, Any]:
    corpus = {"folder": "", "windows": 4, "bytes": 2400, "summary": {}}
    return {"service": service, "group": "g", **corpus, "probe": None, "threads": 1}


def test_whatever_a_pre_train_raises_is_told_and_the_next_one_is_taken(
    ray_cluster: Any, errors: list[Exception]
) -> None:
    service = Service.remote(4)
    errors += [Diverged("the loss was not finite"), KeyError("h_T"), MemoryError(), OSError(5, "Input/output error")]
    worker.serve_pretraining(config(service))
    assert ray.get(service.tell.remote()) == [
        ("the loss was not finite", False),
        ("KeyError: 'h_T'", False),
        ("MemoryError: no message", False),
        ("OSError: [Errno 5] Input/output error", False),
    ]


@pytest.mark.parametrize(
    ("error", "workers"),
    [(ray.exceptions.RayActorError(), 1), (RuntimeError("out of memory\nat 0x1"), 2)],
    ids=["the service died", "one of two workers"],
)
def test_where_a_group_has_to_begin_again_its_cause_is_told_all_the_same(
    ray_cluster: Any, errors: list[Exception], monkeypatch: pytest.MonkeyPatch, error: Exception, workers: int
) -> None:
    service = Service.remote(1)
    errors.append(error)
    monkeypatch.setattr(ray.train, "get_context", lambda: Alone(workers))
    monkeypatch.setattr(worker.dist, "broadcast_object_list", lambda *_, **__: None)
    with pytest.raises(type(error)):
        worker.serve_pretraining(config(service))
    ((reason, again),) = ray.get(service.tell.remote())
    assert reason == f"{type(error).__name__}: {str(error).splitlines()[0]}"
    assert again


def test_a_pre_train_that_nobody_wants_any_more_is_left_after_its_epoch(
    ray_cluster: Any, errors: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretrain(*_: Any, on_epoch: Any, **__: Any) -> None:
        for epoch in range(1, 9):
            on_epoch(worker.Checkpoint(epoch=epoch, model={}, optimiser={}))

    service = Service.remote(2)
    monkeypatch.setattr(worker, "pretrain", pretrain)
    worker.serve_pretraining(config(service))
    assert [said for said, _ in ray.get(service.tell.remote())] == ["epoch 1", "epoch 2"] * 2
