"""A store and a journal as a study leaves them, with classifiers of random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fake_journal as journal
import numpy as np
import safetensors.torch
from small_study import small_study

from aar_ray.config import Study, dotted, settings_from
from aar_ray.corpus.checks import labelled_parts
from aar_ray.corpus.files import window_table, write_windows
from aar_ray.corpus.harvest import harvest
from aar_ray.corpus.stretches import Findings
from aar_ray.method.classifier import Classifier, Head
from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.seeds import drawing_from
from aar_ray.store import MADE_FROM

SEALED = "goats-4"
OPEN = ("goats-1", "goats-2", "goats-3", "goats-5")
KEY = "l" * 20
CONTEXT_SECONDS, FORM = 20.0, "own_mean_spread"


def kept_study(store: Path) -> Study:
    """Goats of which one is sealed."""
    protocol = {"split": "leave_one_subject_out", "sealed": [SEALED]}
    return small_study(protocol=protocol, store=str(store))


def keep(study: Study, store: Path) -> list[journal.Event]:
    """The journal of two trials, trial 1 the better one, with baselines, and everything that they made."""
    start = journal.started(animals=OPEN)[0]
    for fold in start["folds"]:
        fold["test"] = [SEALED]
    start |= {"labelled": {"key": KEY}, "classes": write_labelled(study, store / "labelled" / KEY)}
    found = [start]
    for number in (0, 1):
        found += [*journal.trial_started(number), *journal.pretrained(number)]
        found += journal.folds(number, dict.fromkeys(OPEN, 0.4 + 0.1 * number))
        found += journal.finished(number, 0.4 + 0.1 * number)
    scratch = journal.baseline("scratch, winner", [0.3] * 3)[0]
    scratch["folds"] = [
        {"fold": name, "validation": [name], "key": f"s{name}", "result": journal.result(0.3)} for name in OPEN
    ]
    forests = [
        journal.baseline("random forest", [0.3] * 3)[0],
        forest_in_context(journal.baseline("random forest, winner", [0.3] * 3)[0], CONTEXT_SECONDS),
    ]
    found += [*forests, scratch, *journal.study_finished()]
    for key in (f"{kind}{name}" for kind in "01s" for name in OPEN):
        write_model(study, store / "finetune" / key, len(start["classes"]))
    return found


def forest_in_context(event: journal.Event, seconds: float) -> journal.Event:
    for fold in event["folds"]:
        fold["result"]["applied"] = {"finetune.context_seconds": seconds, "finetune.context_form": FORM}
    return event


def write_labelled(study: Study, folder: Path) -> list[str]:
    """The windows of the open goats, as the corpus writes them; returns their behaviours."""
    pieces = [piece for part in labelled_parts(study) for piece in harvest(part, study.data, Findings())]
    windows = np.concatenate([piece.windows for piece in pieces]).astype(np.float32)
    columns: dict[str, list[Any]] = {
        name: [value for piece in pieces for value in getattr(piece, f"{name}s")]
        for name in ("subject", "recording", "start", "behaviour")
    }
    assert set(columns["subject"]) == set(OPEN)
    folder.mkdir(parents=True)
    (folder / MADE_FROM).write_text("{}")
    names = {"source": ["goats"] * len(windows), **columns}
    table = window_table(windows, names, np.array(columns["start"]))
    write_windows(folder / "windows-00000.parquet", table, windows.shape[-1], {"unit": "g"})
    return sorted(set(columns["behaviour"]))


def write_model(study: Study, folder: Path, classes: int, context_seconds: float = 0.0, **changes: Any) -> None:
    """A classifier of weights that the folder's name draws; a double underscore stands for a setting's dot."""
    given = {"finetune.context_seconds": context_seconds, "finetune.context_form": FORM}
    given |= {name.replace("__", "."): value for name, value in changes.items()}
    settings = settings_from({**dotted(study.reference()), **given})
    patchtst, classifier = dict(settings.patchtst), dict(settings.classifier)
    with drawing_from(0, "test", "unseal", folder.name):
        encoder = PatchTSTEncoder(study.data.window_samples, **patchtst)
        size = 3 * 3 * 18 if context_seconds else 0
        model = Classifier(encoder, Head(3, settings.patchtst.model_size, classes, context_size=size, **classifier))
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "result.json").write_text(json.dumps({"applied": dotted(settings)}))
