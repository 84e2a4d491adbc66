"""Corpora in the store: built once for what they are made of, and found again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aar_ray.config import Study
from aar_ray.corpus.checks import check_contents, labelled_parts, unlabelled_parts
from aar_ray.corpus.files import read_labelled
from aar_ray.corpus.guards import check_sensors
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.corpus.parts import Part, fingerprint
from aar_ray.corpus.pipeline import Say, seen_of, write_corpus
from aar_ray.corpus.reading import Corpus
from aar_ray.corpus.recording import InputError
from aar_ray.store import Store, stage_key

VERSION = 3
"""Of the code that makes a corpus; raised whenever the same settings would give other windows."""
SUMMARY = "summary.json"
SKETCHES = "sketches.json"


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


def _build(stage: str, parts: tuple[Part, ...], study: Study, store: Store, say: Say) -> Corpus:
    began = time.monotonic()
    seen = {part.file: seen_of(part.file) for part in parts if part.file}
    made_from = _made_from(parts, study)
    key = stage_key(stage, VERSION, made_from)
    cached = store.find(stage, key) is not None
    if not cached:
        # of several studies that start at once, one builds it and the others wait
        with store.alone(stage, key):
            cached = store.find(stage, key) is not None
            if not cached:
                with store.publish(stage, key, made_from) as folder, _said_of(store):
                    summary = write_corpus(parts, seen, study, folder, _about(made_from, key), say)
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


@contextmanager
def _said_of(store: Store) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            f"the corpus cannot be written to {store.root}: {error}; make room there or set another store. "
            "Nothing of it was kept"
        ) from error
