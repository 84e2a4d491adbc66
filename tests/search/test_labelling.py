"""A finished study's winner labels recordings: what is written is what its classifiers say of each window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fake_journal as journal
import numpy as np
import pandas as pd
import pytest
import torch
from corpus.made_up import source, table
from kept_study import CONTEXT_SECONDS, KEY, OPEN, keep, kept_study, write_model

from aar_ray.config import Study
from aar_ray.corpus.files import read_labelled
from aar_ray.corpus.labelled import LabelledWindows, normalised
from aar_ray.corpus.normalise import statistics_of
from aar_ray.corpus.recording import InputError
from aar_ray.label import main
from aar_ray.report.labels import budget_table
from aar_ray.search import labelling
from aar_ray.search.journal import Refused
from aar_ray.search.labelling import label_source, winner_of
from aar_ray.study_file.loader import save_study
from aar_ray.training.classify import probabilities

ROWS, RATE = 3000, 25.0
BEGAN = pd.Timestamp("2026-05-01 12:00:00.3")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return kept_study(tmp_path)


@pytest.fixture
def events(study: Study, tmp_path: Path) -> list[journal.Event]:
    return keep(study, tmp_path)


@pytest.fixture
def collars(tmp_path: Path) -> Path:
    """Two goats' recordings with dates, the second with a gap of a minute."""
    folder = tmp_path / "collars"
    folder.mkdir()
    for number, name in enumerate(("ann", "bea")):
        rows = table(ROWS, seed=number)
        seconds = rows["t"] + 60 * (number * (rows.index >= ROWS // 2))
        dates = BEGAN + pd.to_timedelta(seconds, unit="s")
        rows.assign(t=dates.dt.strftime("%Y-%m-%dT%H:%M:%S.%f")).to_csv(folder / f"{name}.csv", index=False)
    return folder


def one_goat(study: Study, tmp_path: Path, events: list[journal.Event]) -> LabelledWindows:
    everything = read_labelled(tmp_path / "labelled" / KEY, events[0]["classes"])
    own = everything.of([OPEN[0]])
    return own.at(np.argsort(own.starts, kind="stable"))


def rewritten(study: Study, tmp_path: Path, classes: int, **changes: Any) -> None:
    """The winner's classifiers with other settings."""
    for name in OPEN:
        write_model(study, tmp_path / "finetune" / f"1{name}", classes, **changes)


@pytest.mark.parametrize("scope", ["source", "recording", "window"])
@pytest.mark.parametrize("reach", [{}, {"context_seconds": CONTEXT_SECONDS, "finetune__smoothing_seconds": 6.0}])
def test_blocks_come_to_what_a_recording_as_a_whole_does(
    study: Study,
    events: list[journal.Event],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scope: Any,
    reach: dict[str, float],
) -> None:
    rewritten(study, tmp_path, len(events[0]["classes"]), normalise__scope=scope, **reach)
    goat = one_goat(study, tmp_path, events)
    monkeypatch.setattr(labelling, "BLOCK", 7)
    ensemble, _ = winner_of(study, events)
    found, _ = ensemble(goat, "cpu")

    everything = read_labelled(tmp_path / "labelled" / KEY, events[0]["classes"])
    expected = []
    for member, fold in zip(ensemble.members, events[0]["folds"], strict=True):
        trained_on = statistics_of(everything.of(fold["train"]).windows) if scope == "source" else None
        whole = normalised(goat, scope, trained_on)
        expected.append(probabilities(member.weights, member.settings, whole))
    assert len(goat) > 3 * labelling.BLOCK
    assert found == pytest.approx(np.mean(expected, axis=0), abs=1e-5)


def test_the_ensemble_is_the_mean_of_its_classifiers_and_says_how_many_agree(
    study: Study, events: list[journal.Event], tmp_path: Path
) -> None:
    goat = one_goat(study, tmp_path, events)
    ensemble, about = winner_of(study, events)
    each = np.array([member(goat, "cpu") for member in ensemble.members])
    found, agreement = ensemble(goat, "cpu")
    assert found == pytest.approx(each.mean(axis=0), abs=1e-6)
    chosen = each.mean(axis=0).argmax(axis=1)
    assert agreement == pytest.approx((each.argmax(axis=2) == chosen).mean(axis=0))
    # weights drawn at random do not agree everywhere
    assert set(np.unique(agreement)) <= {0.25, 0.5, 0.75, 1.0}
    assert agreement.min() < 1
    assert (about["trial"], [one["key"] for one in about["classifiers"]]) == (1, [f"1{name}" for name in OPEN])
    few, about = winner_of(study, events, most=1)
    assert (len(few.members), len(about["classifiers"])) == (1, 1)
    assert few(goat, "cpu")[0] == pytest.approx(each[0], abs=1e-6)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_every_window_of_every_file_is_labelled_at_the_time_of_its_first_sample(
    study: Study, events: list[journal.Event], collars: Path, tmp_path: Path, form: Any
) -> None:
    given = source(collars / "*.csv", columns={"label": None})
    found = label_source(given, study, events, tmp_path / "labels", form=form)
    read = {"csv": lambda path: pd.read_csv(path, parse_dates=["time"]), "parquet": pd.read_parquet}[form]
    for number, name in enumerate(("ann", "bea")):
        labels = read(tmp_path / "labels" / f"{name}.{form}")
        # 60 s each side of the gap, in windows of 2 s
        seconds = np.concatenate([np.arange(30) * 2, 60 + 60 * number + np.arange(30) * 2])
        assert labels["seconds"].to_numpy() == pytest.approx(seconds)
        assert (labels["time"] - BEGAN).dt.total_seconds().tolist() == seconds.tolist()
        assert set(labels["animal"]) == set(labels["recording"]) == {name}
        shares = labels[[f"p[{each}]" for each in events[0]["classes"]]].to_numpy()
        assert shares.sum(axis=1) == pytest.approx(1, abs=1e-3)
        assert labels["behaviour"].tolist() == [events[0]["classes"][one] for one in shares.argmax(axis=1)]
        assert labels["probability"].to_numpy() == pytest.approx(shares.max(axis=1))
        budget = found.windows[found.windows["animal"] == name].set_index("behaviour")["windows"]
        assert budget.to_dict() == labels["behaviour"].value_counts().to_dict()
    written = pd.read_csv(tmp_path / "labels" / "time_budget.csv")
    assert written.groupby("animal")["share"].sum().to_numpy() == pytest.approx(1, abs=1e-3)
    assert written["hours"].sum() == pytest.approx(4 * 60 / 3600, abs=1e-3)
    assert json.loads((tmp_path / "labels" / "about.json").read_text())["source"]["path"] == given.path
    assert found.warnings == ()


def test_time_is_in_the_files_numbers_where_it_has_no_dates_and_left_out_where_it_has_no_clock(
    study: Study, events: list[journal.Event], tmp_path: Path
) -> None:
    rows = table(ROWS)
    rows.assign(t=rows["t"] + 1000).to_parquet(tmp_path / "goat.parquet")
    label_source(source(tmp_path / "goat.parquet"), study, events, tmp_path / "clock")
    labels = pd.read_csv(tmp_path / "clock" / "goat.csv")
    assert labels["time"].to_numpy() == pytest.approx(1000 + 2 * np.arange(60))
    label_source(source(tmp_path / "goat.parquet", columns={"time": None}), study, events, tmp_path / "none")
    assert "time" not in pd.read_csv(tmp_path / "none" / "goat.csv")


def test_what_speaks_against_the_labels_is_said(
    study: Study, events: list[journal.Event], collars: Path, tmp_path: Path
) -> None:
    cows = source(collars / "*.csv", species="cattle", columns={"label": None})
    (said,) = label_source(cows, study, events, tmp_path / "cows").warnings
    assert said == "herd: the classifiers learned from goat, these recordings are of cattle"
    (said,) = label_source(study.data.labelled, study, events, tmp_path / "same").warnings
    assert said == "goats: the classifiers learned from these recordings; others they label less well"
    # known again by content, under another name and unit
    goats = source(collars / "*.csv", columns={"label": None})
    found = label_source(goats, study, events, tmp_path / "first")
    sketches = {"goats": {"as it was": sorted(found.recordings.sketches["ann"])}}
    (tmp_path / "labelled" / KEY / "sketches.json").write_text(json.dumps(sketches))
    renamed = collars / "renamed.csv"
    rows = pd.read_csv(collars / "ann.csv")
    rows[["ax", "ay", "az"]] *= 1000
    rows.to_csv(renamed, index=False)
    again = source(renamed, unit="mg", columns={"label": None})
    (said,) = label_source(again, study, events, tmp_path / "again").warnings
    assert said == "herd: the classifiers learned from these recordings (renamed); others they label less well"


def test_a_broken_file_is_refused_and_leaves_no_half_a_file(
    study: Study, events: list[journal.Event], collars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (collars / "bea.csv").read_text().splitlines(keepends=True)
    (collars / "bea.csv").write_text("".join([*whole[:-1], "2026-05-01T14:00:00,one,2,3,\n"]))
    message = r"bea.csv:3001: column 'ax' must hold a number, got 'one'"
    with pytest.raises(InputError, match=message):
        label_source(source(collars / "*.csv"), study, events, tmp_path / "labels")
    assert not (tmp_path / "labels").exists()
    # beyond the rows that are looked at before
    monkeypatch.setattr(labelling, "check_source", lambda _: None)
    with pytest.raises(InputError, match=message):
        label_source(source(collars / "*.csv"), study, events, tmp_path / "labels")
    # the other file may be at work still, under a hidden name
    for path in (tmp_path / "labels").glob("[!.]*"):
        assert (path.name, len(pd.read_csv(path))) == ("ann.csv", 60)


def test_a_study_without_winner_or_classifiers_is_refused(
    study: Study, events: list[journal.Event], tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="has not begun"):
        winner_of(study, [])
    with pytest.raises(Refused, match="no trial of the study is complete"):
        winner_of(study, events[:3])
    (tmp_path / "finetune" / "1goats-2" / "model.safetensors").unlink()
    with pytest.raises(Refused, match="lacks winner, fold goats-2"):
        winner_of(study, events)


def test_the_command_prints_a_time_budget_and_how_far_to_trust_it(
    study: Study, events: list[journal.Event], collars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results" / "small"
    save_study(study, folder / "study.yaml")
    (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    described = tmp_path / "collars.yaml"
    plain = source(collars / "*.csv", columns={"label": None}).model_dump(mode="json", exclude_none=True)
    described.write_text(json.dumps(plain))
    threads = torch.get_num_threads()
    assert main([str(folder), str(described), "--models", "2"]) == 0
    assert torch.get_num_threads() == threads
    printed = " ".join(capsys.readouterr().out.split())
    assert "SIMULATED animals: Time budget" in printed
    assert "(trial 1) reach macro-F1 0.500, flattered by its having been chosen for it" in printed
    assert {path.name for path in (folder / "labels" / "herd").iterdir()} == {
        "ann.csv",
        "bea.csv",
        "time_budget.csv",
        "about.json",
    }
    described.write_text(json.dumps({**plain, "unit": "m/s2", "colums": {}}))
    assert main([str(folder), str(described)]) == 1
    said = capsys.readouterr().err
    assert "collars.yaml:1:" in said
    assert "unit: must be 'g', 'mg', 'm/s^2' or 'counts', got 'm/s2'" in said
    assert "colums: unknown name; did you mean columns?" in said
    for arguments, message in (
        ([str(folder), "heifers"], r"one of the study's sources (cows, ewes, goats), got 'heifers'"),
        ([str(tmp_path), str(described)], "FOLDER must be the results of a study"),
        ([str(folder), str(described), "--models", "0"], "--models must be 1 or more, got 0"),
    ):
        assert main(arguments) == 1
        assert message in capsys.readouterr().err.replace("\n", " ")


def test_recordings_without_a_window_are_said_and_leave_empty_tables(
    study: Study, events: list[journal.Event], tmp_path: Path
) -> None:
    table(30).to_csv(tmp_path / "short.csv", index=False)
    found = label_source(source(tmp_path / "short.csv"), study, events, tmp_path / "labels")
    assert found.warnings == ("herd: no window",)
    assert pd.read_csv(tmp_path / "labels" / "short.csv").empty
    assert pd.read_csv(tmp_path / "labels" / "time_budget.csv").empty
    assert budget_table(found.windows, 2.0, simulated=False).row_count == 0
