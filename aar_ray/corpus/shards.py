"""The corpus by Ray Data: every node reads, resamples and cuts; this one deals, shuffles and writes.

The windows stream through: no process holds more than some thousand of them, however many there are. They are written
where the store is, on a cluster of any size, and in an order that no cluster changes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
import ray.data
from numpy.typing import NDArray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aar_ray.config import Data, Study
from aar_ray.corpus.checks import check_contents, labelled_parts, unlabelled_parts
from aar_ray.corpus.deal import Bucket, Dealer, draw_orders, read_buckets
from aar_ray.corpus.files import (
    GROUP_ROWS,
    Coder,
    Resident,
    labels_of,
    read_labelled,
    window_files,
    window_table,
    write_windows,
)
from aar_ray.corpus.guards import check_sensors
from aar_ray.corpus.harvest import Harvest, ReadBatch, read_batches, windows_of
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.corpus.readers import Part, fingerprint
from aar_ray.corpus.recording import InputError
from aar_ray.corpus.summary import Summary, Sums, sums_of
from aar_ray.seeds import stream
from aar_ray.store import Store, stage_key

VERSION = 3
"""Of the code that makes a corpus; raised whenever the same settings would give other windows."""
BLOCK_BYTES = 16 * 2**20
"""Of windows on their way from a task to this process."""
SAID_SECONDS = 2.0
"""Between two words of progress."""
SUMMARY = "summary.json"
SKETCHES = "sketches.json"
DEALT = ".dealt"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Corpus:
    """Windows in the store."""

    key: str
    folder: Path
    windows: int
    summary: dict[str, Any]
    """By source; see `aar_ray.corpus.summary.Summary`."""
    cached: bool
    """Whether it had been built before."""
    seconds: float
    """Taken to find or build it."""


def build_corpus(study: Study, store: Store, say: Say = lambda _: None) -> Corpus:
    """The unlabelled windows of all sources, shuffled over sources and animals.

    Args:
        study: as its file says.
        store: where the corpus is, or will be.
        say: is told in words how far it is.

    Raises:
        InputError: recordings break a rule (all problems, one a line), hold no window or are there twice.
        OSError: the store cannot be written; nothing is kept then.
    """
    return _build("corpus", unlabelled_parts(study), study, store, say)


def build_labelled(
    study: Study, store: Store, unlabelled: Corpus | None = None, say: Say = lambda _: None
) -> tuple[LabelledWindows, Corpus]:
    """The labelled windows of every animal that is not sealed, sorted by animal, recording and start.

    Args:
        study: as its file says.
        store: where they are, or will be.
        unlabelled: the study's corpus, which must hold no recording of a test animal.
        say: is told in words how far it is.

    Raises:
        InputError: recordings break a rule (all problems, one a line), hold windows of fewer than 2 behaviours, are
            there twice, or those of test animals are in the corpus too.
        OSError: the store cannot be written; nothing is kept then.
    """
    corpus = _build("labelled", labelled_parts(study), study, store, say)
    if unlabelled is not None:
        check_contents(study.data, study.protocol, {**sketches_of(unlabelled), **sketches_of(corpus)})
    labelled = read_labelled(corpus.folder, list(dict.fromkeys(study.data.labelled.behaviours.values())))
    if len(labelled.classes) < 2:
        raise InputError(
            f"{study.data.labelled.name}: a labelled source must hold windows of at least 2 behaviours, "
            f"got {', '.join(labelled.classes)}; see its label column and `behaviours`"
        )
    check_sensors(labelled)
    return labelled, corpus


def read_corpus(corpus: Corpus) -> ray.data.Dataset:
    """The corpus in Ray's object store: window (float32 [3, L], g), source, recording."""
    _quiet()
    # read here and not in tasks: on a cluster only this node has the store
    columns = ["window", "source", "recording"]
    tables: list[Any] = [ray.put(pq.read_table(file, columns=columns)) for file in window_files(corpus.folder)]
    return ray.data.from_arrow_refs(tables)


def resident_windows(batches: Iterable[Mapping[str, NDArray[Any]]]) -> Resident:
    """All windows of a worker's batches as one array.

    Args:
        batches: window [b, 3, L] in g, source [b] and recording [b], as `read_corpus` gives them.
    """
    found = list(batches)
    return Resident(
        windows=np.concatenate([batch["window"] for batch in found]),
        sources=labels_of(np.concatenate([batch["source"] for batch in found])),
        recordings=labels_of(np.concatenate([batch["recording"] for batch in found])),
    )


def mapped_windows(batches: Iterable[Mapping[str, NDArray[Any]]]) -> Resident:
    """The same on disk: in a file that goes with this process, so that memory holds one batch at a time.

    Args:
        batches: as for `resident_windows`.

    Raises:
        OSError: the folder for temporary files has no room.
    """
    sources, recordings = Coder(), Coder()
    shape: tuple[int, ...] = ()
    with tempfile.TemporaryFile(prefix="windows-") as file:
        for batch in batches:
            shape = batch["window"].shape[1:]
            file.write(np.ascontiguousarray(batch["window"], dtype=np.float32).data)
            sources.add(batch["source"])
            recordings.add(batch["recording"])
        file.flush()
        coded = sources.labels()
        windows = np.memmap(file, dtype=np.float32, mode="r", shape=(len(coded.codes), *shape))
    return Resident(windows, coded, recordings.labels())


