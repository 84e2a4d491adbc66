"""The journal: nothing whole is lost, nothing torn is believed, one writer at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from full_disk import files_of_at_most

from aar_ray.search.journal import Journal, known_trials, read_events
from aar_ray.search.proposals import Known


def test_events_are_read_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "results" / "journal.jsonl")
    journal.append("trial_started", trial=0, settings={"tfc.margin": 0.3, "λ": (1, 2)})
    journal.append("trial_finished", trial=0, state="complete", macro_f1=0.71, reason=None)
    journal.close()
    events = list(read_events(tmp_path / "results" / "journal.jsonl"))
    assert [event["event"] for event in events] == ["trial_started", "trial_finished"]
    assert known_trials(events) == [Known({"tfc.margin": 0.3, "λ": (1, 2)}, "complete", 0.71)]


@pytest.mark.parametrize("torn", [1, 7, 40])
def test_a_line_torn_by_a_kill_is_dropped_and_writing_goes_on(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append("trial_started", trial=0, settings={})
    journal.append("trial_started", trial=1, settings={})
    journal.close()
    path.write_bytes(path.read_bytes()[:-torn])
    journal = Journal(path)
    assert [event["trial"] for event in journal.events] == [0]
    journal.append("trial_started", trial=1, settings={})
    journal.close()
    assert [event["trial"] for event in read_events(path)] == [0, 1]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    with pytest.raises(RuntimeError, match="is being written by another run"):
        Journal(tmp_path / "journal.jsonl")
    journal.close()
    Journal(tmp_path / "journal.jsonl").close()


def test_a_trial_without_an_end_is_running(tmp_path: Path) -> None:
    events = [
        {"event": "trial_started", "trial": 0, "settings": {}},
        {"event": "trial_started", "trial": 1, "settings": {}},
        {"event": "trial_finished", "trial": 0, "state": "failed", "macro_f1": None, "reason": "NaN"},
    ]
    assert [trial.state for trial in known_trials(events)] == ["failed", "running"]


def test_an_event_that_does_not_fit_on_the_disk_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append("trial_started", trial=0, settings={})
    before = path.read_bytes()
    with files_of_at_most(len(before) + 20), pytest.raises(OSError, match="the same command goes on"):
        journal.append("trial_finished", trial=0, state="complete", macro_f1=0.5)
    assert path.read_bytes() == before
    assert [event["event"] for event in journal.events] == ["trial_started"]
    journal.append("trial_finished", trial=0, state="complete", macro_f1=0.5)
    journal.close()
    assert [event["event"] for event in read_events(path)] == ["trial_started", "trial_finished"]


def test_a_journal_in_which_nothing_was_written_leaves_nothing(tmp_path: Path) -> None:
    Journal(tmp_path / "results" / "journal.jsonl").close()
    assert list(tmp_path.iterdir()) == []


def test_a_trial_costs_its_encoder_and_its_folds_the_later_of_what_was_done_twice() -> None:
    events = [
        {"event": "trial_started", "trial": 0, "settings": {}},
        {"event": "pretrained", "trial": 0, "key": "k", "seconds": 11.0, "cached": True},
        {"event": "fold_finished", "trial": 0, "fold": "a", "seconds": 2.0},
        {"event": "fold_finished", "trial": 0, "fold": "b", "seconds": 3.0},
        {"event": "fold_finished", "trial": 0, "fold": "b", "seconds": 5.0},
        {"event": "trial_finished", "trial": 0, "state": "complete", "macro_f1": 0.5, "reason": None},
    ]
    assert known_trials(events)[0].seconds == 18.0
