"""What survives: a small study whose processes are killed at random moments, against one that nobody disturbs.

    python benchmarks/resume.py [--kills 30] [--seed 0]

Kills by turns the driver, a Ray Train worker and the actor that makes the stages (SIGKILL, only processes that the
benchmark's own study has started), each after a random time; a killed driver is started again with the same command. A
study that ends before all kills are done is followed by another one with nothing made before. Counted are finished
trials that were lost or run twice, artifacts made twice, epochs of pre-training done again after the journal had them,
and rankings that differ from the undisturbed one.

    SIMULATED animals: it is about what survives, not about behaviour.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from plain_stages import ROOT, tiny_study
from rich.console import Console
from rich.table import Table

from aar_ray.config import Study
from aar_ray.search.artifacts import PROGRESS
from aar_ray.search.journal import Event, read_events
from aar_ray.study_file.loader import save_study

KINDS = {"driver": "", "worker": "ray::RayTrainWorker", "service": "ray::Stages"}
"""What is killed, and how its process is named."""

MOST_SECONDS = {"driver": 30.0, "worker": 8.0, "service": 8.0}
"""From the time that a process is there up to this is waited before it is killed; a driver trains nothing at first."""

MEASURED = ["seconds_pretrain", "seconds_finetune", "encoder_cached", "pareto"]
"""Columns of a ranking that differ from run to run: measured seconds, and the front that they span with the scores."""


def small_study(folder: Path) -> Study:
    """Eight trials on four encoders of a tiny network, and the best two once more."""
    return tiny_study(
        folder,
        name="resumed",
        sampler={"startup_trials": 3, "trials_per_encoder": 2},
        budget={"trials": 8},
        confirm={"best": 2, "seeds": 1},
        fixed={"pretrain.epochs": 16},
    )


class Run:
    """One study in a folder of its own, started as often as its driver is killed."""

    def __init__(self, study: Study, folder: Path) -> None:
        self.folder, self.results = folder, folder / "results" / study.name
        folder.mkdir(parents=True, exist_ok=True)
        save_study(study, folder / "study.yaml")
        self.driver: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        """Give the command, once more."""
        self.starts += 1
        with (self.folder / f"printed-{self.starts}.txt").open("wb") as printed:
            self.driver = subprocess.Popen(
                [sys.executable, "-m", "aar_ray.study", "study.yaml", "--results", "results"],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ended(self) -> bool:
        """Whether the study came to its end; a driver that stopped by itself without reaching it is an error."""
        assert self.driver is not None
        if self.driver.poll() is None:
            return False
        if self.driver.returncode != 0:
            raise RuntimeError((self.folder / f"printed-{self.starts}.txt").read_text())
        return True

    def target(self, kind: str) -> int | None:
        """A process of the study to kill; None where there is none now."""
        assert self.driver is not None
        if kind == "driver":
            return self.driver.pid
        found = [pid for pid in descendants(self.driver.pid) if title(pid).startswith(KINDS[kind])]
        return found[0] if found else None

    @property
    def events(self) -> list[Event]:
        return list(read_events(self.results / "journal.jsonl"))

    @property
    def ranking(self) -> pd.DataFrame:
        return pd.read_csv(self.results / "ranking.csv").drop(columns=MEASURED, errors="ignore")

    def artifacts(self) -> dict[str, int]:
        """Of each artifact when it was published."""
        store = self.folder / "store"
        return {
            str(path.parent.relative_to(store)): path.stat().st_mtime_ns for path in store.glob("*/*/made_from.json")
        }


@dataclass
class Outcome:
    """What was counted over all studies."""

    kills: Counter[str] = field(default_factory=Counter)
    studies: int = 0
    trials: int = 0
    lost: int = 0
    twice: int = 0
    remade: int = 0
    epochs: int = 0
    epochs_again: int = 0
    other_rankings: int = 0


def disturb(run: Run, kinds: list[str], draw: random.Random, outcome: Outcome) -> None:
    """Run a study to its end, killing one kind of process after another."""
    run.start()
    seen: list[tuple[list[Event], dict[str, int]]] = []
    while not run.ended():
        if not kinds:
            time.sleep(0.1)
            continue
        kind = kinds[0]
        while not run.ended() and run.target(kind) is None:
            time.sleep(0.05)
        until = time.monotonic() + draw.uniform(0, MOST_SECONDS[kind])
        while not run.ended() and time.monotonic() < until:
            time.sleep(0.05)
        if run.ended():
            break
        target = run.target(kind)
        if target is None:
            continue
        family = descendants(target) if kind == "driver" else []
        os.kill(target, signal.SIGKILL)
        kinds.pop(0)
        outcome.kills[kind] += 1
        if kind == "driver":
            assert run.driver is not None
            run.driver.wait()
            seen.append((run.events, run.artifacts()))
            run.start()
            # its cluster ends by itself while the next start is under way; what does not is ended here
            bury(family, seconds=20)
    count(run, seen, outcome)


def count(run: Run, seen: list[tuple[list[Event], dict[str, int]]], outcome: Outcome) -> None:
    """Compare what a study came to with what it had at each kill of its driver."""
    events, artifacts = run.events, run.artifacts()
    ends = Counter(event["trial"] for event in events if event["event"] == "trial_finished")
    folds = Counter((event["trial"], event["fold"]) for event in events if event["event"] == "fold_finished")
    outcome.studies += 1
    outcome.trials += len(ends)
    outcome.twice += sum(number > 1 for number in (*ends.values(), *folds.values()))
    for earlier, published in seen:
        outcome.lost += sum(event not in events for event in earlier if event["event"] == "trial_finished")
        outcome.remade += sum(artifacts.get(name) != when for name, when in published.items())
    outcome.lost += sum(event["trial"] not in ends for event in events if event["event"] == "trial_started")
    for event in events:
        if event["event"] == "pretrain_epoch":
            stored = run.folder / "store" / "pretrain" / event["key"] / PROGRESS
            record = json.loads(stored.read_text())["history"][event["epoch"] - 1]
            outcome.epochs += 1
            # an epoch that was done again took another time
            outcome.epochs_again += record["seconds"] != event["metrics"]["seconds"]


def differences(one: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """Columns in which two rankings differ; all of them where they have other rows."""
    if one.shape != other.shape or list(one.columns) != list(other.columns):
        return [*one.columns]
    return [name for name in one.columns if not one[name].equals(other[name])]


def descendants(pid: int) -> list[int]:
    """Processes below a process, its children first."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # the name, in brackets, may hold anything
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, new = [], children.get(pid, [])
    while new:
        found += new
        new = [child for parent in new for child in children.get(parent, [])]
    return found


