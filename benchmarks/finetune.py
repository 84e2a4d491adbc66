"""Fine-tuning of 10 folds x 3 seeds: bundles on all processors against one after another.

    python benchmarks/finetune.py

Three forms of the same 30 trainings, in turn: `plain`, one after another in plain torch (tests/training/reference.py's
layers, torch's dropout, softmax and Adam) with all processors as torch's threads; `one by one`, `finetune` called 30
times with all threads; `bundles`, one bundle a processor. Windows are random: times do not depend on what they show.
`--check` compares the bundles with the trainings one by one and takes no times.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch.nn import functional as F

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from training.reference import attention, linear, norm

from aar_ray.config import Settings, settings_from
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.training.finetune import FineTuned, Job, _build, finetune, finetune_bundle
from aar_ray.training.processors import use_processors

FOLDS, SEEDS, ANIMAL_WINDOWS, CLASSES = 10, 3, 64, 5


def settings_of(model_size: int, layers: int, epochs: int, precision: str) -> Settings:
    """Widths of studies/tfc_sweep.yaml, or the defaults' at 128; all epochs are run."""
    return settings_from(
        {
            "patchtst.model_size": model_size,
            "patchtst.layers": layers,
            "patchtst.heads": model_size // 16,
            "patchtst.feedforward_size": 2 * model_size,
            "finetune.epochs": epochs,
            "finetune.patience": epochs,
            "finetune.precision": precision,
        }
    )


def jobs_of(settings: Settings) -> list[Job]:
    """Leave one of ten animals out, three seeds each."""
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(FOLDS * ANIMAL_WINDOWS, 3, 50)).astype(np.float32)
    labels = rng.integers(0, CLASSES, len(windows))
    animals = np.repeat(np.arange(FOLDS), ANIMAL_WINDOWS)

    def part(chosen: np.ndarray) -> LabelledWindows:
        names = animals[chosen].astype(str).astype(object)
        classes = tuple(map(str, range(CLASSES)))
        return LabelledWindows(windows[chosen], labels[chosen], classes, names, names, np.zeros(len(names)))

    folds = [(part(animals != fold), part(animals == fold)) for fold in range(FOLDS)]
    return [Job(train, validation, settings, seed) for train, validation in folds for seed in range(SEEDS)]


def plain(job: Job) -> None:
    """The training of one job as one would write it first."""
    settings = job.settings
    state = dict(_build(job).named_parameters())
    adam = torch.optim.Adam(
        state.values(), lr=settings.finetune.learning_rate, weight_decay=settings.finetune.weight_decay
    )
    windows, labels = torch.as_tensor(job.train.windows), torch.as_tensor(job.train.labels)
    for _ in range(settings.finetune.epochs):
        for rows in torch.randperm(len(windows)).split(settings.finetune.batch_size):
            loss = F.cross_entropy(
                plain_logits(state, windows[rows], settings, settings.finetune.dropout), labels[rows]
            )
            adam.zero_grad()
            loss.backward()
            adam.step()
        with torch.no_grad():
            plain_logits(state, torch.as_tensor(job.validation.windows), settings, 0.0).argmax(dim=1)


def plain_logits(state: dict[str, torch.Tensor], windows: torch.Tensor, settings: Settings, p: float) -> torch.Tensor:
    """The classifier with torch's own dropout."""
    patchtst = settings.patchtst
    padded = F.pad(windows, (0, patchtst.patch_stride), mode="replicate")
    patches = padded.unfold(-1, patchtst.patch_length, patchtst.patch_stride)
    tokens = F.dropout(linear(state, "encoder.patch_projection", patches) + state["encoder.positions"], p)
    for layer in range(patchtst.layers):
        own = f"encoder.layers.{layer}"
        mixed = attention(state, f"{own}.attention", norm(state, f"{own}.attention_norm", tokens), patchtst.heads)
        tokens = tokens + F.dropout(mixed, p)
        hidden = F.gelu(linear(state, f"{own}.feedforward.0", norm(state, f"{own}.feedforward_norm", tokens)))
        tokens = tokens + F.dropout(linear(state, f"{own}.feedforward.3", F.dropout(hidden, p)), p)
    features = norm(state, "encoder.final_norm", tokens).mean(dim=2)
    for place, groups in ((0, 3), (1, 1)):
        weight, bias = state[f"head.fusion.{place}.weight"], state[f"head.fusion.{place}.bias"]
        features = F.conv1d(features, weight, bias, padding=weight.shape[-1] // 2, groups=groups)
    return linear(state, "head.linear", F.dropout(F.gelu(features), p).flatten(1))


def bundle_of(part: int, parts: int, settings: Settings) -> list[tuple[dict[str, Any], np.ndarray, bytes]]:
    """One processor's share; made there and sent back as a task of a study does it."""
    sent = []
    for one in finetune_bundle(jobs_of(settings)[part::parts]):
        assert isinstance(one, FineTuned)
        sent.append((one.result, one.probabilities, safetensors.torch.save(one.model)))
    return sent


def forms(settings: Settings, pool: ProcessPoolExecutor, processors: int) -> dict[str, Callable[[], object]]:
    jobs = jobs_of(settings)
    alone = [lambda job=job: finetune(job.train, job.validation, job.settings, seed=job.seed) for job in jobs]
    return {
        "plain": lambda: [plain(job) for job in jobs],
        "one by one": lambda: [train() for train in alone],
        "bundles": lambda: [
            running.result()
            for running in [pool.submit(bundle_of, part, processors, settings) for part in range(processors)]
        ],
    }


def check(settings: Settings) -> float:
    """The largest difference of a probability between a bundle's member and the same training alone."""
    jobs = jobs_of(settings)[::4]
    together = finetune_bundle(jobs)
    differences = []
    for job, member in zip(jobs, together, strict=True):
        assert isinstance(member, FineTuned)
        alone = finetune(job.train, job.validation, job.settings, seed=job.seed)
        differences.append(float(np.abs(alone.probabilities - member.probabilities).max()))
    return max(differences)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--model-size", type=int, default=64)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="of all but plain")
    parser.add_argument("--check", action="store_true", help="equality alone")
    options = parser.parse_args()
    settings = settings_of(options.model_size, options.layers, options.epochs, options.precision)
    if options.check:
        difference = check(settings)
        print(f"largest difference between a member of a bundle and the same training alone: {difference:.1e}")
        return 0 if difference <= 1e-5 else 1
    processors = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(
        processors, mp_context=get_context("spawn"), initializer=partial(use_processors, 1)
    ) as pool:
        timed = forms(settings, pool, processors)
        list(pool.map(bundle_of, range(processors), [15 * processors] * processors, [settings] * processors))
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for _ in range(options.rounds):
            for name, form in timed.items():
                began = time.perf_counter()
                form()
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(
        f"{FOLDS} folds x {SEEDS} seeds, {options.epochs} epoch(s), D {options.model_size}, {options.precision}, "
        f"{processors} processors"
    )
    for name, median in medians.items():
        print(f"{name:12} {median:7.2f} s   {medians['plain'] / median:5.2f} times plain")
    print(f"bundles against one by one: {medians['one by one'] / medians['bundles']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
