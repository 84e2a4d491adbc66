"""The corpus on disk: Ray Data reads, resamples, cuts and shuffles; this process writes Parquet files as it streams.

Writing here, and not in tasks, puts every file where the store is, on a cluster of any size, and leaves no more in
memory than one file's windows.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
import ray.data
from numpy.typing import NDArray

from aar_ray.config import Data, Study
from aar_ray.corpus.checks import labelled_parts, unlabelled_parts
from aar_ray.corpus.harvest import Harvest, harvest
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.corpus.normalise import Scope, Statistics
from aar_ray.corpus.readers import Part, fingerprint
from aar_ray.corpus.recording import InputError
from aar_ray.corpus.stretches import Findings
from aar_ray.corpus.summary import Summary
from aar_ray.seeds import stream
from aar_ray.store import Store, stage_key

VERSION = 1
"""Of the code that makes a corpus; raised whenever the same settings would give other windows."""
ROWS_PER_FILE = 16384
SUMMARY = "summary.json"


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


def build_corpus(study: Study, store: Store) -> Corpus:
    """The unlabelled windows of all sources, shuffled over sources and animals.

    Raises:
        InputError: recordings break a rule (all problems, one a line), or hold no window.
    """
    return _build("corpus", unlabelled_parts(study), study, store)


def build_labelled(study: Study, store: Store) -> tuple[LabelledWindows, Corpus]:
    """The labelled windows of every animal that is not sealed, sorted by animal, recording and start.

    Raises:
        InputError: recordings break a rule (all problems, one a line), or hold windows of fewer than 2 behaviours.
    """
    corpus = _build("labelled", labelled_parts(study), study, store)
    labelled = _loaded(corpus, list(dict.fromkeys(study.data.labelled.behaviours.values())))
    if len(labelled.classes) < 2:
        raise InputError(
            f"{study.data.labelled.name}: a labelled source must hold windows of at least 2 behaviours, "
            f"got {', '.join(labelled.classes)}; see its label column and `behaviours`"
        )
    return labelled, corpus


def read_corpus(corpus: Corpus) -> ray.data.Dataset:
    """The corpus in Ray's object store: window (float32 [L, 3], g), source, recording."""
    _quiet()
    # read here and not in tasks: on a cluster only this node has the store
    columns = ["window", "source", "recording"]
    tables: list[Any] = [ray.put(pq.read_table(file, columns=columns)) for file in _files(corpus.folder)]
    return ray.data.from_arrow_refs(tables)


@dataclass(frozen=True)
class Resident:
    """All windows of a worker, in g, and whose statistics score them."""

    windows: NDArray[np.float32]
    """[n, 3, L]."""
    sources: NDArray[np.str_]
    """[n]."""
    recordings: NDArray[np.str_]
    """[n]."""

    def statistics(self, summary: Mapping[str, Any], scope: Scope) -> Statistics | None:
        """Mean and deviation per axis for each window, float64 [n, 3]; None where each window has its own.

        Args:
            summary: of the corpus, so that the statistics do not depend on which worker asks.
            scope: whose statistics: the source's, the recording's or each window's own.
        """
        if scope == "window":
            return None
        mean, deviation = np.empty((len(self.windows), 3)), np.empty((len(self.windows), 3))
        for source in np.unique(self.sources):
            own = self.sources == source
            named = {source: summary[source]} if scope == "source" else summary[source]["by_recording"]
            for name in np.unique((self.sources if scope == "source" else self.recordings)[own]):
                mine = own if scope == "source" else own & (self.recordings == name)
                mean[mine], deviation[mine] = named[name]["mean"], named[name]["deviation"]
        return Statistics(mean, deviation)


def resident_windows(batches: Iterable[Mapping[str, NDArray[Any]]]) -> Resident:
    """All windows of a worker's batches as one array.

    Args:
        batches: window [b, L, 3] in g, source [b] and recording [b], as `read_corpus` gives them.
    """
    found = list(batches)
    return Resident(
        windows=np.concatenate([np.ascontiguousarray(batch["window"].transpose(0, 2, 1)) for batch in found]),
        sources=np.concatenate([batch["source"].astype(str) for batch in found]),
        recordings=np.concatenate([batch["recording"].astype(str) for batch in found]),
    )


def _build(stage: str, parts: tuple[Part, ...], study: Study, store: Store) -> Corpus:
    began = time.monotonic()
    made_from = _made_from(parts, study)
    key = stage_key(stage, VERSION, made_from)
    cached = store.find(stage, key) is not None
    if not cached:
        # of several studies that start at once, one builds it and the others wait
        with store.alone(stage, key):
            cached = store.find(stage, key) is not None
            if not cached:
                with store.publish(stage, key, made_from) as folder:
                    summary = _write(_stream(parts, study), folder, study.data, key)
                    (folder / SUMMARY).write_text(json.dumps(summary.plain(), indent=1))
    folder = store.root / stage / key
    found = json.loads((folder / SUMMARY).read_text())
    windows = sum(source["windows"] for source in found.values())
    return Corpus(key, folder, windows, found, cached, time.monotonic() - began)


