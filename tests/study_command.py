"""The command on a study, as tests give it: in this process, with what it prints kept."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from aar_ray.config import Study
from aar_ray.search.journal import Event, read_events
from aar_ray.study import main
from aar_ray.study_file.loader import save_study


def command(study: Study, folder: Path) -> tuple[int, str]:
    """Run a study whose file, results and store are in `folder`; returns the exit status and what was printed."""
    save_study(study, folder / "study.yaml")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = main([str(folder / "study.yaml"), "--results", str(folder / "results")])
    return status, printed.getvalue()


def events_of(study: Study, folder: Path) -> list[Event]:
    """Run a study, which must come to its end; returns its journal."""
    status, printed = command(study, folder)
    assert status == 0, printed
    return list(read_events(folder / "results" / study.name / "journal.jsonl"))


def of(events: list[Event], kind: str) -> list[Event]:
    """Events of one kind."""
    return [event for event in events if event["event"] == kind]
