"""How long a study of 1,000 trials keeps a reader waiting: its report, and the HParams table of its TensorBoard.

    python benchmarks/thousand_trials.py [--trials 1000]

The journal is made up: it is about time, not about behaviour. HParams is timed as a browser asks for it, from the start
of a TensorBoard that finds the finished board on disk to the whole table, and once more while that TensorBoard runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from tensorboard.program import TensorBoard

from aar_ray.report.page import write_report
from aar_ray.report.tensorboard import rebuild

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import fake_journal

MOST_SECONDS = 120
STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]


def rows(address: str, trials: int) -> int:
    """Trials in the HParams table that a TensorBoard serves."""
    body = json.dumps({"startIndex": 0, "sliceSize": trials + 99, "allowedStatuses": STATUSES}).encode()
    request = urllib.request.Request(
        f"{address}data/plugin/hparams/session_groups", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as reply:
        groups: list[Any] = json.loads(reply.read())["sessionGroups"]
    return len(groups)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "thousand"
        folder.mkdir()
        events = fake_journal.searched_study(trials)
        (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        clock = time.perf_counter()
        write_report(folder)
        print(f"report of {trials} trials: {time.perf_counter() - clock:.1f} s")
        clock = time.perf_counter()
        rebuild(folder / "tensorboard", events).close()
        print(f"board drawn from nothing: {time.perf_counter() - clock:.1f} s")
        clock = time.perf_counter()
        rebuild(folder / "tensorboard", events).close()
        print(f"board of a study that goes on: {time.perf_counter() - clock:.1f} s")
        board = TensorBoard()
        board.configure(argv=["", f"--logdir={folder / 'tensorboard'}", "--host=127.0.0.1", "--port=0"])
        clock = time.perf_counter()
        address = board.launch()
        # it reads in the background: a browser that asks early is shown fewer rows
        while (found := rows(address, trials)) < trials and time.perf_counter() - clock < MOST_SECONDS:
            time.sleep(0.2)
        print(f"HParams, from TensorBoard's start to {found} rows: {time.perf_counter() - clock:.1f} s")
        clock = time.perf_counter()
        rows(address, trials)
        print(f"HParams, asked again: {time.perf_counter() - clock:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
