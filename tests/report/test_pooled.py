"""Scores of all windows together, against scikit-learn on the windows that the confusion matrices count."""

from __future__ import annotations

import json
from pathlib import Path

import fake_journal as journal
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics

from aar_ray.report.page import write_report
from aar_ray.report.pooled import behaviour_table, pooled_scores, pooled_table
from aar_ray.report.record import StudyRecord


def test_each_model_is_scored_on_all_its_windows_together(tmp_path: Path) -> None:
    events = journal.searched_study(20)
    rng = np.random.default_rng(1)
    folds = [event for event in events if event["event"] == "fold_finished"]
    folds += [fold for event in events if event["event"] == "baseline_finished" for fold in event["folds"]]
    for fold in folds:
        fold["result"]["confusion"] = rng.integers(0, 7, (3, 3)).tolist()
    record = StudyRecord(tmp_path, events, {})
    assert record.winner is not None
    own = [f for trial in record.runs(record.winner.number).values() for f in trial.folds.values()]
    assert len(own) > 3  # several seeds
    cells = np.sum([fold["result"]["confusion"] for fold in own], axis=0)
    truth, predicted = (np.repeat(index.ravel(), cells.ravel()) for index in np.indices((3, 3)))

    table = pooled_table(record)
    assert list(table["model"])[:2] == [f"trial {record.winner.number}", "trial 0"]
    assert set(table["model"][2:]) == set(record.baseline_events)
    row = table.iloc[0]
    assert row["windows"] == cells.sum() == len(truth)
    assert row["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    assert row["kappa"] == pytest.approx(sklearn.metrics.cohen_kappa_score(truth, predicted))
    assert row["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(truth, predicted, average="macro"))
    each = behaviour_table(record)
    each = each[each["model"] == row["model"]]
    assert list(each["behaviour"]) == list(journal.CLASSES)
    assert list(each["recall"]) == pytest.approx(sklearn.metrics.recall_score(truth, predicted, average=None))
    assert list(each["support"]) == cells.sum(axis=1).tolist()


def test_a_journal_without_confusions_has_no_pooled_scores(tmp_path: Path) -> None:
    events = journal.searched_study(20)
    for event in events:
        if event["event"] == "fold_finished":
            del event["result"]["confusion"]
    folder = tmp_path / "herd"
    folder.mkdir()
    (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    record = StudyRecord(folder, events, {})
    assert not set(pooled_scores(record)) & {"trial 0"}
    write_report(folder)
    assert "trial 0" not in set(pd.read_csv(folder / "tables" / "pooled.csv")["model"])