def title(pid: int) -> str:
    """What a process calls itself."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def bury(family: list[int], seconds: float) -> None:
    """Wait for the end of processes of ours whose driver was killed; end those that linger."""
    handles = []
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            handles.append(os.pidfd_open(pid))
    until = time.monotonic() + seconds
    for handle in handles:
        while not _over(handle) and time.monotonic() < until:
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)


def _over(handle: int) -> bool:
    try:
        signal.pidfd_send_signal(handle, 0)
    except ProcessLookupError:
        return True
    return False


@contextlib.contextmanager
def ending(run: Run) -> Iterator[Run]:
    """A run of which no process is left after the block."""
    try:
        yield run
    finally:
        if run.driver is not None and run.driver.poll() is None:
            family = descendants(run.driver.pid)
            run.driver.kill()
            run.driver.wait()
            bury(family, seconds=20)


def benchmark(kills: int, seed: int, folder: Path, say: Any = print) -> Outcome:
    """One undisturbed study, and as many disturbed ones as the kills take."""
    began = time.monotonic()
    draw, outcome = random.Random(seed), Outcome()
    kinds = [list(KINDS)[number % len(KINDS)] for number in range(kills)]
    with ending(Run(small_study(folder / "calm"), folder / "calm")) as calm:
        disturb(calm, [], draw, Outcome())
    say(f"{time.monotonic() - began:.0f} s: the undisturbed study has ended")
    while kinds:
        name = f"disturbed-{outcome.studies}"
        with ending(Run(small_study(folder / name), folder / name)) as run:
            disturb(run, kinds, draw, outcome)
        if differing := differences(run.ranking, calm.ranking):
            outcome.other_rankings += 1
            say(f"{name}: its ranking differs in {', '.join(differing)}")
        say(f"{time.monotonic() - began:.0f} s: {dict(outcome.kills)}, {outcome.studies} studies")
    return outcome


def main() -> int:
    """Run the benchmark and print its table; the exit status is 1 where anything was lost, done twice or changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep results here (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aar") as temporary:
        outcome = benchmark(options.kills, options.seed, options.folder or Path(temporary))
    kills = ", ".join(f"{number} {kind}" for kind, number in outcome.kills.items())
    table = Table("", "", title="Kills of a small study (SIMULATED)", show_header=False)
    table.add_row("kills", f"{sum(outcome.kills.values())} ({kills}) over {outcome.studies} studies")
    table.add_row("trials that ended", str(outcome.trials))
    table.add_row("lost", str(outcome.lost))
    table.add_row("run twice", str(outcome.twice))
    table.add_row("artifacts made twice", str(outcome.remade))
    table.add_row("journalled epochs done again", f"{outcome.epochs_again} of {outcome.epochs}")
    table.add_row("rankings other than the undisturbed one", f"{outcome.other_rankings} of {outcome.studies}")
    Console(width=100).print(table)
    return int(any((outcome.lost, outcome.twice, outcome.remade, outcome.other_rankings)))


if __name__ == "__main__":
    sys.exit(main())
