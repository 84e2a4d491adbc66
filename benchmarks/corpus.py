"""How fast and in how little memory a corpus is built and read, beside the plain tools.

    python benchmarks/corpus.py resample     # 100 Hz files to 25 Hz windows, against a loop of pandas and scipy
    python benchmarks/corpus.py build        # 576,897 windows of SIMULATED raw recordings; --windows N for more
    python benchmarks/corpus.py read         # the corpus to one tensor against numpy.load, and an epoch over it

Each prints its numbers. Ratios are medians over rounds in which both sides take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import ray
import torch
from scipy.signal import resample_poly

from aar_ray.config import SimulatedSource, Study
from aar_ray.corpus.files import read_windows, window_files
from aar_ray.corpus.parts import parts
from aar_ray.corpus.readers import read
from aar_ray.corpus.reading import Corpus
from aar_ray.corpus.resample import filter_for
from aar_ray.corpus.shards import build_corpus
from aar_ray.corpus.stretches import Findings
from aar_ray.store import Store

PAPER_WINDOWS = 576_897
ROUNDS = 5
HORSES = 8
OBJECT_STORE = 300 * 2**20
GOATS = {"name": "goats", "reader": "simulated", "species": "goat", "animals": 5, "minutes_per_animal": 1.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["resample", "build", "read"])
    parser.add_argument("--windows", type=int, default=PAPER_WINDOWS, help="windows of the corpus (build, read)")
    parser.add_argument("--minutes", type=float, default=240.0, help="length of each 100 Hz recording (resample)")
    parser.add_argument("--folder", help="where to build; a folder that is removed afterwards if not given")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="corpus-") as scratch, cluster():
        folder = Path(options.folder or scratch)
        if options.what == "resample":
            resample_benchmark(folder, options.minutes)
        elif options.what == "build":
            build_benchmark(folder, options.windows)
        else:
            read_benchmark(folder, options.windows)
    return 0


@contextmanager
def cluster() -> Iterator[None]:
    """Ray on two processors."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            logging_level="error",
            log_to_driver=False,
            object_store_memory=OBJECT_STORE,
            _temp_dir=folder,
        )
        try:
            yield
        finally:
            ray.shutdown()


class Memory:
    """Largest memory of this process and all that it started, proportional set sizes added up, read twice a second."""

    def __init__(self) -> None:
        self.most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._over.wait(0.5):
            together = 0
            for process in [own, *own.children(recursive=True)]:
                try:
                    together += process.memory_full_info().pss
                except psutil.Error:
                    continue  # it has ended
            self.most = max(self.most, together)


def in_turns(*sides: Callable[[], Any]) -> list[list[float]]:
    """Seconds of each side in each round, after one round that is not counted."""
    seconds: list[list[float]] = [[] for _ in sides]
    for number in range(ROUNDS + 1):
        for side, taken in zip(sides, seconds, strict=True):
            began = time.perf_counter()
            side()
            if number:
                taken.append(time.perf_counter() - began)
    return seconds


def study_of(unlabelled: list[dict[str, Any]]) -> Study:
    """A study with this corpus; nothing else of it is used."""
    return Study.model_validate(
        {
            "name": "benchmark",
            "data": {"unlabelled": unlabelled, "labelled": GOATS},
            "search": {"tfc.margin": {"uniform": [0.1, 1.0]}},
            "budget": {"trials": 1},
        }
    )


# --- 100 Hz to 25 Hz ---------------------------------------------------------------------------------------------


def resample_benchmark(folder: Path, minutes: float) -> None:
    """Files of horses at 100 Hz to windows at 25 Hz, against a loop of pandas and scipy in one process."""
    for kind in ("csv", "parquet"):
        (folder / kind).mkdir(parents=True)
    horses = SimulatedSource(
        name="horse", reader="simulated", species="horse", animals=HORSES, minutes_per_animal=minutes
    )
    for part in parts(horses, 0):
        samples = np.concatenate([one.samples for one in read(part, Findings())]).round(5)
        table = pa.table({"time": np.arange(len(samples)) / 100, **dict(zip("xyz", samples.T, strict=True))})
        pa.csv.write_csv(table, folder / "csv" / f"{part.name}.csv", pa.csv.WriteOptions(quoting_style="none"))
        pq.write_table(table, folder / "parquet" / f"{part.name}.parquet")
    for kind in ("csv", "parquet"):
        _resample_benchmark(folder / kind, kind, minutes)


def _resample_benchmark(raw: Path, kind: str, minutes: float) -> None:
    source = {
        "name": "horses",
        "reader": kind,
        "path": str(raw),
        "species": "horse",
        "rate_hz": 100.0,
        "unit": "g",
        "columns": {"time": "time"},
    }
    study = study_of([source])
    looped: list[np.ndarray] = []
    built: list[Corpus] = []

    def loop() -> None:
        looped[:] = [plain_loop(raw)]

    def ours() -> None:
        with tempfile.TemporaryDirectory(dir=raw.parent) as store:
            built[:] = [build_corpus(study, Store(store))]
            windows[:] = [read_windows(window_files(built[0].folder))]

    windows: list[np.ndarray] = []
    plain, rays = in_turns(loop, ours)
    first, second = (in_one_order(each[0]) for each in (looped, windows))
    assert first.shape == second.shape
    difference = float(np.abs(first - second).max())
    assert difference <= 1e-5, difference
    ratio = statistics.median(a / b for a, b in zip(plain, rays, strict=True))
    print(
        f"{len(first):,} windows from {HORSES} {kind} files of {minutes:g} minutes at 100 Hz; "
        f"largest difference {difference:.1e}"
    )
    print(
        f"plain loop {statistics.median(plain):.2f} s, here {statistics.median(rays):.2f} s: {ratio:.2f} times as fast"
    )


