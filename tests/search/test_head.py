"""Ray in a process of its own: it is there while it is wanted, and gone when whoever wanted it is."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from aar_ray.config import Resources
from aar_ray.search import head
from aar_ray.search.head import coming_up

PATIENCE = 60.0
"""Seconds after which something will not come any more."""

KEEPS_IT = """
import sys
from aar_ray.config import Resources
from aar_ray.search.head import coming_up
with coming_up(Resources()) as head:
    print(head.address(), head.process.pid, flush=True)
    sys.stdin.read()
"""


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


def test_it_is_there_for_as_long_as_the_block_lasts() -> None:
    with coming_up(Resources()) as one:
        address = one.address()
        assert answers(address)
        its_own = psutil.Process(one.process.pid).children(recursive=True)
        assert its_own
    assert one.process.returncode == 0
    assert not answers(address)
    assert not psutil.wait_procs(its_own, timeout=PATIENCE)[1]


def test_it_ends_with_a_process_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KEEPS_IT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as keeper:
        assert keeper.stdout is not None
        address, pid = keeper.stdout.readline().split()
        process = psutil.Process(int(pid))
        its_own = [process, *process.children(recursive=True)]
        keeper.kill()
    assert not psutil.wait_procs(its_own, timeout=PATIENCE)[1]
    assert not answers(address)


@pytest.mark.parametrize("until", ["", "gcs_server", "raylet"])
def test_what_is_not_waited_for_leaves_nothing(until: str) -> None:
    with coming_up(Resources()) as one:
        process = psutil.Process(one.process.pid)
        its_own, give_up = process.children(recursive=True), time.monotonic() + PATIENCE
        while until and until not in [child.name() for child in its_own]:
            assert time.monotonic() < give_up
            its_own = process.children(recursive=True)
    assert one.process.returncode == -signal.SIGKILL
    assert not psutil.wait_procs(its_own, timeout=PATIENCE)[1]


def test_why_it_does_not_come_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "local", lambda resources: {"address": "local", "num_cpus": -1})
    with (
        coming_up(Resources()) as one,
        pytest.raises(ConnectionError, match=r"Ray did not come up on this machine:\n(.*\n)*.*negative"),
    ):
        one.address()
