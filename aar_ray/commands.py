"""What the command line does with a study: run it, plan it, run a trial again, unseal its test animals.

What takes long to import is imported where it is used, after what may refuse; meanwhile Ray comes up in a process of
its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from aar_ray.config import Study
from aar_ray.console import wide_console
from aar_ray.imports import uncollected
from aar_ray.report.progress import Progress
from aar_ray.search.artifacts import NO_SPACE
from aar_ray.search.budget import check_budget
from aar_ray.search.cluster import cluster
from aar_ray.search.garbage import remember
from aar_ray.search.head import Head
from aar_ray.search.journal import Event, Journal, has_begun, read_events, refuse_after_unsealing
from aar_ray.search.placement import Placement
from aar_ray.search.processes import warm_for_groups
from aar_ray.search.warm_start import find_earlier
from aar_ray.store import Store
from aar_ray.study_file.loader import load_study, save_study


def run(
    study: Study, results: Path, where: str | Head | None, *, resume: bool = False, retry_failed: bool = False
) -> int:
    """Run a study in `results/<its name>` on the cluster at an address, or on this machine's when it is up.

    Returns the exit status.
    """
    folder = results / study.name
    journal = _open(study, folder, resume or retry_failed)
    console = wide_console()
    try:
        refuse_after_unsealing(journal.events)
        with uncollected():
            # these take seconds, in which Ray comes up
            import aar_ray.report.tensorboard
            import aar_ray.search.engine  # noqa: F401
        with Progress(console, study.planned_trials) as progress, cluster(study.resources, where) as placement:
            check_budget(study.budget, placement)
            warm_for_groups(placement)
            finished = _run(study, placement, journal, progress, folder, retry_failed=retry_failed)
    finally:
        _close(journal, folder)
    if not finished:
        raise KeyboardInterrupt
    return _print(study, journal, folder, console)


def _run(
    study: Study, placement: Placement, journal: Journal, progress: Progress, folder: Path, *, retry_failed: bool
) -> bool:
    """Run a study on a cluster that is there; returns whether it came to its end."""
    from aar_ray.search.engine import run_study

    with _derived(folder, journal, Path(study.store)) as draw, _terminated_as_interrupted():
        progress.recall(journal.events)

        def observe(event: Event) -> None:
            draw(event)
            progress.observe(event)

        return run_study(study, placement, journal, observe, progress.stage, retry_failed=retry_failed)


def _print(study: Study, journal: Journal, folder: Path, console: Console) -> int:
    """Print what a finished study came to, draw its report and say where it is; returns the exit status."""
    from aar_ray.report.arms import arms_table, draw_arms
    from aar_ray.report.page import write_report
    from aar_ray.report.table import ranked_table
    from aar_ray.search.ranking import arms, baselines, rank

    ranking = rank(journal.events)
    console.print(ranked_table(ranking, baselines(journal.events), study.simulated))
    compared = arms(journal.events) if study.arms else None
    if compared is not None and len(compared):
        console.print(arms_table(compared, study.simulated))
        draw_arms(compared, study.simulated, folder / "arms.svg")
        console.print(f"figure: {folder / 'arms.svg'}", markup=False)
    console.print(f"tensorboard --logdir {folder / 'tensorboard'}", markup=False)
    console.print(f"report: {write_report(folder)}", markup=False)
    return 0 if (ranking["state"] == "complete").any() else 1


def unseal_study(study: Study, results: Path) -> int:
    """Score a finished study's models on its test animals, once; returns the exit status."""
    from aar_ray.report.page import write_report
    from aar_ray.report.table import sealed_table
    from aar_ray.search.unseal import ready, unseal

    folder = results / study.name
    # before anything is written
    ready(study, list(read_events(folder / "journal.jsonl")))
    journal = _open(study, folder, resume=True)
    try:
        event = unseal(study, journal.events, journal.append)
    finally:
        journal.close()
    console = Console()
    console.print(sealed_table(event, study.simulated))
    console.print(f"report: {write_report(folder)}", markup=False)
    return 0


