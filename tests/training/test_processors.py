"""What a process that trains sets for itself."""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aar_ray.training.processors import use_processors

TESTS = Path(__file__).parents[1]
TENSORS, NUMBERS = 24, 3 * 2**18
FIRST_STEPS, STEPS = 6, 4
PAGE_BYTES = 4096


def page_faults_of_steps() -> int:
    """Of steps that free some tensors of 3 MB and take their like again, the first ones left out; in this process."""
    use_processors(1)
    before = 0
    for step in range(FIRST_STEPS + STEPS):
        if step == FIRST_STEPS:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensors = [torch.empty(NUMBERS).fill_(step) for _ in range(TENSORS)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def page_faults() -> int:
    code = "from training.test_processors import page_faults_of_steps; print(page_faults_of_steps())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TESTS)
    return int(found.stdout)


def test_a_training_process_takes_its_own_freed_memory_again() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("the C library is not glibc")
    pages = STEPS * TENSORS * NUMBERS * 4 // PAGE_BYTES
    assert page_faults() < pages / 10


def test_torch_gets_the_threads() -> None:
    earlier = torch.get_num_threads()
    try:
        use_processors(earlier + 1)
        assert torch.get_num_threads() == earlier + 1
    finally:
        torch.set_num_threads(earlier)
