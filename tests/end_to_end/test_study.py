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
import psutil
import pytest
from ray._private import state
from ray.util.placement_group import placement_group_table
from small_study import small_study
from study_command import command

from aar_ray.config import Study
from aar_ray.label import main as label
from aar_ray.search.journal import Event, read_events
from aar_ray.study import main
from aar_ray.study_file.loader import load_study, save_study

SECONDS = ["seconds_pretrain", "seconds_finetune"]

SEARCH = {
    "tfc.margin": {"uniform": [0.05, 1.0]},
    # with the second one the loss is not finite after an epoch
    "pretrain.learning_rate": {"choice": [3e-4, 1e9]},
    "finetune.learning_rate": {"log_uniform": [1e-4, 1e-2]},
    "finetune.encoder": {"choice": ["trained", "frozen"]},
}
COMPLETE, FAILED = (0, 1, 4, 5), (2, 3)
"""Of the six trials, two an encoder, that this seed draws."""


def study_in(folder: Path) -> Study:
    return small_study(seed=0, search=SEARCH, budget={"trials": 6}, store=str(folder / "store"))


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
    status, printed = command(study, folder)
    return Outcome(study, folder / "study.yaml", folder / "results", status, printed)


def everything_in(folder: Path) -> dict[str, int]:
    """Artifacts' files below a store and when they were written."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.glob("[!.]*/**/*") if path.is_file()
    }


@pytest.fixture(scope="module")
def finished(ray_cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The small study, run once."""
    folder = tmp_path_factory.mktemp("finished")
    outcome = execute(study_in(folder), folder)
    assert outcome.status == 0, outcome.printed
    return outcome


def test_the_ranking_has_a_row_a_trial_with_its_scores_settings_and_seconds(finished: Outcome) -> None:
    frame = finished.ranking
    animals = sorted(animal for fold in finished.of("study_started")[0]["folds"] for animal in fold["validation"])
    assert len(set(animals)) == 3
    wanted = ["rank", "trial", "macro_f1", "macro_f1_low", "macro_f1_high", *finished.study.search, *SECONDS]
    assert set(wanted) <= set(frame.columns)
    assert sorted(frame["trial"]) == list(range(6))
    ranked = frame[frame["rank"].notna()]
    by_animal = ranked[[f"macro_f1[{animal}]" for animal in animals]]
    assert ranked["rank"].tolist() == [1, 2, 3, 4]
    assert sorted(ranked["trial"]) == list(COMPLETE)
    assert ranked["macro_f1"].is_monotonic_decreasing
    assert ranked["macro_f1"].tolist() == pytest.approx(by_animal.mean(axis=1).tolist())
    assert (ranked["macro_f1_low"] <= ranked["macro_f1"]).all()
    assert (ranked["macro_f1"] <= ranked["macro_f1_high"]).all()
    assert (ranked[SECONDS] > 0).all(axis=None)


def test_trial_0_is_the_papers_setting(finished: Outcome) -> None:
    first = finished.ranking.set_index("trial").loc[0]
    assert first[list(SEARCH)].tolist() == [0.5, 3e-4, 1e-4, "trained"]


def test_the_resolved_study_is_written_and_reads_back_equal(finished: Outcome) -> None:
    assert load_study(finished.folder / "study.yaml") == finished.study


def test_every_trial_has_one_start_and_one_end_and_a_complete_one_all_its_folds(finished: Outcome) -> None:
    def times(event: str) -> Counter[int]:
        return Counter(each["trial"] for each in finished.of(event))

    assert times("trial_started") == times("trial_finished") == dict.fromkeys(range(6), 1)
    assert times("pretrained") == dict.fromkeys(COMPLETE, 1)
    assert times("pretrain_epoch") == dict.fromkeys(COMPLETE, 2)
    probed = [event["epoch"] for event in finished.of("pretrain_epoch") if "probe_macro_f1" in event["metrics"]]
    assert probed == [2] * len(COMPLETE)  # the last of fewer epochs than it waits
    assert times("fold_finished") == dict.fromkeys(COMPLETE, 3)
    assert finished.of("study_finished")[0]["stopped_by"] == "budget of 6 trials"


def test_a_failed_trial_is_recorded_with_its_reason_and_the_others_go_on(finished: Outcome) -> None:
    ends = {event["trial"]: event for event in finished.of("trial_finished")}
    rows = finished.ranking.set_index("trial")
    for trial in FAILED:
        assert ends[trial]["state"] == rows.loc[trial, "state"] == "failed"
        assert ends[trial]["macro_f1"] is None
        assert "not finite in epoch 1: lower pretrain.learning_rate" in ends[trial]["reason"]
        assert rows.loc[trial, "reason"] == ends[trial]["reason"]
        assert rows.loc[trial, "pretrain.learning_rate"] == 1e9
    assert {ends[trial]["state"] for trial in COMPLETE} == {"complete"}
    # trials that began after the failure
    assert {4, 5} <= set(COMPLETE)


