"""The stages of a study as plain calls in one process, with what a finished study was made from: for comparisons."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from aar_ray.config import Settings, Study
from aar_ray.corpus.files import Resident, read_resident
from aar_ray.corpus.labelled import normalised_for
from aar_ray.corpus.splits import Fold
from aar_ray.search.journal import Event, read_events
from aar_ray.search.placement import place
from aar_ray.search.prepared import Prepared, prepare
from aar_ray.store import Store
from aar_ray.study_file.loader import load_study
from aar_ray.training.finetune import Job, finetune_bundle
from aar_ray.training.pretrain import pretrain
from aar_ray.training.worker import scale_of

ROOT = Path(__file__).parents[1]


def tiny_study(folder: Path, **changes: Any) -> Study:
    """A search over settings of both stages of a tiny network, on SIMULATED animals; files in `folder`."""
    animals = {"reader": "simulated", "minutes_per_animal": 5.0}
    fixed = {
        "patchtst.model_size": 16,
        "patchtst.layers": 1,
        "patchtst.heads": 2,
        "patchtst.feedforward_size": 32,
        "tfc.projector_hidden": 16,
        "tfc.projector_size": 8,
        "pretrain.epochs": 4,
        "pretrain.batch_size": 64,
        "finetune.epochs": 4,
    }
    return Study.model_validate(
        {
            "name": "tiny",
            "seed": 3,
            "data": {
                "unlabelled": [{"name": "cows", "species": "cattle", "animals": 2, **animals}],
                "labelled": {"name": "goats", "species": "goat", "animals": 5, **animals},
            },
            "protocol": {"split": "paper"},
            "search": {
                "tfc.margin": {"uniform": [0.05, 1.0]},
                "finetune.learning_rate": {"log_uniform": [1e-4, 1e-2]},
            },
            "confirm": {"best": 0},
            "resources": {"trial_slots": 2, "cpus": 2},
            "store": str(folder / "store"),
            **changes,
            "fixed": {**fixed, **changes.get("fixed", {})},
        }
    )


@dataclass
class PlainStages:
    """Data of a study whose corpus is made, and its stages; `seconds` are those inside of them."""

    prepared: Prepared
    resident: Resident
    windows: torch.Tensor
    seconds: dict[str, float] = field(default_factory=lambda: {"pretrain": 0.0, "finetune": 0.0})

    @classmethod
    def of(cls, study: Study) -> PlainStages:
        """Of a study whose corpus is in its store."""
        node = {"CPU": 2.0, "trial_slot": float(study.resources.trial_slots)}
        return cls.reading(prepare(study, place(study.resources, [node]), Store(study.store)))

    @classmethod
    def reading(cls, prepared: Prepared) -> PlainStages:
        """Of data that is found; reads the corpus from its files."""
        resident = read_resident(prepared.corpus.folder)
        return cls(prepared, resident, torch.from_numpy(resident.windows))

    def pretrained(self, settings: Settings, seed: int) -> dict[str, torch.Tensor]:
        """Weights of the encoder."""
        began = time.perf_counter()
        summary = self.prepared.corpus.summary
        scale = scale_of(self.resident, summary, settings.normalise.scope, self.windows.device)
        made = pretrain(self.windows, settings, seed=seed, scale=scale, probe=self.prepared.probe)
        self.seconds["pretrain"] += time.perf_counter() - began
        return made.encoder()

    def finetuned(self, settings: Settings, folds: Sequence[Fold], seed: int, encoder: Any) -> list[float]:
        """Macro-F1 of each fold."""
        began = time.perf_counter()
        scores = finetuned(self.prepared, settings, folds, seed, encoder)
        self.seconds["finetune"] += time.perf_counter() - began
        return scores


def finetuned(prepared: Prepared, settings: Settings, folds: Sequence[Fold], seed: int, encoder: Any) -> list[float]:
    """Macro-F1 of each fold, all trained together; no encoder starts from random weights."""
    scope, labelled = settings.normalise.scope, prepared.labelled
    jobs = [Job(*normalised_for(labelled, fold, scope), settings, seed, encoder) for fold in folds]
    scores = []
    for outcome in finetune_bundle(jobs):
        if isinstance(outcome, ArithmeticError):
            raise outcome
        scores.append(outcome.result["macro_f1"])
    return scores


def finished(folder: Path) -> tuple[Study, list[Event]]:
    """A study that has run in a folder, and its journal."""
    study = load_study(folder / "study.yaml")
    return study, list(read_events(folder / "results" / study.name / "journal.jsonl"))


def of(events: Sequence[Event], kind: str) -> list[Event]:
    """Events of one kind."""
    return [event for event in events if event["event"] == kind]


def command(folder: Path, *arguments: str) -> str:
    """Run Python in a folder, one thread a process; returns what it printed.

    Raises:
        RuntimeError: it failed; with all that it printed.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout
