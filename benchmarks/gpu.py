"""Pre-training and fine-tuning on one GPU, in one command and without Ray.

    python benchmarks/gpu.py

Needs torch, numpy, pydantic and jaxtyping, Python 3.11 or 3.12, and this folder. One epoch over 576,897 windows, held
on the device and streamed to it from a file, in float32 and bfloat16, with batches of 1024 and 256; then 30 classifiers
fine-tuned together and one after another, in both number types. Windows are random: times do not depend on what they
show. `--windows` and `--epochs` shorten it; on a machine without a GPU it says so and times the processor.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).parent.parent))
from aar_ray.config import Settings, settings_from
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.training.finetune import Job, finetune_bundle
from aar_ray.training.precision import matrix_speeds
from aar_ray.training.pretrain import pretrain
from aar_ray.training.shard import Held, Shard, Streamed
from benchmarks.pretrain import products_a_window

CORPUS = 576_897


def device_here() -> torch.device:
    if torch.cuda.is_available():
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
        return torch.device("cuda")
    print(f"no GPU here: these are times of {torch.get_num_threads()} thread(s) of a processor")
    return torch.device("cpu")


def mapped(windows: torch.Tensor) -> np.ndarray:
    """The same windows in a file, which goes with this process."""
    with tempfile.TemporaryFile() as file:
        file.write(windows.cpu().numpy().data)
        file.flush()
        return np.memmap(file, dtype=np.float32, mode="r", shape=tuple(windows.shape))


def epoch_seconds(shard: Shard, settings: Settings, epochs: int) -> tuple[float, float]:
    """Median seconds of an epoch and of waiting in it; the first, which warms up, counts only if alone."""
    history = pretrain(shard, settings, seed=0).history[min(1, epochs - 1) :]
    seconds, waited = ([record[name] for record in history] for name in ("seconds", "waiting_seconds"))
    return statistics.median(seconds), statistics.median(waited)


def time_epochs(device: torch.device, count: int, epochs: int, precisions: list[str], batches: list[int]) -> None:
    windows = torch.randn(count, 3, 50, device=device, generator=torch.Generator(device).manual_seed(0))
    # one is on the device, the other is read ahead from a file, as where the device has no room
    shards = {"held": Held(windows), "streamed": Streamed(mapped(windows), device)}
    print(f"one epoch over {count:,} windows, default settings")
    for precision in precisions:
        for batch in (min(batch, count) for batch in batches):
            # both views of three axes of 12 patches
            (peak,) = matrix_speeds([getattr(torch, precision)], device, rows=2 * 3 * 12 * batch)
            settings = settings_from(
                {
                    "pretrain.precision": precision,
                    "pretrain.batch_size": batch,
                    "pretrain.epochs": epochs,
                    "pretrain.probe_every": 0,
                }
            )
            for where, shard in shards.items():
                seconds, waited = epoch_seconds(shard, settings, epochs)
                # an epoch leaves out the windows that do not fill a batch
                trained = count // batch * batch
                speed = trained * products_a_window(settings) / seconds / 1e9
                print(
                    f"  {precision:8} batch {batch:5} {where:8} {seconds:8.2f} s  "
                    f"{trained / seconds:10,.0f} windows/s  {speed:8,.0f} GFLOP/s, "
                    f"{100 * speed / peak:.0f} % of {peak:,.0f}; "
                    f"{100 * waited / seconds:.2f} % waiting for data",
                    flush=True,
                )


def jobs_of(models: int, windows: int, epochs: int, precision: str) -> list[Job]:
    """Classifiers of default widths on random windows, each with a seed of its own."""
    rng = np.random.default_rng(0)

    def some(count: int) -> LabelledWindows:
        names = np.array(["animal"] * count, dtype=object)
        scored, labels = rng.normal(size=(count, 3, 50)).astype(np.float32), rng.integers(0, 5, count)
        return LabelledWindows(scored, labels, tuple("abcde"), names, names, np.zeros(count))

    settings = settings_from({"finetune.epochs": epochs, "finetune.patience": epochs, "finetune.precision": precision})
    train, validation = some(windows), some(math.ceil(windows / 9))
    return [Job(train, validation, settings, seed) for seed in range(models)]


def time_bundle(device: torch.device, models: int, windows: int, epochs: int, precision: str) -> None:
    jobs = jobs_of(models, windows, epochs, precision)
    finetune_bundle(jobs_of(2, 64, 1, precision), device=device)  # the first call of a process loads kernels
    began = time.perf_counter()
    finetune_bundle(jobs, device=device)
    together = time.perf_counter() - began
    began = time.perf_counter()
    for job in jobs:
        finetune_bundle([job], device=device)
    alone = time.perf_counter() - began
    batch = jobs[0].settings.finetune.batch_size
    print(f"fine-tuning {models} models on {windows} windows, {epochs} epoch(s), batch {batch}, {precision}")
    print(f"  together {together:.2f} s, one after another {alone:.2f} s: {alone / together:.1f} times")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=CORPUS)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[1024, 256])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--models", type=int, default=30)
    parser.add_argument("--labelled", type=int, default=2000)
    options = parser.parse_args()
    device = device_here()
    time_epochs(device, options.windows, options.epochs, options.precisions, options.batches)
    for precision in options.precisions:
        time_bundle(device, options.models, options.labelled, options.epochs, precision)
    return 0


if __name__ == "__main__":
    sys.exit(main())
