"""A store as a study leaves it, for tests of what reads artifacts: labelled windows, probabilities, encoders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fake_journal import CLASSES, Event

from aar_ray.config import Settings, dotted, settings_from
from aar_ray.corpus.files import window_table, write_windows
from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.seeds import drawing_from, stream
from aar_ray.store import MADE_FROM
from aar_ray.training.checkpoint import Checkpoint

WINDOWS = 30
"""Of each animal."""
LENGTH = 50
SMALL = settings_from(
    {"patchtst.model_size": 6, "patchtst.layers": 1, "patchtst.heads": 2, "patchtst.feedforward_size": 10}
)


def write_store(root: Path, events: Sequence[Event], *, settings: Settings = SMALL, leave_out: str = "") -> Path:
    """Artifacts of every event; probabilities are right for three of four windows.

    Args:
        root: of the store.
        events: of a journal whose `study_started` has a labelled key.
        settings: of every trial.
        leave_out: a stage whose artifacts are missing.
    """
    started = next(event for event in events if event["event"] == "study_started")
    animals = sorted({animal for fold in started["folds"] for animal in fold["validation"]})
    labels = {animal: np.arange(WINDOWS) % len(CLASSES) for animal in animals}
    _publish(root, "labelled", started["labelled"]["key"], {}, leave_out).mkdir(parents=True, exist_ok=True)
    if leave_out != "labelled":
        _write_windows(root / "labelled" / started["labelled"]["key"], labels)
    draw = stream(0, "test", "probabilities")
    for event in events:
        if event["event"] == "fold_finished" and leave_out != "finetune":
            about = {"settings": dotted(settings)}
            truth = np.concatenate([labels[animal] for animal in event["validation"]])
            folder = _publish(root, "finetune", event["key"], about, leave_out)
            right = np.eye(len(CLASSES))[truth] * (np.arange(len(truth)) % 4 != 0)[:, None]
            logits = right + draw.uniform(0, 0.5, right.shape)
            np.save(folder / "probabilities.npy", (logits / logits.sum(axis=1, keepdims=True)).astype(np.float32))
        if event["event"] == "pretrained" and leave_out != "pretrain":
            with drawing_from(event["trial"], "test", "encoder"):
                encoder = PatchTSTEncoder(LENGTH, **dict(settings.patchtst))
            weights = {f"time_encoder.{name}": value for name, value in encoder.state_dict().items()}
            folder = _publish(root, "pretrain", event["key"], {}, leave_out)
            for name, data in Checkpoint(epoch=1, model=weights, optimiser={}).files().items():
                (folder / name).write_bytes(data)
    return root


def _publish(root: Path, stage: str, key: str, made_from: Mapping[str, Any], leave_out: str) -> Path:
    folder = root / stage / key
    if stage != leave_out:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MADE_FROM).write_text(json.dumps(made_from))
    return folder


def _write_windows(folder: Path, labels: Mapping[str, np.ndarray]) -> None:
    draw = stream(0, "test", "windows")
    subjects = [animal for animal, codes in labels.items() for _ in codes]
    codes = np.concatenate(list(labels.values()))
    starts = np.concatenate([2.0 * np.arange(len(own)) for own in labels.values()])
    windows = draw.normal(codes[:, None, None], 0.2, (len(codes), 3, LENGTH)).astype(np.float32)
    # in another order than they are read in, as the corpus is
    order = draw.permutation(len(codes))
    names = {
        "source": ["goats"] * len(codes),
        "subject": [subjects[n] for n in order],
        "recording": [f"{subjects[n]}/1" for n in order],
        "behaviour": [CLASSES[codes[n]] for n in order],
    }
    write_windows(
        folder / "windows-00000.parquet", window_table(windows[order], names, starts[order]), LENGTH, {"unit": "g"}
    )
