"""How ingest and an epoch scale: over nodes of one processor each, and over the size of the corpus.

    python benchmarks/scale.py nodes     # clusters of 1, 2 and 4 nodes, as many as there are processors to feed
    python benchmarks/scale.py sizes     # ingest of 57,690, 576,897 and 5,768,970 windows (the last takes some 20 min)

`nodes`: on each cluster (ray.cluster_utils, all nodes on this machine) the whole corpus is built by Ray Data from
SIMULATED recordings, pulled by a Ray Train group with one worker a node, and trained on for one epoch by the worker of
a study. The encoder is small (D 16, 1 layer, batch 1024), so that the epoch ends on a processor. `sizes`: two
processors build corpora of several sizes, and one worker pulls each; linear means that the cost a window stays.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent))
import aar_ray.search.cluster  # noqa: F401 - sets what Ray reads when it is imported

os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")

import ray
from ray.cluster_utils import Cluster

from aar_ray.config import dotted, settings_from
from aar_ray.corpus.files import window_files
from aar_ray.corpus.reading import Corpus, read_corpus
from aar_ray.corpus.shards import build_corpus
from aar_ray.search.groups import _run_group
from aar_ray.search.placement import Placement
from aar_ray.store import Store
from aar_ray.training.checkpoint import Progress
from benchmarks.corpus import PAPER_WINDOWS, herds, study_of

NODES = (1, 2, 4)
SIZES = (57_690, PAPER_WINDOWS, 5_768_970)
OBJECT_STORE = 700 * 2**20
SETTINGS = dotted(
    settings_from(
        {
            "patchtst.model_size": 16,
            "patchtst.layers": 1,
            "patchtst.heads": 2,
            "patchtst.feedforward_size": 32,
            "pretrain.batch_size": 1024,
            "pretrain.epochs": 1,
            "pretrain.probe_every": 0,
        }
    )
)


class OneJob:
    """Hands one pre-train out and remembers what its group says: what `Stages` is to a group, without a store."""

    def __init__(self) -> None:
        self.job: dict[str, Any] | None = {"key": "epoch", "settings": SETTINGS, "seed": 0, "resume": None}
        self.said: dict[str, Any] = {}

    def keeps(self, text: str) -> None:
        self.said["kept"] = text

    def take(self, group: str, placed: Any = None) -> dict[str, Any] | None:
        job, self.job = self.job, None
        self.said.setdefault("taken", time.time())
        return job

    def advanced(self, group: str, job: Mapping[str, Any], progress: Progress, files: Mapping[str, bytes]) -> bool:
        self.said["record"] = progress.history[-1]
        return True

    def failed(self, group: str, job: Mapping[str, Any], reason: str, *, again: bool = False) -> None:
        self.said["failed"] = reason

    def all_said(self) -> dict[str, Any]:
        return self.said


@contextmanager
def cluster_of(nodes: int, cpus: int = 1) -> Iterator[None]:
    """A cluster of nodes with so many processors each, all on this machine."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        os.environ["RAY_TMPDIR"] = folder  # where Cluster writes its address; else one that may not be there
        node = {"num_cpus": cpus, "object_store_memory": OBJECT_STORE}
        head = {**node, "include_dashboard": False, "temp_dir": f"{folder}/ray"}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(nodes - 1):
            cluster.add_node(**node)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        try:
            yield
        finally:
            ray.shutdown()
            cluster.shutdown()


def one_epoch(corpus: Corpus, workers: int, scratch: Path) -> dict[str, Any]:
    """A worker group pulls the corpus and trains for an epoch; what it said, and seconds until it could begin."""
    placement = Placement(
        groups=1, workers=workers, worker_cpus=1, worker_gpus=0, fold_cpus=1, fold_gpus=0, trial_slots=1
    )
    service = ray.remote(OneJob).options(num_cpus=0).remote()
    began = time.time()
    ray.get(_run_group.remote("group", placement, read_corpus(corpus), service, corpus, None, str(scratch)))
    said: dict[str, Any] = ray.get(service.all_said.remote())
    if "record" not in said:
        raise RuntimeError(said.get("failed", "the worker group ended without an epoch"))
    return {**said, "pulled": said["taken"] - began}


def over_nodes(windows: int) -> None:
    processors = len(os.sched_getaffinity(0))
    counts = [count for count in NODES if count <= processors]
    print(f"{processors} processors here: clusters of {', '.join(map(str, counts))} node(s) of one processor each")
    for nodes in counts:
        with tempfile.TemporaryDirectory(prefix="scale-") as scratch, cluster_of(nodes):
            corpus = build_corpus(study_of(herds(windows)), Store(Path(scratch) / "store"))
            found = one_epoch(corpus, nodes, Path(scratch))
        record = found["record"]
        waited = 100 * record["waiting_seconds"] / record["seconds"]
        print(
            f"{nodes} node(s): {corpus.windows:,} SIMULATED windows built in {corpus.seconds:.1f} s, group up and "
            f"shard pulled in {found['pulled']:.1f} s, epoch of {nodes} worker(s) in {record['seconds']:.1f} s "
            f"({corpus.windows / record['seconds']:,.0f} windows/s), {waited:.2f} % of it waiting for data"
        )
        print(f"  {found['kept']}", flush=True)


def over_sizes(sizes: list[int]) -> None:
    for windows in sizes:
        with tempfile.TemporaryDirectory(prefix="scale-") as scratch, cluster_of(1, cpus=2):
            corpus = build_corpus(study_of(herds(windows)), Store(Path(scratch) / "store"))
            size = sum(file.stat().st_size for file in window_files(corpus.folder))
            # the group reads what it can from the corpus' files; the shard of Ray Data is read here
            began = time.perf_counter()
            counted = sum(len(batch["source"]) for batch in read_corpus(corpus).iter_batches(batch_size=8192))
            pulled = time.perf_counter() - began
            assert counted == corpus.windows
        print(
            f"{corpus.windows:9,} SIMULATED windows, {size / 2**20:6,.0f} MiB: built in {corpus.seconds:7.1f} s "
            f"({1e6 * corpus.seconds / corpus.windows:.0f} us a window), read through Ray Data in {pulled:6.1f} s "
            f"({1e6 * pulled / corpus.windows:.0f} us a window)",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["nodes", "sizes"])
    parser.add_argument("--windows", type=int, default=PAPER_WINDOWS, help="of the corpus (nodes)")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="of the corpora (sizes)")
    options = parser.parse_args()
    if options.what == "nodes":
        over_nodes(options.windows)
    else:
        over_sizes(options.sizes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
