"""A worker's windows while it trains: on its device, or elsewhere and read ahead where they do not fit there.

Both give the same batches, so that an encoder does not depend on how much memory its machine had.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

AHEAD = 4
"""Batches that are read before they are asked for."""

READERS = 2
"""Threads that read them: while one waits for a disk, another one copies."""

WINDOW_EXTRA = 32
"""Bytes a window besides its samples: mean and deviation of its z-score, and its place in an epoch's order."""


class Shard(Protocol):
    """Windows [windows, axes, length] that are trained on."""

    device: torch.device
    """Of the batches."""
    shape: tuple[int, int, int]
    waited: float
    """Seconds that batches were waited for, all together."""

    def batches(self, order: Iterable[Tensor]) -> Iterator[tuple[Tensor, Float[Tensor, "batch axes length"]]]:
        """The numbers of each batch's windows as they are given, and those windows."""
        ...


class Held:
    """Windows on the device."""

    def __init__(self, windows: Float[Tensor, "windows axes length"]) -> None:
        self.windows, self.device = windows, windows.device
        self.shape = _three(windows.shape)
        self.waited = 0.0

    def batches(self, order: Iterable[Tensor]) -> Iterator[tuple[Tensor, Float[Tensor, "batch axes length"]]]:
        for rows in order:
            began = time.perf_counter()
            chosen = self.windows[rows]
            self.waited += time.perf_counter() - began
            yield rows, chosen


class Streamed:
    """Windows in this machine's memory or on its disk; batches come to the device before they are asked for.

    At most `AHEAD` batches are under way beside the one that is worked on.

    Args:
        windows: [windows, axes, length], also mapped from a file.
        device: of the batches.
    """

    def __init__(self, windows: NDArray[np.float32], device: torch.device) -> None:
        self.windows, self.device = windows, device
        self.shape = _three(windows.shape)
        self.waited = 0.0

    def batches(self, order: Iterable[Tensor]) -> Iterator[tuple[Tensor, Float[Tensor, "batch axes length"]]]:
        under_way: deque[tuple[Tensor, Future[Tensor]]] = deque()
        with ThreadPoolExecutor(READERS) as readers:
            for rows in order:
                under_way.append((rows, readers.submit(self._read, rows.cpu().numpy())))
                if len(under_way) > AHEAD:
                    yield self._first(under_way)
            while under_way:
                yield self._first(under_way)

    def _first(self, under_way: deque[tuple[Tensor, Future[Tensor]]]) -> tuple[Tensor, Tensor]:
        rows, reading = under_way.popleft()
        began = time.perf_counter()
        # from pinned memory the copy goes on beside the device's work
        chosen = reading.result().to(self.device, non_blocking=True)
        self.waited += time.perf_counter() - began
        return rows, chosen

    def _read(self, rows: NDArray[np.int64]) -> Tensor:
        chosen = torch.empty((len(rows), *self.shape[1:]), pin_memory=self.device.type == "cuda")
        # `clip`, since numpy would otherwise read into memory of its own first; the rows are all there
        np.take(self.windows, rows, axis=0, out=chosen.numpy(), mode="clip")
        return chosen


class Place(NamedTuple):
    """Where a worker keeps its windows, and why in one line."""

    where: Literal["device", "memory", "disk"]
    reason: str


def place_of(count: int, size: int, *, device: str, device_bytes: int | None, memory_bytes: int) -> Place:
    """The fastest place that has room for windows twice: they are there twice while they come, and steps need room.

    Args:
        count: windows.
        size: their bytes.
        device: its name, which is said.
        device_bytes: free on the device; None where it is the processor.
        memory_bytes: free on this machine, for this worker.
    """
    wanted = 2 * (size + count * WINDOW_EXTRA)
    free = memory_bytes if device_bytes is None else device_bytes
    twice = f"{count:,} windows need 2 x {wanted / 2e9:.3g} GB"
    if wanted <= free:
        return Place("device", f"windows are held on {device}: {twice}, {free / 1e9:.3g} GB are free")
    if device_bytes is not None and wanted <= memory_bytes:
        return Place(
            "memory",
            f"windows are streamed from memory to {device}: {twice}, {free / 1e9:.3g} GB are free there and "
            f"{memory_bytes / 1e9:.3g} GB in memory",
        )
    return Place("disk", f"windows are streamed from disk: {twice}, {memory_bytes / 1e9:.3g} GB are free in memory")


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    windows, axes, length = shape
    return windows, axes, length
