"""Ray on this machine, started in a process of its own: it takes seconds, in which the study imports what it needs.

A thread would not do: Ray forks its processes, which is not safe while another thread imports.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from aar_ray.config import Resources
from aar_ray.search.placement import processors_of

# Ray reads these when it is imported
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DATA_USE_DATASOURCE_V2": "0",  # its first batch comes 28 to 43 times later on a small machine
    "RAY_DEDUP_LOGS": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.3",  # at the default of 2 s each report waits a second or two
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # the journal is the truth; Tune's own state is never read
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
}
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)

SILENT: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
"""Arguments of `ray.init`, wherever it is called."""

LAST_LINES = 5
"""Of what a head said that did not come up."""


@dataclass
class Head:
    """Ray's head process, which may still be coming up."""

    process: subprocess.Popen[str]
    held: IO[str]
    """Its input, open for as long as it is wanted."""
    told: IO[str]
    """Its output: the address."""
    said: IO[str]
    """What it writes as errors."""
    up: bool = False
    """Whether it is known to have come up."""

    def address(self) -> str:
        """Wait until Ray is up; returns HOST:PORT.

        Raises:
            ConnectionError: it did not come up, with the last that it said.
        """
        address = self.told.readline().strip()
        if not address:
            self.said.seek(0)
            last = self.said.read().strip().splitlines()[-LAST_LINES:]
            raise ConnectionError("\n".join(["Ray did not come up on this machine:", *last]))
        self.up = True
        return address

    def end(self) -> None:
        """Have Ray end, which takes seconds; it is not waited for."""
        self.held.close()
        if not self.up and self.process.poll() is None:
            # it listens only when it is up; what it has started is in its group, or ends without it
            os.killpg(self.process.pid, signal.SIGKILL)


def too_late() -> bool:
    """Whether this process has imported Ray already, and so starts one itself if it is not connected to one."""
    return "ray" in sys.modules


def local(resources: Resources) -> dict[str, Any]:
    """Arguments of `ray.init` for a small cluster on this machine; sets variables that its processes inherit."""
    processors = processors_of(resources)
    # at Ray's default, one a processor, a laptop is warned about each start of a few workers
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", str(max(16, processors)))
    # a process that ran a fold has imported what the next one needs; Ray would end it after an idle second
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "60000")
    # asks whether a spot node goes away, in a process of its own; this node does not
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    return {
        "address": "local",
        # a group keeps its processors while it waits for a pre-train; counted twice, fine-tuning can use them
        "num_cpus": processors + resources.pretrain.workers * resources.pretrain.cpus_per_worker,
        "resources": {"trial_slot": resources.trial_slots},
        "include_dashboard": False,
        **SILENT,
    }


@contextmanager
def coming_up(resources: Resources) -> Iterator[Head]:
    """Start Ray for a study; it ends with the block, or with this process, however that ends.

    Raises:
        RuntimeError: Ray is imported here already, and has read then that it needs no token.
    """
    if too_late() and "RAY_AUTH_MODE" not in os.environ:
        raise RuntimeError("a head process is started before Ray is imported, and it is already; set RAY_AUTH_MODE")
    # others on this machine and its network may not; Ray itself would keep its token in the home folder
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex())
    script = str(Path(__file__).with_name("head_process.py"))
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            # without the script's folder in its path: our modules are nobody else's
            [sys.executable, "-P", script, json.dumps(local(resources))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            # as a group of its own: Ctrl-C is for the study, which ends its trials first
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        head = Head(process, process.stdin, process.stdout, said)
        try:
            yield head
        finally:
            head.end()
            process.wait()
            head.told.close()
