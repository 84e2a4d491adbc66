"""Plan against actual: what `--plan` said beside what the journal tells."""

from __future__ import annotations

from pathlib import Path

import fake_journal as journal

from aar_ray.report.costs import plan_rows
from aar_ray.report.record import StudyRecord


def rows(events: list[journal.Event]) -> dict[str, tuple[str, str]]:
    record = StudyRecord(Path("results/herd"), events, {})
    return {what: (planned, actual) for what, planned, actual in plan_rows(record)}


def test_a_plan_stands_beside_what_was_done() -> None:
    earlier, plan = (
        {
            "event": "planned",
            "at": journal.noon(0),
            "trials": 2,
            "encoders": encoders,
            "seconds": 3600.0,
            "seconds_pretrain": 120.0,
            "seconds_finetune": 61.0,
        }
        for encoders in (9, 2)
    )
    done = [*journal.trial(0, [0.25, 0.75]), *journal.trial(1, [0.5, 0.5])]
    found = rows([earlier, plan, *journal.started(), *done])
    # the latest plan counts; both trials share one encoder of 13 s and have two folds of 5 s each
    assert found["encoders"] == ("2", "1 for 2 trials")
    assert found["time"][0] == "1:00:00"
    assert found["pre-training"] == ("2:00", "0:13")
    assert found["fine-tuning"] == ("1:01", "0:20")


def test_without_a_plan_only_what_was_done_is_told() -> None:
    found = rows([*journal.started(), *journal.trial(0, [0.25, 0.75])])
    assert found["encoders"] == ("not known", "1 for 1 trials")
    assert "pre-training" not in found
