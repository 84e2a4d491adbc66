"""Progress of a study in the terminal: a live view where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, NoReturn, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from aar_ray.report.names import duration, run_name
from aar_ray.report.recordings import recording_lines

Event = Mapping[str, Any]


class Progress:
    """Says where a study stands. A context manager: the live view stands between entry and exit.

    Args:
        console: on a terminal it gets the live view, with failures and baselines as lines above; elsewhere a line for
            each stage, each trial that starts or ends, and each baseline.
        trials: budget of the study; None where only time ends it.
        clock: seconds from any start.
    """

    def __init__(self, console: Console, trials: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._trials = trials
        self._clock = clock
        self._begin = clock()
        self._stage = ""
        self._names: dict[int, str] = {}
        self._running: set[int] = set()
        self._ended: dict[int, str] = {}
        self._best: tuple[float, int] | None = None
        self._first_trial: float | None = None
        self._recalled = 0
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_interactive:
            self._live = Live(get_renderable=self.view, console=self._console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __reduce__(self) -> NoReturn:
        # Ray would pickle whatever a callback holds, and a live view in another process hangs
        raise TypeError("Progress must stay in the process of its terminal; send events to it instead")

    def recall(self, events: Iterable[Event]) -> None:
        """Count what an earlier start of the study did: no lines, and no part of the time per trial."""
        for event in events:
            self._count(event)
        self._running.clear()
        self._recalled = len(self._ended)

    def stage(self, text: str) -> None:
        """The study enters a stage."""
        if text != self._stage:
            self._stage = text
            self._plain(text)

    def observe(self, event: Event) -> None:
        """Take in one event of the journal."""
        self._count(event)
        match event["event"]:
            case "study_started":
                for line in recording_lines(event):
                    self._line(line)
            case "warm_started":
                self._line(_told(event))
            case "trial_started":
                if self._first_trial is None:
                    self._first_trial = self._clock()
                self._plain(f"{self._names[event['trial']]} started")
            case "pretrain_collapsed":
                self._line(f"{self._names[event['trial']]}, epoch {event['epoch']} of pre-training: {event['reason']}")
            case "trial_finished":
                line = f"{self._names.get(event['trial'], run_name(event['trial'], {}))} {_outcome(event)}"
                if event["state"] == "failed":
                    self._line(line)
                else:
                    best = self._best_so_far() and f"best {self._best_so_far()}"
                    self._plain(f"{line}; {', '.join(filter(None, [self._done(), best, self._left()]))}")
            case "baseline_finished":
                self._line(f"baseline {event['name']}: macro-F1 {event['macro_f1']:.3f}")

    def view(self) -> Table:
        """The live view as it is now."""
        view = Table.grid(padding=(0, 2))
        view.add_row("stage", self._stage)
        running = f", {len(self._running)} running" if self._running else ""
        view.add_row("trials", self._done() + running)
        view.add_row("", ProgressBar(total=self._trials, completed=len(self._ended), width=40))
        view.add_row("best", self._best_so_far() or "no trial yet")
        elapsed = f"{duration(self._clock() - self._begin)} elapsed"
        view.add_row("time", ", ".join(filter(None, [elapsed, self._left()])))
        return view

    def _count(self, event: Event) -> None:
        match event["event"]:
            case "trial_started":
                self._names[event["trial"]] = run_name(event["trial"], event["settings"])
                self._running.add(event["trial"])
            case "trial_retried":
                self._ended.pop(event["trial"], None)
                self._running.add(event["trial"])
            case "trial_finished":
                self._running.discard(event["trial"])
                self._ended[event["trial"]] = event["state"]
                score = event["macro_f1"]
                better = self._best is None or (score is not None and score > self._best[0])
                if event["state"] == "complete" and score is not None and better:
                    self._best = score, event["trial"]

    def _done(self) -> str:
        failed = list(self._ended.values()).count("failed")
        of = "" if self._trials is None else f" of {self._trials}"
        return f"{len(self._ended)}{of} done" + (f", {failed} failed" if failed else "")

    def _best_so_far(self) -> str:
        return "" if self._best is None else f"macro-F1 {self._best[0]:.3f} (trial {self._best[1]})"

    def _left(self) -> str:
        """Time left, if the trials to come take as long as those of this start did, as many at once."""
        ended = len(self._ended) - self._recalled
        if self._trials is None or self._first_trial is None or ended == 0 or len(self._ended) >= self._trials:
            return ""
        each = (self._clock() - self._first_trial) / ended
        return f"about {duration(each * (self._trials - len(self._ended)))} left"

    def _plain(self, text: str) -> None:
        """A line that a live view makes superfluous."""
        if not self._console.is_interactive:
            self._line(text)

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _told(event: Event) -> str:
    """What an earlier study told this one's sampler, and what not."""
    told, left_out = len(event["told"]), event["left_out"]
    line = f"warm start from {event['study']}: {told} of {told + sum(left_out.values())} trials told"
    reasons = ", ".join(f"{count}: {reason}" for reason, count in left_out.items())
    line += f", left out {reasons}" if reasons else ""
    return line + ("; its scores are of other labelled windows" if event["other_data"] and told else "")


def _outcome(event: Event) -> str:
    state, score, reason = event["state"], event["macro_f1"], event["reason"]
    details = [f"macro-F1 {score:.3f}" if score is not None else None, reason]
    return ": ".join(filter(None, [state, ", ".join(filter(None, details))]))
