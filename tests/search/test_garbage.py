"""Garbage collection: what a ranking needs stays whatever the budget, all else goes oldest first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_journal import finished, folds, pretrained, started, study_finished, trial_started

from aar_ray.search.garbage import GIGABYTE, GRACE_SECONDS, collect, main, needed, remember
from aar_ray.search.journal import Event, Journal
from aar_ray.store import Store

NOW = 2e9
KILOBYTE = 1000 / GIGABYTE


def put(store: Store, stage: str, key: str, age: float) -> None:
    """An artifact of about a kilobyte that was published some seconds before NOW."""
    with store.publish(stage, key, {}) as folder:
        (folder / "weights").write_bytes(bytes(998))
    os.utime(store.root / stage / key, (NOW - age, NOW - age))


def keys(store: Store) -> list[str]:
    return sorted(path.name for stage in ("pretrain", "finetune") for path in (store.root / stage).glob("*"))


def journal_of(folder: Path, events: list[Event]) -> Path:
    journal = Journal(folder / "journal.jsonl")
    for event in events:
        journal.append(**event)
    journal.close()
    return journal.path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_what_complete_and_running_trials_and_baselines_name_is_needed() -> None:
    events = [
        *started(),
        *trial_started(0),
        *pretrained(0, key="good"),
        *folds(0, {"Bella": 0.5}),
        *finished(0, 0.5),
        *trial_started(1),
        *pretrained(1, key="bad"),
        *finished(1, None, "failed", "NaN"),
        *trial_started(2),
        *pretrained(2, key="running"),
        {"event": "baseline_finished", "name": "scratch", "folds": [{"key": "base", "result": {}}]},
        *study_finished(),
    ]
    assert needed(events) == {"c" * 20, "good", "0Bella", "running", "base"}
    # a failed trial that is to run again needs what it had
    assert "bad" in needed([*events, {"event": "trial_retried", "trial": 1}])


def test_the_oldest_goes_first_until_the_rest_fits(store: Store) -> None:
    for number, key in enumerate(["a", "b", "c", "d"]):
        put(store, "pretrain", key, age=1e6 - number)
    collected = collect(store, 2.5 * KILOBYTE, now=NOW)
    assert keys(store) == ["c", "d"]
    assert (collected.removed, collected.freed_bytes, collected.left_bytes) == (2, 2000, 2000)
    assert collect(store, 2.5 * KILOBYTE, now=NOW).removed == 0


def test_what_a_ranking_needs_stays_whatever_the_budget(store: Store, tmp_path: Path) -> None:
    for key in ("old", "good"):
        put(store, "pretrain", key, age=1e6)
    put(store, "finetune", "0Bella", age=1e7)
    events = [*started(), *trial_started(0), *pretrained(0, key="good"), *folds(0, {"Bella": 0.5}), *finished(0, 0.5)]
    journal = journal_of(tmp_path / "results", events)
    remember(store, journal)
    collected = collect(store, KILOBYTE, now=NOW)
    assert keys(store) == ["0Bella", "good"]
    assert collected.needed_bytes == collected.left_bytes == 2000
    # a study whose results were deleted needs nothing any more
    journal.unlink()
    collect(store, KILOBYTE, now=NOW)
    assert keys(store) == ["good"]


def test_what_is_young_or_being_made_stays(store: Store) -> None:
    put(store, "pretrain", "young", age=GRACE_SECONDS / 2)
    put(store, "pretrain", "leased", age=1e6)
    lease = store.lease("pretrain", "leased")
    assert lease is not None
    collect(store, 0, now=NOW)
    assert {"young", "leased"} <= set(keys(store))
    lease.release()
    collect(store, 0, now=NOW)
    assert keys(store) == ["young"]


def test_what_kills_left_goes_and_what_may_go_on_stays_while_there_is_room(store: Store) -> None:
    put(store, "pretrain", "whole", age=1e6)
    half = store.root / "pretrain" / ".dead-x7"
    half.mkdir()
    (half / "weights").write_bytes(bytes(100))
    interrupted, lease = store.root / "pretrain" / ".k1.pt", store.root / "pretrain" / ".k2.lease"
    interrupted.write_bytes(bytes(100))
    lease.touch()
    for path in (half, interrupted, lease):
        os.utime(path, (NOW - 1e6, NOW - 1e6))
    collect(store, 1.0, now=NOW)
    assert keys(store) == [".k1.pt", "whole"]
    collect(store, 0, now=NOW)
    assert keys(store) == []


def test_a_folder_that_is_no_artifact_is_left_alone(store: Store) -> None:
    notes = store.root / "pretrain" / "mine" / "notes"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    collect(store, 0, now=NOW)
    assert notes.read_text() == "mine"


def test_the_command_says_what_it_did(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(store, "pretrain", "a", age=0)
    os.utime(store.root / "pretrain" / "a", (0, 0))
    assert main([str(store.root), "--gigabytes", "0"]) == 0
    assert "removed 1 artifacts of 0.000 GB; 0.000 GB left" in capsys.readouterr().out
    assert main([str(tmp_path / "none"), "--gigabytes", "0"]) == 1
    assert f"there is none at {tmp_path / 'none'}" in capsys.readouterr().err