def plain_loop(raw: Path) -> np.ndarray:
    """What one would write first: read, scale, filter and decimate each axis, cut window by window, shuffle."""
    found = []
    taps = filter_for(100.0, 25.0)
    for file in sorted(raw.iterdir()):
        table = pd.read_csv(file) if file.suffix == ".csv" else pd.read_parquet(file)
        axes = [
            resample_poly(table[axis].to_numpy(), 1, 4, window=taps, padtype="antireflect") for axis in ("x", "y", "z")
        ]
        signal = np.stack(axes)
        for start in range(0, signal.shape[1] - 49, 50):
            found.append(signal[:, start : start + 50].astype(np.float32))
    windows = np.stack(found)
    order = np.random.default_rng(0).permutation(len(windows))
    return windows[order]


def in_one_order(windows: np.ndarray) -> np.ndarray:
    """Windows sorted by their values."""
    flat = windows.reshape(len(windows), -1)
    return flat[np.lexsort(flat[:, :6].round(4).T)]


# --- building ----------------------------------------------------------------------------------------------------


def herds(windows: int) -> list[dict[str, Any]]:
    """Cattle at 25 Hz, sheep at 12.5 Hz and horses at 100 Hz, with so many windows of 2 s together."""
    shares = {"cattle": windows // 3, "sheep": windows // 3}
    shares["horse"] = windows - sum(shares.values())
    found = []
    for species, count in shares.items():
        animals = max(4, count // 20_000)
        for name, number, each in ((species, animals - 1, count // animals), (f"{species}-last", 1, 0)):
            own = each or count - (animals - 1) * (count // animals)
            found.append(
                {
                    "name": name,
                    "reader": "simulated",
                    "species": species,
                    "animals": number,
                    "minutes_per_animal": own * 2 / 60,
                }
            )
    return found


def build_benchmark(folder: Path, windows: int) -> Corpus:
    """Build the corpus and say how long it took and how much memory all processes had at most."""
    study = study_of(herds(windows))
    idle = Memory()
    with idle:
        time.sleep(2)
    said = [time.monotonic()]

    def say(text: str) -> None:
        if time.monotonic() > said[0] + 20:
            said[0] = time.monotonic()
            print(f"  {text}", file=sys.stderr, flush=True)

    with Memory() as memory:
        corpus = build_corpus(study, Store(folder / "store"), say)
    size = sum(file.stat().st_size for file in window_files(corpus.folder))
    print(
        f"SIMULATED: {corpus.windows:,} windows ({size / 2**20:,.0f} MiB) in {corpus.seconds:.0f} s, at most "
        f"{memory.most / 2**30:.2f} GiB in all processes together ({idle.most / 2**30:.2f} GiB before it began)"
    )
    share = simulator_seconds(study, windows)
    print(f"of two processors' {2 * corpus.seconds:.0f} s, making the raw recordings takes about {share:.0f} s")
    return corpus


def simulator_seconds(study: Study, windows: int) -> float:
    """Processor seconds that the simulator alone takes for so many windows, from twenty minutes of each herd."""
    total = 0.0
    for source in study.data.unlabelled:
        assert isinstance(source, SimulatedSource)
        part = parts(source.model_copy(update={"animals": 1, "minutes_per_animal": 20.0}), 0)[0]
        began = time.process_time()
        list(read(part, Findings()))
        total += (time.process_time() - began) * source.animals * source.minutes_per_animal / 20
    return total


# --- reading -----------------------------------------------------------------------------------------------------


def read_benchmark(folder: Path, windows: int) -> None:
    """From the files to one float32 tensor, against numpy.load of the same bytes; then an epoch over it."""
    corpus = build_corpus(study_of(herds(windows)), Store(folder / "store"))
    files = window_files(corpus.folder)
    together = read_windows(files)
    plain = folder / "windows.npy"
    np.save(plain, together)
    assert np.array_equal(np.load(plain), torch.from_numpy(read_windows(files)).numpy())
    loads, reads = in_turns(lambda: torch.from_numpy(np.load(plain)), lambda: torch.from_numpy(read_windows(files)))
    ratio = statistics.median(b / a for a, b in zip(loads, reads, strict=True))
    print(f"{corpus.windows:,} windows, {together.nbytes / 2**20:,.0f} MiB, {len(files)} files")
    print(f"numpy.load {statistics.median(loads):.3f} s, here {statistics.median(reads):.3f} s: {ratio:.2f} times")
    resident, in_memory = torch.from_numpy(read_windows(files)), torch.from_numpy(np.load(plain))
    first, second = in_turns(lambda: epoch(in_memory), lambda: epoch(resident))
    ratio = statistics.median(b / a for a, b in zip(first, second, strict=True))
    print(f"epoch: plain {statistics.median(first):.3f} s, here {statistics.median(second):.3f} s: {ratio:.2f} times")


def epoch(windows: torch.Tensor) -> float:
    """Batches of 256 in random order, each looked at once."""
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
    return float(sum(windows[batch].sum() for batch in order.split(256)))


if __name__ == "__main__":
    sys.exit(main())
