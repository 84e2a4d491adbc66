"""Named random streams: every draw comes from a stream that its purpose names, never from a shared generator.

Most processes of a study draw from NumPy's alone; torch, which takes seconds to import, is imported where it is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream_seed(seed: int, *names: object) -> int:
    """A 63-bit seed that depends on the study's seed and on each name, and on nothing else."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def repeat_seed(seed: int, repeat: int) -> int:
    """Seed of a setting's run number `repeat` under the study's seed; the first run, 0, has the study's own."""
    return seed if repeat == 0 else stream_seed(seed, "repeat", repeat) % 2**31


def stream(seed: int, *names: object) -> np.random.Generator:
    """NumPy generator of the named stream, as in `stream(seed, "simulated", "goats", 3)`."""
    return np.random.default_rng(stream_seed(seed, *names))


def torch_stream(seed: int, *names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """torch generator of the named stream."""
    import torch

    return torch.Generator(device=device).manual_seed(stream_seed(seed, *names))


@contextmanager
def drawing_from(seed: int, *names: object) -> Iterator[None]:
    """Let code that only knows torch's global generator (initial weights, dropout) draw from a named stream.

    The global generator is as it was when the block ends.
    """
    import torch

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(stream_seed(seed, *names))
        yield
