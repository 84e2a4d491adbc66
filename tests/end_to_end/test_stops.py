"""What stops a study through real Ray: failures that are all alike, and a disk without room for its journal."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from full_disk import command_without_room_for
from ray import tune
from small_study import small_study
from study_command import events_of

from aar_ray.search import engine
from aar_ray.search.failures import GivenUp
from aar_ray.search.journal import Event, Journal, read_events


def test_three_equal_failures_in_a_row_stop_the_study(
    ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trials:
        """Stands in for what trials need: they fail before they ask for it."""

        stages: Any = None

    # in here, so that they travel to the trial's process without this file
    def failing(config: dict[str, Any], *, folds: Any) -> None:
        end = {"event": "trial_finished", "state": "failed", "macro_f1": None, "reason": "OSError: no driver, 0x1f"}
        tune.report({"journal": {"trial": config["trial"], **end}})

    monkeypatch.setattr(engine, "run_trial", failing)
    monkeypatch.setattr(engine, "_drain", lambda stages, drained: drained.set())
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("study_started", folds=[{"name": "a"}])
    emit = engine._Writer(journal, lambda event: None)
    study = small_study(budget={"trials": 9}, resources={"trial_slots": 1})
    drained = threading.Event()
    with pytest.raises(GivenUp, match="trials 0, 1, 2 failed alike, one after another: OSError: no driver"):
        engine._search(study, journal, Trials(), emit, drained, str(tmp_path))  # type: ignore[arg-type]
    assert drained.is_set()
    assert Counter(event["event"] for event in journal.events)["trial_started"] == 3


def test_a_disk_without_room_for_the_journal_ends_the_study_and_the_same_command_goes_on(
    ray_cluster: Any, tmp_path: Path
) -> None:
    study = small_study(budget={"trials": 3}, store=str(tmp_path / "store"))
    journal = tmp_path / "results" / study.name / "journal.jsonl"
    held: list[Event] = []
    # one is written by the callback that hears of trials, the other by the searcher that begins them
    for kind, trial in (("fold_finished", 0), ("trial_started", 2)):
        address = ray_cluster.get_runtime_context().gcs_address
        status, printed = command_without_room_for(kind, trial, study, tmp_path, address)
        assert status == 1
        assert f"File too large; the same command goes on: '{journal}'" in printed.replace("\n", "")
        assert "Traceback" not in printed
        now = list(read_events(journal))
        # whole lines, and all that was there before
        assert journal.read_bytes().endswith(b"\n")
        assert now[: len(held)] == held
        held = now
    events = events_of(study, tmp_path)
    assert events[: len(held)] == held
    for kind, times in (("trial_started", 3), ("trial_finished", 3), ("fold_finished", 9)):
        done = Counter((event["trial"], event.get("fold")) for event in events if event["event"] == kind)
        assert len(done) == sum(done.values()) == times
