"""A search that pauses and promotes, through real Ray: probes, folds, stops, and the same decisions after a kill."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from small_study import small_study
from study_command import events_of, of

from aar_ray.config import Study, dotted
from aar_ray.search.journal import Event
from aar_ray.study_file.loader import save_study

SAMPLER = {"name": "stage_aware", "startup_trials": 3, "trials_per_encoder": 1, "first_epochs": 1}


def study_in(folder: Path) -> Study:
    return small_study(sampler=SAMPLER, budget={"trials": 5}, store=str(folder / "store"))


@pytest.fixture(scope="module")
def finished(ray_cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    folder = tmp_path_factory.mktemp("finished")
    return folder, events_of(study_in(folder), folder)


def test_trials_get_as_many_folds_as_they_earn(finished: tuple[Path, list[Event]]) -> None:
    _, events = finished
    started = of(events, "trial_started")
    # the reference runs to its end, a new encoder gets its first epochs, a trial on a paid one a fold
    assert started[0]["folds"] is None
    assert {event["folds"] for event in started[1:]} <= {0, 1}
    assert 0 in {event["folds"] for event in started[1:]}
    wanted: dict[int, int] = {}
    for event in events:
        if event["event"] in ("trial_started", "trial_promoted"):
            wanted[event["trial"]] = 3 if event["folds"] is None else event["folds"]
    folds = dict.fromkeys(wanted, 0)
    for event in of(events, "fold_finished"):
        folds[event["trial"]] += 1
    assert folds == wanted


def test_each_trial_ends_once_complete_or_stopped_with_how_far_it_came(finished: tuple[Path, list[Event]]) -> None:
    _, events = finished
    ends = {event["trial"]: event for event in of(events, "trial_finished")}
    assert sorted(ends) == list(range(5)) == sorted(event["trial"] for event in of(events, "trial_finished"))
    assert {event["state"] for event in ends.values()} == {"complete", "stopped"}
    for event in ends.values():
        if event["state"] == "stopped":
            assert event["macro_f1"] is None
            assert "promised less than the best one after" in event["reason"]


def test_a_probe_judges_an_encoder_after_its_first_epochs(finished: tuple[Path, list[Event]]) -> None:
    _, events = finished
    probes = {event["trial"]: event["probe"] for event in of(events, "trial_paused") if event["folds"] == 0}
    assert len(probes) > 1
    epochs = {(event["trial"], event["epoch"]): event["metrics"] for event in of(events, "pretrain_epoch")}
    for trial, probe in probes.items():
        assert epochs[trial, 1]["probe_macro_f1"] == probe
    left = [trial for trial in probes if not any(event["trial"] == trial for event in of(events, "trial_promoted"))]
    # what is left has had no second epoch, unless another trial has paid for it
    paid = {event["trial"] for event in of(events, "pretrained")}
    assert left
    assert not paid & set(left)


def test_a_killed_study_decides_as_one_that_was_not(finished: tuple[Path, list[Event]], tmp_path: Path) -> None:
    folder, events = finished
    shutil.copytree(folder / "store", tmp_path / "store")
    study = study_in(tmp_path)
    journal = tmp_path / "results" / study.name / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    lines = (folder / "results" / study.name / "journal.jsonl").read_bytes().splitlines(keepends=True)
    save_study(study, journal.with_name("study.yaml"))
    cut = next(n for n, event in enumerate(events) if event["event"] == "trial_promoted") + 1
    journal.write_bytes(b"".join(lines[:cut]))
    resumed = events_of(study, tmp_path)

    def decided(found: list[Event]) -> list[Any]:
        return [
            (event["event"], event["trial"], event["folds"], event.get("settings"))
            for event in found
            if event["event"] in ("trial_started", "trial_promoted")
        ]

    assert decided(resumed) == decided(events)
    ends = [{event["trial"]: event["macro_f1"] for event in of(found, "trial_finished")} for found in (resumed, events)]
    assert ends[0] == ends[1]


def test_conditions_known_settings_and_an_earlier_study_go_together(
    finished: tuple[Path, list[Event]], tmp_path: Path
) -> None:
    folder, before = finished
    shutil.copytree(folder / "store", tmp_path / "store")
    shutil.copytree(folder / "results", tmp_path / "results")
    rate, encoder = "finetune.learning_rate", "finetune.encoder"
    search = {
        "tfc.margin": {"uniform": [0.05, 1.0]},
        rate: {"log_uniform": [1e-4, 1e-2], "when": {encoder: "trained"}},
        encoder: {"choice": ["trained", "frozen"]},
    }
    known = {"tfc.margin": 0.5, encoder: "frozen"}
    study = small_study(
        name="again",
        search=search,
        enqueue=[known],
        warm_start=["small"],
        sampler={**SAMPLER, "first_epochs": None},
        budget={"trials": 5},
        store=str(tmp_path / "store"),
    )
    events = events_of(study, tmp_path)
    (warm,) = of(events, "warm_started")
    # a rate beside a frozen encoder is a point of the earlier space and not of this one
    complete = {event["trial"] for event in of(before, "trial_finished") if event["state"] == "complete"}
    ran = [event["settings"] for event in of(before, "trial_started") if event["trial"] in complete]
    default = dotted(study.reference())[rate]
    fitting = [one for one in ran if one[encoder] == "trained" or one[rate] == default]
    assert [one["settings"] for one in warm["told"]] == fitting
    assert sum(warm["left_out"].values()) == len(of(before, "trial_started")) - len(fitting)
    started = [event["settings"] for event in of(events, "trial_started")]
    assert started[1] == {**known, rate: default}
    others = [one for one in fitting if one not in started[:2]]
    assert all(one in started[2 : 2 + len(others)] for one in others)
    for number, one in enumerate(started):
        assert one[encoder] == "trained" or one[rate] == default
        assert one not in started[:number]
    assert len(started) == len(of(events, "trial_finished")) == 5
    assert {event["state"] for event in of(events, "trial_finished")} <= {"complete", "stopped"}
