"""A Ray cluster to run on: one that is there, or a small one on this machine."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from aar_ray.config import Resources
from aar_ray.search.head import SILENT, Head, local  # before Ray, which reads its variables when it is imported
from aar_ray.search.placement import Node, Placement, place

import ray  # isort: skip

ANSWER_SECONDS = 3.0
"""For the first word of a cluster."""


@contextmanager
def cluster(resources: Resources, where: str | Head | None) -> Iterator[Placement]:
    """Connect to a cluster for as long as the block lasts, if this process is not connected yet.

    Args:
        resources: of the study.
        where: address of a cluster, or a head on this machine that is coming up; None has this process start one.

    Raises:
        DoesNotFit: within seconds, when the study's bundles do not fit its nodes.
        ConnectionError: nothing answers at the address, or no head comes up.
    """
    with ExitStack() as begun:
        if not ray.is_initialized():
            _connect(resources, where)
            if isinstance(where, Head):
                begun.callback(where.end)
            begun.callback(ray.shutdown)
        yield place(resources, _nodes())


def _connect(resources: Resources, where: str | Head | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match where:
            case None:
                ray.init(**local(resources))
            case Head():
                ray.init(address=where.address(), **SILENT)
            case _:
                _check_that_it_answers(where)
                ray.init(address=where, **SILENT)


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
