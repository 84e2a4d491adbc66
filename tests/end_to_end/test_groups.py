"""Worker groups of Ray Train that do not end by themselves: no processor stays taken while the cluster is up."""

from __future__ import annotations

import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.util.placement_group import placement_group_table
from small_study import small_study

from aar_ray.config import dotted
from aar_ray.search.placement import place
from aar_ray.search.prepared import prepare
from aar_ray.store import Store

PATIENCE = 60.0
"""Seconds after which something will not come any more."""


def eventually(true: Callable[[], Any]) -> None:
    """Wait for something that Ray does in its own time."""
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, "it does not come"
        threading.Event().wait(0.05)


def taken() -> list[str]:
    """Placement groups that hold processors."""
    table = placement_group_table().values()
    return [
        one["placement_group_id"]
        for one in table
        if one["state"] == "CREATED" and any("CPU" in bundle for bundle in one["bundles"].values())
    ]


def controllers() -> set[int]:
    """Processes of Ray Train that watch over a group's workers."""
    ours = psutil.Process().children(recursive=True)
    return {process.pid for process in ours if process.name().startswith("ray::TrainCon")}


@contextmanager
def serving(folder: Path, drained: threading.Event) -> Iterator[tuple[Any, Any]]:
    """A group of a small study at work: its service, and the future of how many groups were started."""
    study = small_study()
    store = Store(folder / "store")
    prepared = prepare(study, place(study.resources, [ray.cluster_resources()]), store)
    over = threading.Event()
    with (
        tempfile.TemporaryDirectory(prefix="aar-") as scratch,
        prepared.service(store) as stages,
        ThreadPoolExecutor(1) as threads,
    ):
        try:
            yield stages, threads.submit(prepared.groups(stages, scratch).serve, over.is_set, drained.is_set)
        finally:
            over.set()


def test_a_group_whose_controller_is_killed_is_replaced_and_leaves_no_processor_taken(
    ray_cluster: Any, tmp_path: Path
) -> None:
    eventually(lambda: not taken())
    before, drained = controllers(), threading.Event()
    with serving(tmp_path, drained) as (stages, served):
        ray.get(stages.staffed.remote())
        first = taken()
        for controller in controllers() - before:
            psutil.Process(controller).kill()
        key = ray.get(stages.request.remote(dotted(small_study().reference()), 7))
        epochs = 0
        for epochs in itertools.count():
            news = ray.get(stages.news.remote(key, epochs))
            if news["state"] not in ("queued", "running"):
                break
        assert news["state"] == "done"
        assert len(first) == len(taken()) == 1
        assert first != taken()
        drained.set()
        assert served.result() == 2
    eventually(lambda: not taken())


def test_a_group_that_is_not_needed_any_more_while_it_comes_up_leaves_no_processor_taken(
    ray_cluster: Any, tmp_path: Path
) -> None:
    eventually(lambda: not taken())
    drained = threading.Event()
    with serving(tmp_path, drained) as (_, served):
        eventually(taken)
        drained.set()
        assert served.result() == 1
    eventually(lambda: not taken())
