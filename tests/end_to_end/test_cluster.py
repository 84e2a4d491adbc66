"""The study on a cluster of three nodes, whose head has trial slots and no processor; and what a study leaves behind.

Each runs in a process of its own, beside the cluster that the other tests share.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from small_study import small_study

from aar_ray.search.journal import read_events
from aar_ray.study_file.loader import save_study

ROOT = Path(__file__).parents[2]
MARK = "AAR_TEST_RUN"

ON_A_CLUSTER = """
import os
import sys
from aar_ray.study import main
from ray.cluster_utils import Cluster

if __name__ == "__main__":
    file, results, temporary = sys.argv[1:]
    # where Cluster writes its address; else a folder that may not be there, and that all Rays of a machine share
    os.environ["RAY_TMPDIR"] = temporary
    head = {"num_cpus": 0, "resources": {"trial_slot": 4}, "include_dashboard": False, "temp_dir": temporary + "/ray"}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    on_it = [file, "--results", results, "--address", cluster.address]
    statuses = [main([*on_it, "--set", "resources.pretrain.cpus_per_worker=2"]), main(on_it)]
    cluster.shutdown()
    print("statuses", *statuses)
"""


@pytest.fixture
def mark() -> Iterator[str]:
    """Value of an environment variable that all processes of a test inherit; what is left of them ends with it."""
    value = uuid.uuid4().hex
    yield value
    for process in marked(value):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    shutil.rmtree(ray_folder(value), ignore_errors=True)


def ray_folder(value: str) -> Path:
    """Of Ray's sockets and logs; short, since a socket's path is limited to 107 bytes."""
    return Path("/tmp") / f"aar{value[:8]}"


def marked(value: str) -> list[int]:
    """Processes with the mark in their environment."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{MARK}={value}".encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
    return found


def outlive(value: str, seconds: float) -> list[int]:
    """Processes with the mark that do not end within some seconds."""
    still = []
    for process in marked(value):
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(process)
            # readable when the process has ended
            if not select.select([handle], [], [], seconds)[0]:
                still.append(process)
            os.close(handle)
    return still


def start(mark: str, *command: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", MARK: mark}
    return subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def study_file(folder: Path) -> Path:
    file = folder / "small.yaml"
    save_study(small_study(store=str(folder / "store")), file)
    return file


def test_a_study_runs_on_three_nodes_and_what_does_not_fit_is_refused(tmp_path: Path, mark: str) -> None:
    script = tmp_path / "on_a_cluster.py"
    script.write_text(ON_A_CLUSTER)
    running = start(mark, str(script), str(study_file(tmp_path)), str(tmp_path / "results"), str(ray_folder(mark)))
    printed, _ = running.communicate(timeout=400)
    assert running.returncode == 0, printed
    assert printed.splitlines()[-1] == "statuses 1 0", printed
    assert (
        "1 group(s) of 1 worker(s) with 2 CPU, 0 GPU each and a fine-tuning task with 1 CPU, 0 GPU beside them; "
        "the nodes have" in printed
    )
    ranking = pd.read_csv(tmp_path / "results" / "small" / "ranking.csv")
    assert ranking["rank"].tolist() == [1, 2, 3, 4]
    assert sorted(ranking["trial"]) == [0, 1, 2, 3]
    assert outlive(mark, seconds=30) == []


def test_a_terminated_study_ends_and_keeps_what_it_has(tmp_path: Path, mark: str) -> None:
    running = start(mark, "-m", "aar_ray.study", str(study_file(tmp_path)), "--results", str(tmp_path / "results"))
    assert running.stdout is not None
    for line in running.stdout:
        if "trial-000" in line:
            break
    running.send_signal(signal.SIGTERM)
    printed = running.communicate(timeout=120)[0]
    assert running.returncode == 130, printed
    assert "stopped; the same command goes on" in printed
    assert "Traceback" not in printed
    events = [event["event"] for event in read_events(tmp_path / "results" / "small" / "journal.jsonl")]
    assert events[:2] == ["study_started", "trial_started"]
    assert "study_finished" not in events
    assert outlive(mark, seconds=30) == []
