"""A Ray cluster to run on: one that is there, or a small one on this machine."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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

import ray  # noqa: E402

from aar_ray.config import Resources  # noqa: E402
from aar_ray.search.placement import Node, Placement, place, processors_of  # noqa: E402

ANSWER_SECONDS = 3.0
"""For the first word of a cluster."""


@contextmanager
def cluster(resources: Resources, address: str | None) -> Iterator[Placement]:
    """Connect to the cluster at `address`, or start one on this machine for as long as the block lasts.

    Raises:
        DoesNotFit: within seconds, when the study's bundles do not fit its nodes.
        ConnectionError: nothing answers at the address.
    """
    begun = not ray.is_initialized()
    if begun:
        _connect(resources, address)
    try:
        yield place(resources, _nodes())
    finally:
        if begun:
            ray.shutdown()


def _connect(resources: Resources, address: str | None) -> None:
    shared: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if address is not None:
            _check_that_it_answers(address)
            ray.init(address=address, **shared)
            return
        processors = processors_of(resources)
        # the node inherits it; at Ray's default, one a processor, a laptop is warned about each start of a few workers
        os.environ.setdefault("RAY_worker_maximum_startup_concurrency", str(max(16, processors)))
        # a process that ran a fold has imported what the next one needs; Ray would end it after an idle second
        os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "60000")
        # asks whether a spot node goes away, in a process of its own; this node does not
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        ray.init(
            address="local",
            # a group keeps its processors while it waits for a pre-train; counted twice, fine-tuning can use them
            num_cpus=processors + resources.pretrain.workers * resources.pretrain.cpus_per_worker,
            resources={"trial_slot": resources.trial_slots},
            include_dashboard=False,
            **shared,
        )


def _check_that_it_answers(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(
            f"--address must be a running Ray cluster's, got {address} ({error}); leave it out to run on this machine"
        ) from error


def _nodes() -> list[Node]:
    """Resources of the nodes that are there, and of those that the cluster's autoscaler may add."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    config = ray._private.state.state.get_cluster_config()
    possible: list[Node] = []
    for group in config.node_group_configs if config is not None else ():
        possible += [dict(group.resources)] * max(0, group.max_count)
    return alive + possible
