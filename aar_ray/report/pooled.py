"""Scores of all validation windows together, from the summed confusion matrices of a model's folds and seeds.

The mean over animals ranks; here an animal counts by its windows, and a behaviour that one animal lacks is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aar_ray.method.scores import scores
from aar_ray.report.findings import name_of
from aar_ray.report.record import StudyRecord

MEASURES = {
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "accuracy": "accuracy",
    "macro_precision": "precision",
    "macro_recall": "recall",
    "kappa": "kappa",
}
"""By name in a result; precision and recall are means over the behaviours."""


def pooled_confusion(folds: Iterable[Mapping[str, Any]]) -> NDArray[np.int64] | None:
    """Sum over `fold_finished` events of their confusion matrices [truth, prediction]; None where they have none."""
    tables = [np.asarray(fold["result"]["confusion"]) for fold in folds if "confusion" in fold["result"]]
    return np.sum(tables, axis=0) if tables else None


def pooled_scores(record: StudyRecord) -> dict[str, dict[str, Any]]:
    """By model, best first: the winner, trial 0, each arm, and the baselines; scores as `method.scores` gives them."""
    classes = record.started.get("classes")
    if not classes:
        return {}
    found = {name: pooled_confusion(folds) for name, folds in _models(record)}
    return {name: scores(confusion, classes) for name, confusion in found.items() if confusion is not None}


def pooled_table(record: StudyRecord) -> pd.DataFrame:
    """One row a model: windows, and the scores named in `MEASURES`."""
    rows = [
        {
            "model": name,
            "windows": int(np.sum(found["confusion"])),
            **{measure: found[measure] for measure in MEASURES},
        }
        for name, found in pooled_scores(record).items()
    ]
    return pd.DataFrame(rows, columns=["model", "windows", *MEASURES])


def behaviour_table(record: StudyRecord) -> pd.DataFrame:
    """One row a model and behaviour: precision, recall, f1, and support in windows."""
    rows = [
        {"model": name, "behaviour": behaviour, **values}
        for name, found in pooled_scores(record).items()
        for behaviour, values in found["per_class"].items()
    ]
    return pd.DataFrame(rows, columns=["model", "behaviour", "precision", "recall", "f1", "support"])


def _models(record: StudyRecord) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    if record.winner is not None:
        arms = [one.number for one in record.scored if record.trials[one.number].arm]
        for number in dict.fromkeys([record.winner.number, 0, *arms]):
            folds = [fold for trial in record.runs(number).values() for fold in trial.folds.values()]
            yield name_of(record, number), folds
    for name, event in record.baseline_events.items():
        yield name, list(event["folds"])
