"""Which failures in a row stop a study."""

from __future__ import annotations

from typing import Any

from aar_ray.search.failures import Failures

NAN = "TrialFailed: pre-training: the loss was not finite in epoch {}: lower pretrain.learning_rate"


def end(trial: int, reason: str | None, encoder: str | None = None) -> dict[str, Any]:
    state = "complete" if reason is None else "failed"
    return {"event": "trial_finished", "trial": trial, "state": state, "reason": reason, "encoder": encoder}


def observed(*ends: dict[str, Any]) -> list[str | None]:
    failures = Failures()
    return [failures.observe(each) for each in ends]


def test_three_equal_failures_in_a_row_stop_a_study_with_one_message() -> None:
    *before, last = observed(*(end(n, NAN.format(n)) for n in (4, 5, 6)))
    assert before == [None, None]
    assert last == f"trials 4, 5, 6 failed alike, one after another: {NAN.format(6)}"


def test_a_trial_that_ends_well_or_fails_otherwise_breaks_the_row() -> None:
    assert observed(end(0, "a"), end(1, "a"), end(2, None), end(3, "a"), end(4, "a")) == [None] * 5
    assert observed(end(0, "a"), end(1, "a"), end(2, "b"), end(3, "a"), end(4, "a")) == [None] * 5


def test_trials_that_share_a_failed_encoder_are_one_failure() -> None:
    assert observed(*(end(n, "a", "e" * 20) for n in range(9))) == [None] * 9
    assert observed(*(end(n, "a", letter * 20) for n, letter in enumerate("eefg")))[-1] is not None


def test_other_events_are_no_ends() -> None:
    failures = Failures()
    assert [failures.observe({"event": "fold_finished", "trial": n}) for n in range(9)] == [None] * 9
