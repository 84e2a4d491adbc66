from __future__ import annotations

import io
import itertools
import pickle
import threading

import fake_journal as journal
import pytest
from rich.console import Console

from aar_ray.report.progress import Progress


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def console() -> Console:
    """Not a terminal."""
    return Console(file=io.StringIO(), width=60)


@pytest.fixture
def terminal() -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=True, force_interactive=True, color_system=None)


def written(console: Console) -> list[str]:
    return console.file.getvalue().splitlines()


def shown(progress: Progress) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(progress.view())
    return console.file.getvalue()


def observe(progress: Progress, *events: list[journal.Event]) -> None:
    for event in itertools.chain(*events):
        progress.observe(event)


def test_without_a_terminal_each_stage_trial_and_baseline_has_one_whole_line(console: Console, clock: Clock) -> None:
    with Progress(console, trials=3, clock=clock) as progress:
        progress.stage("corpus")
        progress.stage("search")
        progress.stage("search")
        observe(progress, journal.started(), journal.trial_started(0), journal.pretrained(0))
        clock.seconds = 60
        observe(progress, journal.folds(0, {"Bella": 0.5}), journal.finished(0, 0.5))
        observe(progress, journal.trial_started(1), journal.finished(1, None, "failed", "out of memory"))
        observe(progress, journal.baseline("random forest", [0.25, 0.5]))
    assert written(console) == [
        "corpus",
        "search",
        "trial-000 λ0.50 δ0.50 P8 S4 started",
        "trial-000 λ0.50 δ0.50 P8 S4 complete: macro-F1 0.500; "
        "1 of 3 done, best macro-F1 0.500 (trial 0), about 2:00 left",
        "trial-001 λ0.50 δ0.50 P8 S4 started",
        "trial-001 λ0.50 δ0.50 P8 S4 failed: out of memory",
        "baseline random forest: macro-F1 0.375",
    ]


def test_a_terminal_gets_lines_for_failures_and_baselines_only(terminal: Console) -> None:
    with Progress(terminal, trials=3) as progress:
        progress.stage("search")
        observe(progress, journal.trial(0, [0.5]), journal.trial_started(1))
        observe(progress, journal.finished(1, None, "failed", "out of memory"), journal.baseline("forest", [0.25]))
    text = terminal.file.getvalue()
    assert "trial-001 λ0.50 δ0.50 P8 S4 failed: out of memory" in text
    assert "baseline forest: macro-F1 0.250" in text
    assert "trial-000" not in text


def test_the_live_view_ends_with_its_block_also_after_an_error(terminal: Console) -> None:
    before = set(threading.enumerate())
    drawing: set[threading.Thread] = set()

    def interrupted() -> None:
        with Progress(terminal, trials=3):
            drawing.update(set(threading.enumerate()) - before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (thread,) = drawing
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_the_view_counts_trials_and_names_the_best_complete_one(console: Console) -> None:
    progress = Progress(console, trials=12)
    progress.stage("search")
    observe(progress, journal.trial(0, [0.5]), journal.trial(1, [0.75]), journal.trial(2, [0.25]))
    observe(progress, journal.trial_started(3), journal.finished(3, 0.875, "stopped", "behind"))
    observe(progress, journal.trial_started(4), journal.finished(4, None, "failed", "lost"))
    observe(progress, journal.trial_started(5), journal.trial_started(6))
    view = shown(progress)
    assert "search" in view
    assert "5 of 12 done, 1 failed, 2 running" in view
    assert "macro-F1 0.750 (trial 1)" in view


def test_time_left_follows_from_the_finished_trials(console: Console, clock: Clock) -> None:
    progress = Progress(console, trials=8, clock=clock)
    clock.seconds = 100  # the corpus is built: no part of a trial
    observe(progress, journal.trial_started(0), journal.trial_started(1))
    assert "left" not in shown(progress)
    clock.seconds = 140
    observe(progress, journal.finished(0, 0.5), journal.finished(1, 0.5))
    # two trials in 40 s, so six more in 120
    assert "2:20 elapsed, about 2:00 left" in shown(progress)


def test_no_time_is_left_when_all_trials_are_done(console: Console) -> None:
    progress = Progress(console, trials=1)
    observe(progress, journal.trial(0, [0.5]))
    assert "left" not in shown(progress)


def test_what_an_earlier_start_did_counts_as_done_but_not_as_time(console: Console, clock: Clock) -> None:
    progress = Progress(console, trials=8, clock=clock)
    interrupted = journal.trial_started(4)
    progress.recall([event for number in range(4) for event in journal.trial(number, [0.5])] + interrupted)
    assert written(console) == []
    assert "4 of 8 done " in shown(progress)
    observe(progress, journal.trial_started(4))
    clock.seconds = 30
    observe(progress, journal.finished(4, 0.625))
    view = shown(progress)
    assert "5 of 8 done" in view
    assert "about 1:30 left" in view
    assert "macro-F1 0.625 (trial 4)" in view


def test_a_trial_that_starts_again_runs_once(console: Console) -> None:
    progress = Progress(console, trials=3)
    observe(progress, journal.trial_started(0), journal.trial_started(0))
    assert "1 running" in shown(progress)


def test_progress_stays_in_its_process(console: Console) -> None:
    with pytest.raises(TypeError, match="must stay in the process of its terminal"):
        pickle.dumps(Progress(console, trials=3))


@pytest.mark.parametrize("where", ["console", "terminal"])
def test_a_collapse_is_said_wherever_it_is_watched(where: str, clock: Clock, request: pytest.FixtureRequest) -> None:
    console = request.getfixturevalue(where)
    with Progress(console, trials=3, clock=clock) as progress:
        observe(progress, journal.trial_started(2))
        progress.observe(
            {"event": "pretrain_collapsed", "trial": 2, "key": "k", "epoch": 4, "reason": "z has collapsed"}
        )
    assert any("epoch 4 of pre-training: z has collapsed" in line for line in written(console))


def test_a_warm_start_is_said_with_what_was_left_out_and_why(console: Console, clock: Clock) -> None:
    told = {"event": "warm_started", "study": "last_year", "told": [{}, {}], "other_data": True}
    with Progress(console, trials=3, clock=clock) as progress:
        observe(progress, [{**told, "left_out": {"not complete": 1, "tfc.margin lies outside": 3}}])
        observe(progress, [{**told, "left_out": {}, "other_data": False}])
    assert written(console) == [
        "warm start from last_year: 2 of 6 trials told, left out 1: not complete, 3: tfc.margin lies outside; its "
        "scores are of other labelled windows",
        "warm start from last_year: 2 of 2 trials told",
    ]
