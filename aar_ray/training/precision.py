"""Which number type a device multiplies matrices fastest in: a probe of a second, in a process of its own.

Not every processor has fast bfloat16: some emulate it at half the speed of float32, and on some virtual machines the
tile instructions that the processor announces end the process (SIGILL). A probe that dies says so.
"""

from __future__ import annotations

import functools
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch

from aar_ray.method.products import product
from aar_ray.training.processors import use_processors

Precision = Literal["float32", "bfloat16"]

WORTHWHILE = 1.3
"""How many times faster than float32 bfloat16 must be: conversions and the wider rest of a step eat a lesser gain."""

ROWS, SIZE, HIDDEN = 4608, 128, 256
"""Tokens of half a batch at the default widths, and those widths."""

PROBE_SECONDS = 0.4
"""For each number type."""

FEWEST_ROUNDS = 10
"""However slow they are: the first ones pay for memory and kernels."""


class Chosen(NamedTuple):
    """A number type, and why in one line."""

    precision: Precision
    reason: str


def fastest_precision(device: torch.device | str) -> Chosen:
    """The number type for the encoders' matrix products on this machine's device.

    Without a probe on a GPU, all of whose bfloat16 is fast where it has any.
    """
    if torch.device(device).type == "cuda":
        known = torch.cuda.is_bf16_supported(including_emulation=False)
        name = torch.cuda.get_device_name()
        return Chosen("bfloat16", f"{name} has it") if known else Chosen("float32", f"{name} has no bfloat16")
    return _fastest_on_processor(torch.get_num_threads())


def check_precision(section: Literal["pretrain", "finetune"], precision: str, device: torch.device) -> Precision:
    """A section's `precision`, with which training can begin on this device.

    Raises:
        ValueError: it is not settled, or the process would end of it; with the way out.
    """
    if precision == "auto":
        raise ValueError(f"{section}.precision must be settled before training, got auto; see fastest_precision")
    if precision == "float32":
        return "float32"
    if device.type == "cpu" and (chosen := _fastest_on_processor(torch.get_num_threads())).reason.startswith(ENDS):
        raise ValueError(
            f"{section}.precision must be float32 or auto on this machine, got bfloat16: {chosen.reason}; or start "
            "with ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 in the environment, which leaves those instructions out"
        )
    return "bfloat16"


ENDS = "a bfloat16 product ends the process"


@functools.cache
def _fastest_on_processor(threads: int) -> Chosen:
    probe = subprocess.run(
        [sys.executable, "-m", "aar_ray.training.precision", str(threads)], capture_output=True, text=True, check=False
    )
    if probe.returncode < 0:
        return Chosen("float32", f"{ENDS} with {signal.Signals(-probe.returncode).name}")
    if probe.returncode:
        raise RuntimeError(f"the probe of number types failed: {probe.stderr.strip().splitlines()[-1:]}")
    speeds: dict[str, float] = json.loads(probe.stdout)
    precision: Precision = "bfloat16" if speeds["bfloat16"] >= WORTHWHILE * speeds["float32"] else "float32"
    return Chosen(precision, ", ".join(f"{name} {speed:.0f} GFLOP/s" for name, speed in speeds.items()))


def matrix_speeds(
    dtypes: Sequence[torch.dtype],
    device: torch.device | str = "cpu",
    *,
    rows: int = ROWS,
    seconds: float = PROBE_SECONDS,
) -> list[float]:
    """GFLOP/s of the best of several matrix products as large as those of a training step, number types in turn."""
    forms = [_forms(dtype, device, rows) for dtype in dtypes]
    best = [math.inf] * len(dtypes)
    on_gpu = torch.device(device).type == "cuda"
    until, rounds = time.perf_counter() + seconds * len(dtypes), 0
    while time.perf_counter() < until or rounds < FEWEST_ROUNDS:
        rounds += 1
        for place, both in enumerate(forms):
            for form in both:
                # a GPU is asked for several at once, or the asking would be timed
                products = 32 if on_gpu else 1
                began = time.perf_counter()
                for _ in range(products):
                    form()
                if on_gpu:
                    torch.cuda.synchronize()
                best[place] = min(best[place], (time.perf_counter() - began) / products)
    return [2 * rows * SIZE * HIDDEN / seconds / 1e9 for seconds in best]


def _forms(dtype: torch.dtype, device: torch.device | str, rows: int) -> tuple[Callable[[], object], ...]:
    """The bare product into memory that is there, by torch's choice of library, and a linear layer's by ours."""
    tokens, weight, bias, out = (
        torch.ones(shape, dtype=dtype, device=device)
        for shape in ((rows, SIZE), (HIDDEN, SIZE), (HIDDEN,), (rows, HIDDEN))
    )
    return partial(torch.mm, tokens, weight.t(), out=out), partial(product, tokens, weight, bias)


def _probe(threads: int) -> None:
    # into memory that is there: a fresh result of some megabytes costs a processor as much as the product
    use_processors(threads)
    names = ("float32", "bfloat16")
    print(json.dumps(dict(zip(names, matrix_speeds([getattr(torch, name) for name in names]), strict=True))))


if __name__ == "__main__":
    _probe(int(sys.argv[1]))