def test_each_encoder_is_pre_trained_once_and_shared(finished: Outcome) -> None:
    margins = {event["trial"]: event["settings"]["tfc.margin"] for event in finished.of("trial_started")}
    keys = {event["trial"]: event["key"] for event in finished.of("pretrained") if not event["cached"]}
    # equal keys where, and only where, the pre-training settings are equal
    assert len(set(keys.values())) == len({(margins[trial], key) for trial, key in keys.items()}) == 2
    assert {path.name for path in (finished.file.parent / "store" / "pretrain").iterdir()} == set(keys.values())


def test_results_are_kept_under_the_key_that_the_journal_names(finished: Outcome) -> None:
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
    for trial in range(6):
        assert any(name.startswith(f"trial-{trial:03}") for name in written)


def test_a_study_ends_with_its_report_and_says_where_it_came_from(finished: Outcome) -> None:
    assert f"report: {finished.folder / 'report.html'}" in finished.printed
    assert "SIMULATED animals" in (finished.folder / "report.html").read_text()
    provenance = finished.of("study_started")[0]["provenance"]
    assert provenance["cluster"]["nodes"] == 1
    assert provenance["cluster"]["CPU"] >= 2
    assert "What is missing here" not in (finished.folder / "report.md").read_text()


def test_the_winner_of_a_finished_study_labels_other_recordings(finished: Outcome, tmp_path: Path) -> None:
    assert label([str(finished.folder), "cows", "--output", str(tmp_path)]) == 0
    about = json.loads((tmp_path / "about.json").read_text())
    best = finished.ranking["trial"].tolist()[0]
    assert (about["trial"], about["simulated"]) == (best, True)
    keys = [event["key"] for event in finished.of("fold_finished") if event["trial"] == best]
    assert sorted(one["key"] for one in about["classifiers"]) == sorted(keys)
    minutes = {source.name: source for source in finished.study.sources()}["cows"].minutes_per_animal
    for animal in ("cows-1", "cows-2"):
        labels = pd.read_csv(tmp_path / f"{animal}.csv")
        assert len(labels) == pytest.approx(minutes * 30, abs=2)
        assert set(labels["behaviour"]) <= set(finished.of("study_started")[0]["classes"])


def what_is_taken(ray: Any) -> dict[str, Any]:
    """What is free of the cluster, and who may have the rest."""
    groups = [group for group in placement_group_table().values() if group["state"] != "REMOVED"]
    # the public list of actors needs the dashboard
    actors = [actor for actor in state.actors().values() if actor["State"] != "DEAD"]
    return {
        "free": ray.available_resources(),
        "groups": [(group["state"], group["bundles"]) for group in groups],
        "actors": [(actor["ActorClassName"], actor["State"]) for actor in actors],
    }


def test_nothing_is_left_on_the_cluster(finished: Outcome, ray_cluster: Any) -> None:
    @ray_cluster.remote(num_cpus=2, resources={"trial_slot": 4})
    def all_of_it() -> str:
        return "free"

    done, _ = ray_cluster.wait([all_of_it.remote()], timeout=60)
    assert done, f"taken on the cluster: {what_is_taken(ray_cluster)}"
    services = [one for one in psutil.Process().children(recursive=True) if one.cmdline()[:1] == ["ray::Stages"]]
    assert not psutil.wait_procs(services, timeout=60)[1]


def test_the_same_command_again_does_no_stage_again(finished: Outcome, tmp_path: Path) -> None:
    shutil.copytree(finished.results, tmp_path / "results")
    store = everything_in(finished.file.parent / "store")
    second = execute(finished.study, tmp_path)
    assert second.status == 0
    assert everything_in(finished.file.parent / "store") == store
    assert (second.folder / "ranking.csv").read_bytes() == (finished.folder / "ranking.csv").read_bytes()
    assert "SIMULATED" in second.printed
    before = finished.events
    assert second.events[: len(before)] == before
    new = second.events[len(before) :]
    assert Counter(event["event"] for event in new) == {"study_started": 1, "baseline_finished": 3, "study_finished": 1}
    assert new[0]["corpus"]["cached"] is True


