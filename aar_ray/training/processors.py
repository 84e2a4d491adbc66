"""What a process that trains on processors sets for itself: its threads, and what becomes of memory that it frees.

A step frees tensors of some megabytes and asks for their like again. glibc gives such memory back to the system, which
hands it out anew page by page: a quarter of a fine-tuning step's time (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import sys

import torch

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""glibc's numbers of these settings (malloc.h)."""
KEPT_BYTES = 2**30
"""Of free memory that a process keeps."""
GROWN_BYTES = 2**26
"""By which a process grows at a time."""
LARGEST_KEPT = 2**25
"""Bytes of a tensor that is kept when it is free; glibc takes no more."""


def use_processors(number: int) -> None:
    """Train with so many threads of torch, and keep freed memory for the next step.

    Elsewhere than under glibc memory stays as it is.
    """
    torch.set_num_threads(number)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for setting, value in ((TRIM_THRESHOLD, KEPT_BYTES), (TOP_PAD, GROWN_BYTES), (MMAP_THRESHOLD, LARGEST_KEPT)):
            mallopt(setting, value)
