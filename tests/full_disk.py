"""A disk on which a file finds no more room."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import ray
from study_command import command

from aar_ray.config import Study
from aar_ray.search.journal import Event, Journal


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a full disk: a write is cut off at some bytes, and the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def command_without_room_for(kind: str, trial: int, study: Study, folder: Path, address: str) -> tuple[int, str]:
    """`command` on a disk that is full once the journal is to take an event, of the cluster at an address.

    In a process of its own, as a user's: Ray gives back all that a driver held when its process ends, and not before
    where Tune broke off.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_without_room_for, kind, trial, study, folder, address).result()


def _without_room_for(kind: str, trial: int, study: Study, folder: Path, address: str) -> tuple[int, str]:
    append = Journal.append

    def cut_off(self: Journal, event: str, **fields: Any) -> Event:
        if event != kind or fields.get("trial") != trial:
            return append(self, event, **fields)
        with files_of_at_most(os.fstat(self._descriptor).st_size + 20):
            return append(self, event, **fields)

    ray.init(address=address, log_to_driver=False, logging_level="error")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", cut_off)
        ended = command(study, folder)
    ray.shutdown()
    return ended