def _build(stage: str, parts: tuple[Part, ...], study: Study, store: Store, say: Say) -> Corpus:
    began = time.monotonic()
    seen = {part.file: _seen(part.file) for part in parts if part.file}
    made_from = _made_from(parts, study)
    key = stage_key(stage, VERSION, made_from)
    cached = store.find(stage, key) is not None
    if not cached:
        # of several studies that start at once, one builds it and the others wait
        with store.alone(stage, key):
            cached = store.find(stage, key) is not None
            if not cached:
                with store.publish(stage, key, made_from) as folder, _said_of(store):
                    summary = _write(parts, seen, study, folder, _about(made_from, key), say)
                    (folder / SUMMARY).write_text(json.dumps(summary.plain(), indent=1))
                    sketches = {
                        name: {n: sorted(one) for n, one in own.items()} for name, own in summary.sketches.items()
                    }
                    (folder / SKETCHES).write_text(json.dumps(sketches))
    folder = store.root / stage / key
    found = json.loads((folder / SUMMARY).read_text())
    windows = sum(source["windows"] for source in found.values())
    corpus = Corpus(key, folder, windows, found, cached, time.monotonic() - began)
    check_contents(study.data, study.protocol, sketches_of(corpus))
    return corpus


def sketches_of(corpus: Corpus) -> dict[str, dict[str, set[int]]]:
    """By source and recording, what a recording is known again by."""
    found = json.loads((corpus.folder / SKETCHES).read_text())
    return {source: {name: set(one) for name, one in own.items()} for source, own in found.items()}


def _made_from(parts: tuple[Part, ...], study: Study) -> dict[str, Any]:
    """All that can change the windows. Paths and the z-score's scope cannot: what is written is in g."""
    data = study.data
    sources = []
    for source in dict.fromkeys(part.source.name for part in parts):
        own = tuple(part for part in parts if part.source.name == source)
        settings = {json.dumps(part.source.model_dump(mode="json", exclude={"path"}), sort_keys=True) for part in own}
        sources.append(
            {
                "name": source,
                "settings": [json.loads(text) for text in sorted(settings)],
                "parts": [part.name for part in own],
                "files": fingerprint(own),
                "sealed": sorted(own[0].sealed),
                "renamed": dict(own[0].renamed),
                "labelled": own[0].labelled,
            }
        )
    return {
        "sources": sources,
        "seed": study.seed,
        "rate_hz": data.rate_hz,
        "window_seconds": data.window_seconds,
        "step_seconds": data.step_seconds,
    }


def _about(made_from: Mapping[str, Any], key: str) -> dict[str, str]:
    """Metadata of each file: enough to use it, and to know what it was made from, without its folder."""
    hashes = {
        source["name"]: hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()
        for source in made_from["sources"]
    }
    return {
        "unit": "g",
        "axes": "x, y, z",
        "rate_hz": f"{made_from['rate_hz']:g}",
        "window_seconds": f"{made_from['window_seconds']:g}",
        "step_seconds": f"{made_from['step_seconds']:g}",
        "key": key,
        "sources": json.dumps(hashes),
    }


def _seen(file: str) -> tuple[int, int]:
    """Size and time of change: that it is the file which was hashed."""
    about = os.stat(file)
    return about.st_size, about.st_mtime_ns


@contextmanager
def _said_of(store: Store) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            f"the corpus cannot be written to {store.root}: {error}; make room there or set another store. "
            "Nothing of it was kept"
        ) from error


# --- the pipeline ------------------------------------------------------------------------------------------------


def _write(
    parts: tuple[Part, ...],
    seen: Mapping[str, tuple[int, int]],
    study: Study,
    folder: Path,
    about: Mapping[str, str],
    say: Say,
) -> Summary:
    """Deal the windows into buckets as they stream in, then sort each bucket into a file."""
    _quiet()
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
    here = {} if readers == "all nodes" else _on_this_node(len(parts))
    if readers == "this node for all":
        dataset = dataset.map_batches(read_, batch_size=1, **here).map_batches(cut, batch_size=1)
    else:
        dataset = dataset.map_batches(read_and_cut, batch_size=1, **here)
    return iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1))


def _read(part: Part, data: Data, seen: Mapping[str, tuple[int, int]]) -> Iterator[ReadBatch | str]:
    """What a part holds, and why it cannot be read on."""
    try:
        yield from read_batches(part, data)
        if part.file and _seen(part.file) != seen[part.file]:
            yield f"{part.source.name}: {part.file}: the file was changed while it was read; start again"
    except (InputError, FileNotFoundError) as error:
        yield str(error)


def _cut(index: int, part: Part, found: ReadBatch | str, data: Data, seed: int) -> Iterator[pa.Table]:
    """Windows of a batch, some thousand at a time, then its note."""
    note: dict[str, Any] = {"source": part.source.name, "species": part.source.species}
    blank = np.zeros((0, 3, data.window_samples), dtype=np.float32)
    if isinstance(found, str):
        yield _table(part, Harvest(blank, [], [], np.zeros(0), []), None, {**note, "error": found})
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
    yield _table(part, Harvest(blank, [], [], np.zeros(0), []), None, note)


def _table(part: Part, found: Harvest, order: NDArray[np.int64] | None, note: dict[str, Any] | None) -> pa.Table:
    """Windows with their orders; or one row with a note, whose window is blank."""
    if note is not None:
        blank = np.zeros((1, *found.windows.shape[1:]), dtype=np.float32)
        found, order = Harvest(blank, [""], [""], np.zeros(1), [None]), np.zeros(1, dtype=np.int64)
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
        return all(os.path.isfile(file) and _seen(file) == about for file, about in seen.items())

    if not seen:
        return "all nodes"
    if not others:
        return "this node" if own else "this node for all"
    asked = [
        sees.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote() for node in others
    ]
    return "all nodes" if all(ray.get(asked)) else "this node for all"


def _quiet() -> None:
    """Ray Data without progress bars and chatter."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.ERROR)