def _made_from(parts: tuple[Part, ...], study: Study) -> dict[str, Any]:
    """All that can change the windows. Paths and the z-score's scope cannot: what is written is in g."""
    data = study.data
    sources = []
    for source in dict.fromkeys(part.source.name for part in parts):
        own = tuple(part for part in parts if part.source.name == source)
        sources.append(
            {
                "settings": own[0].source.model_dump(mode="json", exclude={"path"}),
                "parts": [part.name for part in own],
                "files": fingerprint(own),
                "sealed": sorted(own[0].sealed),
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


# --- the pipeline ------------------------------------------------------------------------------------------------


def _stream(parts: tuple[Part, ...], study: Study) -> Iterator[pa.Table]:
    """Tables of windows in random order, after notes on what each part held besides."""
    _quiet()
    data, seed = study.data, study.seed

    def harvested(batch: Any) -> Iterator[Any]:
        for index in batch["part"]:
            yield from _tables(parts[index], data, seed)

    dataset = (
        ray.data.from_items([{"part": index} for index in range(len(parts))], override_num_blocks=len(parts))
        .map_batches(harvested, batch_size=1, **_where_files_are(parts))
        .sort("order")
    )
    return iter(dataset.iter_batches(batch_size=ROWS_PER_FILE, batch_format="pyarrow"))


def _where_files_are(parts: tuple[Part, ...]) -> dict[str, Any]:
    """Files are read where the study was started, a node that may have no CPU to offer; herds come from anywhere."""
    if not any(part.file for part in parts):
        return {}
    here = {f"node:{ray.util.get_node_ip_address()}": 0.001}
    return {"num_cpus": 0, "concurrency": min(os.cpu_count() or 1, len(parts)), "resources": here}


def _tables(part: Part, data: Data, seed: int) -> Iterator[pa.Table]:
    """What a task makes of one part: its windows, then one row of notes."""
    findings = Findings()
    draw = stream(seed, "corpus", "order", part.source.name, part.name)
    note: dict[str, Any] = {"source": part.source.name, "species": part.source.species}
    try:
        for found in harvest(part, data, findings):
            yield _table(part, found, draw.integers(2**62, size=len(found.windows)), [None] * len(found.windows))
    except InputError as error:
        note["error"] = str(error)
    note.update(findings.plain())
    blank = Harvest(np.zeros((1, 3, data.window_samples), dtype=np.float32), [""], [""], np.zeros(1), [None])
    # sorted before all windows, whose order is positive
    yield _table(part, blank, np.array([-1]), [json.dumps(note)])


def _table(part: Part, found: Harvest, order: NDArray[np.int64], notes: list[str | None]) -> pa.Table:
    """One row a window; the order is drawn with the windows, so that it is the same on any cluster."""
    windows = found.windows.transpose(0, 2, 1)
    return pa.table(
        {
            # a tensor column, which Ray cannot sort, once it is written
            "window": pa.FixedSizeListArray.from_arrays(windows.ravel(), windows[0].size),
            "source": pa.array([part.source.name] * len(windows), pa.string()),
            "subject": pa.array(found.subjects, pa.string()),
            "recording": pa.array(found.recordings, pa.string()),
            "start": pa.array(found.starts, pa.float64()),
            "behaviour": pa.array(found.behaviours, pa.string()),
            "order": pa.array(order, pa.int64()),
            "note": pa.array(notes, pa.string()),
        }
    )


def _write(tables: Iterable[pa.Table], folder: Path, data: Data, key: str) -> Summary:
    """Write the windows as they come and gather their statistics on the way."""
    summary = Summary()
    tensor = pa.fixed_shape_tensor(pa.float32(), (data.window_samples, 3))
    about = {"unit": "g", "rate_hz": f"{data.rate_hz:g}", "key": key}
    for number, table in enumerate(tables):
        notes = table.column("note")
        for note in notes.drop_null().to_pylist():
            summary.note(json.loads(note))
        table = table.filter(pc.is_null(notes)).drop_columns(["note", "order"])
        if not len(table):
            continue
        tensors = pa.ExtensionArray.from_storage(tensor, table.column("window").combine_chunks())
        table = table.set_column(0, "window", tensors).replace_schema_metadata(about)
        summary.add(_windows(table), *(table.column(name).to_pylist() for name in ("source", "subject", "recording")))
        pq.write_table(table, folder / f"windows-{number:05}.parquet")
    summary.check()
    return summary


def _windows(table: pa.Table) -> NDArray[np.float32]:
    """[n, L, 3]."""
    found: NDArray[np.float32] = table.column("window").combine_chunks().to_numpy_ndarray()
    return found


def _loaded(corpus: Corpus, order: list[str]) -> LabelledWindows:
    """The labelled windows from their files; classes in the study file's order, else by alphabet."""
    table = pa.concat_tables([pq.read_table(file) for file in _files(corpus.folder)])
    order_of = [(name, "ascending") for name in ("subject", "recording", "start")]
    table = table.take(pc.sort_indices(table.drop_columns("window"), order_of))
    behaviours = np.array(table.column("behaviour").to_pylist(), dtype=object)
    classes = tuple(sorted(set(behaviours), key=lambda name: (order.index(name) if order else 0, name)))
    return LabelledWindows(
        windows=np.ascontiguousarray(_windows(table).transpose(0, 2, 1)),
        labels=np.array([classes.index(name) for name in behaviours], dtype=np.int64),
        classes=classes,
        subjects=np.array(table.column("subject").to_pylist(), dtype=object),
        recordings=np.array(table.column("recording").to_pylist(), dtype=object),
        starts=table.column("start").to_numpy(),
    )


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("windows-*.parquet"))


def _quiet() -> None:
    """Ray Data without progress bars and chatter."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.ERROR)