def test_a_killed_study_comes_to_the_ranking_of_one_that_was_not(finished: Outcome, tmp_path: Path) -> None:
    shutil.copytree(finished.file.parent, tmp_path, dirs_exist_ok=True)
    study = study_in(tmp_path)
    journal = tmp_path / "results" / study.name / "journal.jsonl"
    save_study(study, journal.with_name("study.yaml"))
    lines = journal.read_bytes().splitlines(keepends=True)
    events = [json.loads(line) for line in lines]
    # killed while it wrote the first fold of the last two trials: their encoder and none of their folds are kept
    cut = next(n for n, event in enumerate(events) if event["event"] == "fold_finished" and event["trial"] >= 4)
    journal.write_bytes(b"".join(lines[:cut]) + lines[cut][:50])
    for event in events[cut:]:
        if event["event"] == "fold_finished":
            shutil.rmtree(tmp_path / "store" / "finetune" / event["key"])
    resumed = execute(study, tmp_path)
    assert resumed.status == 0, resumed.printed
    measured = [*SECONDS, "encoder_cached", "pareto"]  # the front is one of seconds
    pd.testing.assert_frame_equal(
        resumed.ranking.drop(columns=measured), finished.ranking.drop(columns=measured), check_exact=True
    )
    for event in ("trial_started", "trial_finished", "fold_finished"):
        done = [[(each["trial"], each.get("fold")) for each in outcome.of(event)] for outcome in (resumed, finished)]
        assert sorted(done[0], key=str) == sorted(done[1], key=str)


def test_a_trial_that_runs_again_comes_to_the_same_bits(
    finished: Outcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished.results, tmp_path / "results")
    journal = tmp_path / "results" / finished.study.name / "journal.jsonl"
    events = list(read_events(journal))
    # one number of one epoch is not what it was
    spoiled = next(event for event in events if event["event"] == "pretrain_epoch" and event["trial"] == 4)
    spoiled["metrics"]["loss"] += 1e-9
    journal.write_text("".join(json.dumps(event) + "\n" for event in events))
    before, store = journal.read_bytes(), everything_in(finished.file.parent / "store")
    assert main([str(finished.file), "--results", str(tmp_path / "results"), "--trial", "4"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2].startswith("pretrain_epoch, epoch 1: metrics.loss was ")
    assert printed[-1] == "trial 4 differs from its first run in 1 values"
    # it takes nothing from the store but data, and leaves nothing
    assert journal.read_bytes() == before
    assert everything_in(finished.file.parent / "store") == store


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(("trial", "reason"), [("2", "it is failed"), ("99", "the study has 6 trials")])
def test_only_complete_trials_run_again(
    finished: Outcome, trial: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(finished.file), "--results", str(finished.results), "--trial", trial]) == 1
    assert f"--trial must be the number of a complete trial, got {trial}: {reason}" in capsys.readouterr().err


def test_a_plan_counts_what_is_there_and_binds_nobody(
    finished: Outcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, results = tmp_path / "study.yaml", tmp_path / "results"
    planned = study_in(finished.file.parent).model_copy(update={"name": "planned"})
    save_study(planned, file)
    assert main([str(file), "--results", str(results), "--plan"]) == 0
    assert "plan of planned" in capsys.readouterr().out
    (event,) = read_events(results / "planned" / "journal.jsonl")
    assert event["trials"] == finished.study.planned_trials
    assert event["folds"] == 3 * event["trials"]
    # trial 0 and its pair are the same in both studies, as are those that are drawn before the first result is known
    assert event["encoders"] > event["encoders_cached"] >= 1
    assert event["seconds"] > event["seconds_pretrain"] > 0
    assert 0 < event["disk_bytes"] < event["disk_free_bytes"]
    # a study that was planned may still be changed
    save_study(planned.model_copy(update={"seed": 5}), file)
    assert main([str(file), "--results", str(results), "--plan", "--set", "resources.store_gigabytes=1e-6"]) == 1
    assert "more than resources.store_gigabytes, which is 1e-06" in capsys.readouterr().err


def test_failed_trials_run_again_and_no_other(finished: Outcome, tmp_path: Path) -> None:
    shutil.copytree(finished.results, tmp_path / "results")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = main([str(finished.file), "--results", str(tmp_path / "results"), "--retry-failed"])
    assert status == 0, printed.getvalue()
    again = Outcome(finished.study, finished.file, tmp_path / "results", status, printed.getvalue())
    new = again.events[len(finished.events) :]
    assert [event["trial"] for event in new if event["event"] == "trial_retried"] == list(FAILED)
    assert sorted(event["trial"] for event in new if event["event"] == "trial_finished") == list(FAILED)
    assert not [event for event in new if event["event"] == "fold_finished"]
    pd.testing.assert_frame_equal(again.ranking, finished.ranking)
