"""A table of this project's own pipeline on its SIMULATED herd: encoders x fine-tune settings x folds.

    OMP_NUM_THREADS=1 python -m benchmarks.two_stage_table

Pre-trains a tiny encoder with every combination of `PRETRAIN`, fine-tunes each with every combination of `FINETUNE`,
leave one goat out, and writes scores and processor seconds to benchmarks/tables/two_stage.csv, which search_quality.py
searches. About 20 minutes on one core; goes on after the last encoder in the file.
"""

from __future__ import annotations

import csv
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from aar_ray.config import Data, Protocol, Settings, SimulatedSource, settings_from
from aar_ray.corpus.harvest import harvest
from aar_ray.corpus.labelled import LabelledWindows, normalised, normalised_for
from aar_ray.corpus.parts import parts
from aar_ray.corpus.splits import Fold, make_folds
from aar_ray.corpus.stretches import Findings
from aar_ray.training.finetune import Job, finetune_bundle
from aar_ray.training.pretrain import pretrain

FILE = Path(__file__).parent / "tables" / "two_stage.csv"
SEED = 0

PRETRAIN: dict[str, tuple[Any, ...]] = {
    "tfc.contrastive_weight": (0.1, 0.4, 0.7, 1.0),
    "tfc.margin": (0.05, 0.5, 1.0),
    "patchtst.patch_length": (8, 12, 16),
}
FINETUNE: dict[str, tuple[Any, ...]] = {
    "finetune.learning_rate": (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2),
    "finetune.weight_decay": (1e-4, 3e-3),
    "finetune.encoder": ("trained", "frozen"),
}
FIXED: dict[str, Any] = {
    "patchtst.patch_stride": 8,
    "patchtst.model_size": 16,
    "patchtst.layers": 1,
    "patchtst.heads": 2,
    "patchtst.feedforward_size": 32,
    "tfc.projector_hidden": 32,
    "tfc.projector_size": 16,
    "pretrain.batch_size": 64,
    "pretrain.learning_rate": 1e-3,
    "pretrain.epochs": 8,
    "pretrain.precision": "float32",
    "finetune.batch_size": 32,
    "finetune.epochs": 10,
    "finetune.patience": 5,
}
HERDS: tuple[tuple[str, int, float], ...] = (("cattle", 4, 10.0), ("sheep", 4, 10.0))
GOATS, MINUTES = 4, 8.0
COLUMNS = [*PRETRAIN, *FINETUNE, *(f"macro_f1_{fold}" for fold in range(GOATS)), "pretrain_seconds", "fold_seconds"]


def herd(species: str, animals: int, minutes: float, *, labelled: bool) -> LabelledWindows:
    """Windows of simulated animals, in g."""
    about = {"name": species, "reader": "simulated", "species": species}
    source = SimulatedSource.model_validate({**about, "animals": animals, "minutes_per_animal": minutes})
    data = Data(unlabelled=(source,), labelled=source.model_copy(update={"name": "labelled"}))
    found = [one for part in parts(source, SEED, labelled=labelled) for one in harvest(part, data, Findings())]
    behaviours = np.array([str(name) for one in found for name in one.behaviours])
    classes, labels = np.unique(behaviours, return_inverse=True)
    names = np.array([name for one in found for name in one.subjects], dtype=object)
    windows = np.concatenate([one.windows for one in found])
    return LabelledWindows(windows, labels, tuple(map(str, classes)), names, names, np.zeros(len(names)))


def combinations(values: dict[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    return (dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values()))


def encoder_of(settings: Settings) -> tuple[dict[str, torch.Tensor], float]:
    """A pre-trained encoder, and the seconds of processor time that it took."""
    herds = [herd(*one, labelled=False) for one in HERDS]
    windows = torch.as_tensor(np.concatenate([normalised(one, "source").windows for one in herds]))
    started = time.process_time()
    found = pretrain(windows, settings, seed=SEED).encoder()
    return found, time.process_time() - started


def scores_of(
    goats: LabelledWindows, folds: Sequence[Fold], encoder: dict[str, torch.Tensor], varied: Sequence[dict[str, Any]]
) -> tuple[list[list[float]], float]:
    """Macro-F1 [settings][folds] of fine-tune settings that can be trained in one bundle, and seconds of a fold."""
    data = [normalised_for(goats, fold, "source") for fold in folds]
    jobs = [Job(*one, settings_from({**FIXED, **each}), SEED, encoder) for each in varied for one in data]
    started = time.process_time()
    outcomes = finetune_bundle(jobs, device="cpu")
    seconds = (time.process_time() - started) / len(jobs)
    # a loss that became infinite is a classifier that has learnt nothing
    flat = [0.0 if isinstance(one, ArithmeticError) else float(one.result["macro_f1"]) for one in outcomes]
    return [flat[start : start + len(folds)] for start in range(0, len(flat), len(folds))], seconds


def rows_of(goats: LabelledWindows, folds: Sequence[Fold], chosen: dict[str, Any]) -> Iterator[list[Any]]:
    """The table's rows of one encoder."""
    encoder, pretrain_seconds = encoder_of(settings_from({**FIXED, **chosen}))
    for kind in FINETUNE["finetune.encoder"]:
        varied = [{**chosen, **each} for each in combinations(FINETUNE) if each["finetune.encoder"] == kind]
        scores, fold_seconds = scores_of(goats, folds, encoder, varied)
        for each, found in zip(varied, scores, strict=True):
            yield [*each.values(), *(f"{one:.5f}" for one in found), f"{pretrain_seconds:.3f}", f"{fold_seconds:.4f}"]


def main() -> int:
    torch.set_num_threads(1)
    goats = herd("goat", GOATS, MINUTES, labelled=True)
    folds = make_folds(sorted(set(goats.subjects)), Protocol(split="leave_one_subject_out"), SEED)
    there = list(csv.reader(FILE.open())) if FILE.exists() else []
    settings_each = sum(1 for _ in combinations(FINETUNE))
    done = max(0, len(there) - 1) // settings_each
    with FILE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(there[1 : 1 + done * settings_each])
        for chosen in track(list(combinations(PRETRAIN))[done:], description="encoders"):
            writer.writerows(rows_of(goats, folds, chosen))
            file.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
