"""A whole study through real Ray: its ranking, its journal, the same command again, a kill, a trial that fails."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_study import small_study

from aar_ray.config import Study
from aar_ray.search.journal import Event, read_events
from aar_ray.study import main
from aar_ray.study_file.loader import load_study, save_study

SECONDS = ["seconds_pretrain", "seconds_finetune"]
MEASURED = [*SECONDS, "encoder_cached"]
"""Columns that may differ where a ranking is made again."""


@dataclass
class Outcome:
    """What a run of the command left."""

    study: Study
    file: Path
    results: Path
    status: int
    printed: str

    @property
    def folder(self) -> Path:
        return self.results / self.study.name

    @property
    def events(self) -> list[Event]:
        return list(read_events(self.folder / "journal.jsonl"))

    @property
    def ranking(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "ranking.csv")

    def of(self, event: str) -> list[Event]:
        return [each for each in self.events if each["event"] == event]


def execute(study: Study, folder: Path) -> Outcome:
    """Run the command on a study whose file, results and store are in `folder`."""
    file, results = folder / "study.yaml", folder / "results"
    save_study(study, file)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = main([str(file), "--results", str(results)])
    return Outcome(study, file, results, status, printed.getvalue())


def everything_in(folder: Path) -> dict[str, int]:
    """Files below a folder and when they were written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(ray_cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The small study, run once."""
    folder = tmp_path_factory.mktemp("finished")
    outcome = execute(small_study(store=str(folder / "store")), folder)
    assert outcome.status == 0, outcome.printed
    return outcome


def test_the_ranking_has_a_row_a_trial_with_its_scores_settings_and_seconds(finished: Outcome) -> None:
    frame = finished.ranking
    animals = sorted(animal for fold in finished.of("study_started")[0]["folds"] for animal in fold["validation"])
    assert len(set(animals)) == 3
    wanted = ["rank", "trial", "macro_f1", "macro_f1_low", "macro_f1_high", *finished.study.search, *SECONDS]
    assert set(wanted) <= set(frame.columns)
    by_animal = frame[[f"macro_f1[{animal}]" for animal in animals]]
    assert frame["rank"].tolist() == [1, 2, 3, 4]
    assert sorted(frame["trial"]) == [0, 1, 2, 3]
    assert frame["macro_f1"].is_monotonic_decreasing
    assert frame["macro_f1"].tolist() == pytest.approx(by_animal.mean(axis=1).tolist())
    assert (frame["macro_f1_low"] <= frame["macro_f1"]).all()
    assert (frame["macro_f1"] <= frame["macro_f1_high"]).all()
    assert (frame[SECONDS] > 0).all(axis=None)


def test_trial_0_is_the_papers_setting(finished: Outcome) -> None:
    first = finished.ranking.set_index("trial").loc[0]
    assert first["tfc.margin"] == 0.5
    assert first["finetune.learning_rate"] == 1e-4
    assert first["finetune.encoder"] == "trained"


def test_the_resolved_study_is_written_and_reads_back_equal(finished: Outcome) -> None:
    assert load_study(finished.folder / "study.yaml") == finished.study


def test_every_trial_has_one_start_one_end_and_all_its_folds(finished: Outcome) -> None:
    once = dict.fromkeys(range(4), 1)
    assert Counter(event["trial"] for event in finished.of("trial_started")) == once
    assert Counter(event["trial"] for event in finished.of("trial_finished")) == once
    assert Counter(event["trial"] for event in finished.of("pretrained")) == once
    assert Counter(event["trial"] for event in finished.of("fold_finished")) == dict.fromkeys(range(4), 3)
    assert Counter(event["trial"] for event in finished.of("pretrain_epoch")) == dict.fromkeys(range(4), 2)
    assert finished.of("study_finished")[0]["stopped_by"] == "budget of 4 trials"


def test_each_encoder_is_pre_trained_once_and_shared(finished: Outcome) -> None:
    margins = {event["trial"]: event["settings"]["tfc.margin"] for event in finished.of("trial_started")}
    keys = {event["trial"]: event["key"] for event in finished.of("pretrained")}
    assert len(set(margins.values())) == len(set(keys.values())) == 2
    # equal keys where, and only where, the pre-training settings are equal
    assert len({(margins[trial], keys[trial]) for trial in margins}) == 2
    assert sorted(path.name for path in (finished.file.parent / "store" / "pretrain").iterdir()) == sorted(
        set(keys.values())
    )


def test_results_are_kept_beside_the_key_that_the_journal_names(finished: Outcome) -> None:
    for event in finished.of("fold_finished"):
        kept = finished.file.parent / "store" / "finetune" / event["key"]
        assert json.loads((kept / "result.json").read_text()) == event["result"]


def test_random_forest_and_random_weights_stand_under_the_table(finished: Outcome) -> None:
    names = ["random forest", "scratch, trial 0", "scratch, winner"]
    assert [event["name"] for event in finished.of("baseline_finished")] == names
    folds = [fold["name"] for fold in finished.of("study_started")[0]["folds"]]
    for event in finished.of("baseline_finished"):
        assert sorted(fold["fold"] for fold in event["folds"]) == folds
    table = finished.printed[finished.printed.index("SIMULATED") :]
    assert [name for name in names if name in table] == names
    assert f"tensorboard --logdir {finished.folder / 'tensorboard'}" in finished.printed


def test_tensorboard_has_a_run_a_trial(finished: Outcome) -> None:
    written = {path.parent.name for path in (finished.folder / "tensorboard").rglob("events.out.tfevents.*")}
    for trial in range(4):
        assert any(name.startswith(f"trial-{trial:03}") for name in written)


def test_nothing_is_left_on_the_cluster(finished: Outcome, ray_cluster: Any) -> None:
    @ray_cluster.remote(num_cpus=2, resources={"trial_slot": 4})
    def all_of_it() -> str:
        return "free"

    done, _ = ray_cluster.wait([all_of_it.remote()], timeout=60)
    assert done


def test_the_same_command_again_does_no_stage_again(finished: Outcome) -> None:
    store = everything_in(finished.file.parent / "store")
    ranking = (finished.folder / "ranking.csv").read_bytes()
    before = finished.events
    second = execute(finished.study, finished.file.parent)
    assert second.status == 0
    assert everything_in(finished.file.parent / "store") == store
    assert (second.folder / "ranking.csv").read_bytes() == ranking
    assert "SIMULATED" in second.printed
    new = second.events[len(before) :]
    assert second.events[: len(before)] == before
    assert not {event["event"] for event in new} & {"trial_started", "pretrained", "fold_finished", "trial_finished"}
    assert new[0]["corpus"]["cached"] is True


def test_a_killed_study_comes_to_the_ranking_of_one_that_was_not(finished: Outcome, tmp_path: Path) -> None:
    shutil.copytree(finished.file.parent, tmp_path, dirs_exist_ok=True)
    study = small_study(store=str(tmp_path / "store"))
    journal = tmp_path / "results" / study.name / "journal.jsonl"
    save_study(study, journal.with_name("study.yaml"))
    lines = journal.read_bytes().splitlines(keepends=True)
    # killed in the middle of writing the first fold of the last two trials: their encoder is there, no fold is kept
    cut = next(
        number
        for number, line in enumerate(lines)
        if (event := json.loads(line))["event"] == "fold_finished" and event["trial"] >= 2
    )
    journal.write_bytes(b"".join(lines[:cut]) + lines[cut][:50])
    for event in map(json.loads, lines[cut:]):
        for fold in [event] if event["event"] == "fold_finished" else event.get("folds", []):
            shutil.rmtree(tmp_path / "store" / "finetune" / fold.get("key", "none"), ignore_errors=True)
    resumed = execute(study, tmp_path)
    assert resumed.status == 0, resumed.printed
    pd.testing.assert_frame_equal(
        resumed.ranking.drop(columns=MEASURED), finished.ranking.drop(columns=MEASURED), check_exact=True
    )
    once = dict.fromkeys(range(4), 1)
    assert Counter(event["trial"] for event in resumed.of("trial_started")) == once
    assert Counter(event["trial"] for event in resumed.of("trial_finished")) == once
    assert sorted((event["trial"], event["fold"]) for event in resumed.of("fold_finished")) == sorted(
        (event["trial"], event["fold"]) for event in finished.of("fold_finished")
    )


def test_a_trial_that_fails_is_recorded_with_its_reason_and_the_study_goes_on(
    ray_cluster: Any, tmp_path: Path
) -> None:
    study = small_study(
        name="diverging",
        store=str(tmp_path / "store"),
        search={
            "pretrain.learning_rate": {"choice": [1e-4, 1e30]},
            "finetune.learning_rate": {"choice": [1e-4, 1e-3]},
        },
        sampler={"name": "random", "trials_per_encoder": 2},
        budget={"trials": 4},
    )
    outcome = execute(study, tmp_path)
    assert outcome.status == 0, outcome.printed
    ends = {event["trial"]: event for event in outcome.of("trial_finished")}
    settings = {event["trial"]: event["settings"] for event in outcome.of("trial_started")}
    assert sorted(ends) == sorted(settings) == [0, 1, 2, 3]
    diverged = {trial for trial in settings if settings[trial]["pretrain.learning_rate"] == 1e30}
    assert len(diverged) == 2
    for trial, end in ends.items():
        if trial in diverged:
            assert end["state"] == "failed"
            assert end["macro_f1"] is None
            assert "lower pretrain.learning_rate" in end["reason"]
        else:
            assert end["state"] == "complete"
    rows = outcome.ranking.set_index("trial")
    assert rows.loc[sorted(diverged), "rank"].isna().all()
    assert rows.loc[sorted(diverged), "reason"].str.contains("not finite").all()
    assert "failed" in outcome.printed
