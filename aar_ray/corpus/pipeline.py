"""The corpus by Ray Data: every node reads, resamples and cuts; this one deals, shuffles and writes.

The windows stream through: no process holds more than some thousand of them, however many there are. They are written
where the store is, on a cluster of any size, and in an order that no cluster changes.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from numpy.typing import NDArray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aar_ray.config import Data, SimulatedSource, Study
from aar_ray.corpus.deal import Bucket, Dealer, draw_orders, read_buckets
from aar_ray.corpus.files import GROUP_ROWS, window_table, write_windows
from aar_ray.corpus.harvest import Harvest, ReadBatch, read_batches, windows_of
from aar_ray.corpus.parts import Part
from aar_ray.corpus.reading import be_quiet
from aar_ray.corpus.recording import InputError
from aar_ray.corpus.summary import Summary, Sums, sums_of
from aar_ray.seeds import stream

BLOCK_BYTES = 16 * 2**20
"""Of windows on their way from a task to this process."""
READER_BYTES = 32 * 2**20
"""Of recordings for each process that reads them here: to start one more takes as long as to read so many."""
SIMULATED_BYTES = 60 * 100 * 3 * 4
"""Of a simulated minute."""
SAID_SECONDS = 2.0
"""Between two words of progress."""
DEALT = ".dealt"
Say = Callable[[str], None]


def seen_of(file: str) -> tuple[int, int]:
    """Size and time of change: that it is the file which was hashed."""
    about = os.stat(file)
    return about.st_size, about.st_mtime_ns


def write_corpus(
    parts: tuple[Part, ...],
    seen: Mapping[str, tuple[int, int]],
    study: Study,
    folder: Path,
    about: Mapping[str, str],
    say: Say,
) -> Summary:
    """Deal the windows into buckets as they stream in, then sort each bucket into a file."""
    be_quiet()
    summary = Summary()
    dealer = Dealer(folder / DEALT)
    said = time.monotonic()
    try:
        for table in _stream(parts, seen, study):
            notes = table.column("note")
            for note in notes.drop_null().to_pylist():
                summary.note(json.loads(note))
            dealer.add(table.filter(pc.is_null(notes)).drop_columns(["note"]))
            if time.monotonic() > said + SAID_SECONDS:
                said = time.monotonic()
                say(f"{summary.windows:,} windows cut of {summary.ended} of {len(parts)} recordings")
        summary.check()
        say(f"shuffling {summary.windows:,} windows")
        few = dealer.undealt()
        if few is not None:
            rows = few.drop_columns(["order"])
            for number, first in enumerate(range(0, len(rows), GROUP_ROWS)):
                write_windows(_file(folder, number), rows.slice(first, GROUP_ROWS), study.data.window_samples, about)
        else:
            _sort(_groups(dealer.close()), study.data.window_samples, folder, about)
    finally:
        dealer.abandon()
    shutil.rmtree(folder / DEALT)
    return summary


def _stream(parts: tuple[Part, ...], seen: Mapping[str, tuple[int, int]], study: Study) -> Iterator[pa.Table]:
    """Tables of windows with the order drawn for each, and of notes on what was read."""
    data, seed = study.data, study.seed

    def read_(batch: Any) -> Iterator[Any]:
        for index in batch["part"]:
            for found in _read(parts[index], data, seen):
                yield {"batch": np.array([pickle.dumps((int(index), found))], dtype=object)}

    def cut(batch: Any) -> Iterator[pa.Table]:
        for pickled in batch["batch"]:
            index, found = pickle.loads(pickled)
            yield from _cut(index, parts[index], found, data, seed)

    def read_and_cut(batch: Any) -> Iterator[pa.Table]:
        for index in batch["part"]:
            for found in _read(parts[index], data, seen):
                yield from _cut(int(index), parts[index], found, data, seed)

    items = [{"part": index} for index in range(len(parts))]
    dataset: ray.data.Dataset = ray.data.from_items(items, override_num_blocks=len(parts))
    dataset.context.target_max_block_size = BLOCK_BYTES
    readers = _readers(seen)
    here = {} if readers == "all nodes" else _on_this_node(min(len(parts), 1 + _bytes(parts, seen) // READER_BYTES))
    if readers == "this node for all":
        dataset = dataset.map_batches(read_, batch_size=1, **here).map_batches(cut, batch_size=1)
    else:
        dataset = dataset.map_batches(read_and_cut, batch_size=1, **here)
    return iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1))


def _bytes(parts: Sequence[Part], seen: Mapping[str, tuple[int, int]]) -> int:
    """About how much there is to read."""
    return sum(
        int(SIMULATED_BYTES * part.source.minutes_per_animal)
        if isinstance(part.source, SimulatedSource)
        else seen[part.file][0]
        for part in parts
    )


def _read(part: Part, data: Data, seen: Mapping[str, tuple[int, int]]) -> Iterator[ReadBatch | str]:
    """What a part holds, and why it cannot be read on."""
    try:
        yield from read_batches(part, data)
        if part.file and seen_of(part.file) != seen[part.file]:
            yield f"{part.source.name}: {part.file}: the file was changed while it was read; start again"
    except (InputError, FileNotFoundError) as error:
        yield str(error)


def _cut(index: int, part: Part, found: ReadBatch | str, data: Data, seed: int) -> Iterator[pa.Table]:
    """Windows of a batch, some thousand at a time, then its note."""
    note: dict[str, Any] = {"source": part.source.name, "species": part.source.species}
    blank = np.zeros((0, 3, data.window_samples), dtype=np.float32)
    if isinstance(found, str):
        yield _table(part, Harvest(blank, [], [], np.zeros(0), np.zeros(0), []), None, {**note, "error": found})
        return
    draw = stream(seed, "corpus", "order", part.source.name, part.name, found.number)
    sums: dict[str, Sums] = {}
    animals: set[str] = set()
    behaviours: Counter[str] = Counter()
    for some in windows_of(found.recordings, data, found.findings.dropped):
        sums_of(some, sums)
        animals.update(some.subjects)
        behaviours.update(name for name in some.behaviours if name is not None)
        yield _table(part, some, draw_orders(draw, len(some.windows)), None)
    note.update(found.findings.plain())
    note.update(place=[index, found.number], last=found.last, sums=sums, animals=sorted(animals), behaviours=behaviours)
    yield _table(part, Harvest(blank, [], [], np.zeros(0), np.zeros(0), []), None, note)


def _table(part: Part, found: Harvest, order: NDArray[np.int64] | None, note: dict[str, Any] | None) -> pa.Table:
    """Windows with their orders; or one row with a note, whose window is blank."""
    if note is not None:
        blank = np.zeros((1, *found.windows.shape[1:]), dtype=np.float32)
        found, order = Harvest(blank, [""], [""], np.zeros(1), np.zeros(1), [None]), np.zeros(1, dtype=np.int64)
    names: dict[str, Sequence[str | None]] = {
        "source": [part.source.name] * len(found.windows),
        "subject": found.subjects,
        "recording": found.recordings,
        "behaviour": found.behaviours,
    }
    table = window_table(found.windows, names, found.starts)
    texts = [None] * len(table) if note is None else [json.dumps(note)]
    return table.append_column("order", pa.array(order, pa.int64())).append_column("note", pa.array(texts, pa.string()))


def _file(folder: Path, number: int) -> Path:
    return folder / f"windows-{number:05}.parquet"


def _groups(buckets: Iterator[Bucket]) -> Iterator[list[Bucket]]:
    """Buckets that make a file together."""
    waiting: list[Bucket] = []
    for bucket in buckets:
        waiting.append(bucket)
        if sum(one.rows for one in waiting) >= GROUP_ROWS:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _sort(groups: Iterator[list[Bucket]], length: int, folder: Path, about: Mapping[str, str]) -> None:
    """Write each group of buckets as a file, several at a time."""

    def written(batch: Any) -> dict[str, Any]:
        number, pickled = batch["number"][0], batch["group"][0]
        try:
            table = read_buckets(pickle.loads(pickled)).drop_columns(["order"])
            write_windows(_file(folder, number), table, length, about)
        except OSError as error:
            return {"error": np.array([str(error)], dtype=object)}
        return {"error": np.array([""], dtype=object)}

    items = [{"number": number, "group": pickle.dumps(group)} for number, group in enumerate(groups)]
    dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        written, batch_size=1, **_on_this_node(len(items))
    )
    errors = sorted({row["error"] for row in dataset.iter_rows()} - {""})
    if errors:
        raise OSError("; ".join(errors))


def _on_this_node(tasks: int) -> dict[str, Any]:
    """Where the study was started, which has the files and the store, and may have no CPU to offer."""
    here = {f"node:{ray.util.get_node_ip_address()}": 0.001}
    return {"num_cpus": 0, "concurrency": max(1, min(os.cpu_count() or 1, tasks)), "resources": here}


def _readers(seen: Mapping[str, tuple[int, int]]) -> Literal["all nodes", "this node", "this node for all"]:
    """Who reads files and who cuts them.

    All nodes, where they see the same files at the same paths; else this one reads. It cuts as well where it is alone:
    nodes that an autoscaler adds later have no files.
    """
    nodes = {node["NodeID"]: node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]}
    own = nodes.pop(ray.get_runtime_context().get_node_id(), 0)
    others = [node for node, processors in nodes.items() if processors]

    @ray.remote(num_cpus=0)
    def sees() -> bool:
        return all(os.path.isfile(file) and seen_of(file) == about for file, about in seen.items())

    if not seen:
        return "all nodes"
    if not others:
        return "this node" if own else "this node for all"
    asked = [
        sees.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote() for node in others
    ]
    return "all nodes" if all(ray.get(asked)) else "this node for all"