def plan(study: Study, results: Path, where: str | Head | None) -> int:
    """Say what a study would do and cost, and write it into its journal; returns the exit status."""
    from aar_ray.search.plan import make_plan, plan_lines
    from aar_ray.search.precision import settle_precision
    from aar_ray.search.prepared import prepare

    folder = results / study.name
    journal = _open(study, folder, resume=False)
    console = wide_console()
    try:
        with Progress(console, study.planned_trials) as progress, cluster(study.resources, where) as placement:
            check_budget(study.budget, placement)
            progress.stage("building the corpus")
            store = Store(study.store)
            remember(store, journal.path)
            study = settle_precision(study, placement, progress.stage)
            fields = make_plan(prepare(study, placement, store), journal.events, store, progress.stage)
        journal.append("planned", **fields)
    finally:
        _close(journal, folder)
    for line in plan_lines(fields, study.name):
        console.print(line, markup=False, highlight=False)
    return 0


def again(study: Study, results: Path, number: int, where: str | Head | None) -> int:
    """Run one trial again and say whether it came to the same; returns the exit status, 0 where it did."""
    from aar_ray.search.rerun import rerun_trial

    journal = _open(study, results / study.name, resume=True)
    console = wide_console()
    try:
        with Progress(console, 1) as progress, cluster(study.resources, where) as placement:
            differences = rerun_trial(study, placement, journal.events, number, progress.stage)
    finally:
        journal.close()
    for line in differences:
        console.print(line, markup=False, highlight=False)
    if differences:
        console.print(f"trial {number} differs from its first run in {len(differences)} values")
        return 1
    console.print(f"trial {number} is equal to its first run, to the bit")
    return 0


@contextmanager
def _derived(folder: Path, journal: Journal, store: Path) -> Iterator[Callable[[Event], None]]:
    """Keep beside the journal what is derived from it: yields what draws an event, and ends with the ranking.

    On a full disk the study's own error is the one to be heard.
    """
    from aar_ray.report.tensorboard import rebuild
    from aar_ray.search.ranking import rank, write_ranking

    board = rebuild(folder / "tensorboard", journal.events, store)

    def draw(event: Event) -> None:
        try:
            board.observe(event)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}; the same command goes on", str(board.folder)) from error

    def end() -> None:
        board.close()
        if has_begun(journal.events):
            write_ranking(rank(journal.events), folder / "ranking.csv")
        else:
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)

    with _threads_of_the_board():
        try:
            yield draw
        except BaseException:
            with suppress(OSError):
                end()
            raise
        end()


@contextmanager
def _threads_of_the_board() -> Iterator[None]:
    """TensorBoard writes in a thread, which prints its error before the next event raises it."""
    earlier = threading.excepthook

    def said_later(arguments: threading.ExceptHookArgs) -> None:
        if not (isinstance(arguments.exc_value, OSError) and arguments.exc_value.errno in NO_SPACE):
            earlier(arguments)

    threading.excepthook = said_later
    try:
        yield
    finally:
        threading.excepthook = earlier


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM would save nothing; as SIGINT it lets Ray Tune stop its trials.

    To be entered after Ray was started, which puts a handler of its own in place.
    """
    earlier = signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier or signal.SIG_DFL)


def _open(study: Study, folder: Path, resume: bool) -> Journal:
    """The study's journal, once it is certain that it is this study's."""
    before = folder / "study.yaml"
    if resume and not has_begun(read_events(folder / "journal.jsonl")):
        raise ValueError(
            "--resume, --retry-failed and --trial go on with an earlier run, and there is none in "
            f"{folder}; leave them out"
        )
    journal = Journal(folder / "journal.jsonl")
    try:
        # a plan, and a start that failed before its first event, bind nobody
        if has_begun(journal.events) and before.is_file():
            _same_study(study, load_study(before), folder)
        find_earlier(study, folder.parent, journal.events)
        save_study(study, before)
    except BaseException:
        journal.close()
        raise
    return journal


def _close(journal: Journal, folder: Path) -> None:
    """Close the journal; where nothing was begun nothing stays that a corrected study file would meet."""
    if not journal.events:
        (folder / "study.yaml").unlink(missing_ok=True)
    journal.close()


def _same_study(study: Study, earlier: Study, folder: Path) -> None:
    """A study goes on with another budget, more seeds or other machines, but not as another study."""
    changeable = {"budget", "seeds", "confirm", "resources"}
    now, then = (each.model_dump(exclude=changeable) for each in (study, earlier))
    differing = [name for name in now if now[name] != then[name]]
    if differing:
        raise ValueError(
            f"{folder} holds a study of this name with another {', '.join(differing)}; "
            "give the study another name, or remove the folder"
        )
