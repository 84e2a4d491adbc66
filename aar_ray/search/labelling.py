"""A study's winner at work: the behaviour of every window of recordings that have no labels. No Ray.

Its classifiers, one a fold and a seed, are asked one after another and their probabilities averaged. A file is read and
labelled by itself, so that as many are in work as there are processors, and memory holds the windows of those files.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray

from aar_ray.config import Data, DeviceSource, SimulatedSource, Source, Study, TabularSource
from aar_ray.corpus.files import read_labelled
from aar_ray.corpus.harvest import Harvest
from aar_ray.corpus.inspection import Inspected, PartInspected, inspected
from aar_ray.corpus.labelled import LabelledWindows, normalised
from aar_ray.corpus.normalise import Statistics, statistics_of
from aar_ray.corpus.parts import Part, parts
from aar_ray.corpus.readers import check_source
from aar_ray.corpus.sketch import same_recordings
from aar_ray.corpus.tables import has_dates
from aar_ray.method.scores import pooled
from aar_ray.search.journal import Event
from aar_ray.search.kept import (
    Model,
    beginning,
    classifier,
    complete_runs,
    folds_of,
    learned_sketches,
    models_of,
    require_kept,
    winning_setting,
)
from aar_ray.search.provenance import commit_of_code
from aar_ray.search.ranking import trial_records
from aar_ray.store import Store
from aar_ray.training.classify import probabilities

if TYPE_CHECKING:
    from torch import Tensor

    from aar_ray.config import Settings

Format = Literal["csv", "parquet"]

BLOCK = 2**14
"""Windows that are classified at a time, and those around them."""
DIGITS = 4
"""Of a probability in a CSV file."""


@dataclass(frozen=True)
class Member:
    """One classifier of an ensemble."""

    weights: dict[str, Tensor]
    settings: Settings
    statistics: Statistics | None
    """Of its training animals, for the z-score; None where each recording or window has its own."""

    def __call__(self, recording: LabelledWindows, device: str) -> NDArray[np.float32]:
        """Probabilities [windows, classes] of one recording's windows, in g and in the order of time."""
        scope = self.settings.normalise.scope
        known = statistics_of(recording.windows) if scope == "recording" else self.statistics
        finetune = self.settings.finetune
        reach = finetune.context_seconds + finetune.smoothing_seconds
        found = []
        for first, last, begin, end in _blocks(recording.starts, reach):
            # statistics are known by now, and a block's own would be others
            block = normalised(recording.at(np.arange(begin, end)), "window" if scope == "window" else "source", known)
            own = probabilities(self.weights, self.settings, block, device=device)
            found.append(own[first - begin : last - begin])
        return np.concatenate(found)


@dataclass(frozen=True)
class Ensemble:
    """The classifiers of a study's winner."""

    classes: tuple[str, ...]
    members: tuple[Member, ...]

    def __call__(self, recording: LabelledWindows, device: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities of one recording's windows, and how far the classifiers agree.

        Args:
            recording: windows in g, in the order of time.
            device: that computes.

        Returns:
            [windows, classes], the mean over classifiers; [windows], the share of them whose likeliest class is the
            mean's.
        """
        total = np.zeros((len(recording), len(self.classes)), dtype=np.float64)
        votes = np.zeros_like(total)
        rows = np.arange(len(recording))
        for member in self.members:
            found = member(recording, device)
            total += found
            votes[rows, found.argmax(axis=1)] += 1
        chosen = votes[rows, total.argmax(axis=1)]
        return (total / len(self.members)).astype(np.float32), (chosen / len(self.members)).astype(np.float32)


@dataclass(frozen=True)
class Labelled:
    """What came of a source."""

    recordings: Inspected
    """What its files hold."""
    windows: pd.DataFrame
    """Columns animal, behaviour and windows."""
    warnings: tuple[str, ...]
    """What a person should know before trusting the labels."""
    about: dict[str, Any]
    """Which study, which of its classifiers, how they did; plain data."""


def winner_of(study: Study, events: Sequence[Event], most: int | None = None) -> tuple[Ensemble, dict[str, Any]]:
    """The winner's classifiers, and what is known of them as plain data.

    Args:
        study: as its file says.
        events: of its journal.
        most: classifiers to ask, all if None: each costs as much as the others.

    Raises:
        Refused: no trial is complete, or classifiers are gone from the store.
    """
    store, started = Store(study.store), beginning(events)
    trials = trial_records(events)
    winner = winning_setting(trials)
    runs = complete_runs(trials, winner.number)
    keys = models_of(runs, folds_of(started))[:most]
    require_kept(store, [Model("winner", keys)], started)
    classes = tuple(started["classes"])
    labelled = read_labelled(store.root / "labelled" / started["labelled"]["key"], classes)
    by_fold: dict[str, Statistics] = {}
    members = []
    for fold, key in keys:
        weights, settings = classifier(store.root / "finetune" / key)
        if settings.normalise.scope == "source" and fold.name not in by_fold:
            by_fold[fold.name] = statistics_of(labelled.of(fold.train).windows)
        members.append(Member(weights, settings, by_fold.get(fold.name)))
    results = [fold["result"] for run in runs for fold in run.folds.values()]
    score = winner.score if winner.runs else None
    commit, changed = commit_of_code()
    about = {
        "study": study.name,
        "simulated": study.simulated,
        "trial": winner.number,
        "settings": trials[winner.number].settings,
        "classifiers": [{"fold": fold.name, "key": key} for fold, key in keys],
        "macro_f1": winner.chosen_by if score is None else score.mean,
        "macro_f1_flattered": score is None,
        "per_class": pooled(results, list(results[0]["per_class"]))["per_class"],
        "commit": commit,
        "changed": changed,
    }
    return Ensemble(classes, tuple(members)), about


def label_source(
    source: Source,
    study: Study,
    events: Sequence[Event],
    folder: Path,
    *,
    form: Format = "csv",
    most: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Labelled:
    """Label all windows of a source, one file of labels for each of its files.

    Args:
        source: of the recordings; labels in them are not read.
        study: whose winner it is.
        events: of its journal.
        folder: gets the files, `time_budget.csv` and `about.json`.
        form: of the files of labels.
        most: classifiers to ask, all if None.
        say: is told in words how far it is.

    Raises:
        Refused: the study has no winner, or its classifiers are gone.
        InputError: a recording breaks a rule.
        OSError: a file of labels cannot be written; each is whole or not there.
    """
    ensemble, about = winner_of(study, events, most)
    check_source(source)
    found = parts(source, study.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    processors = len(os.sched_getaffinity(0))
    jobs = 1 if device == "cuda" else min(processors, len(found))
    say(f"labelling {len(found)} files by {len(ensemble.members)} classifiers on {device}")
    work = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_label_part)(part, study.data, ensemble, folder / f"{part.name}.{form}", device, processors // jobs)
        for part in found
    )
    recordings, counts = Inspected(name=source.name, species=source.species), Counter[tuple[str, str]]()
    for number, (part, (read, own)) in enumerate(zip(found, work, strict=True), start=1):
        recordings.add(read)
        counts.update(own)
        say(f"{number} of {len(found)} files labelled: {part.name}")
    rows = [(animal, name, count) for (animal, name), count in sorted(counts.items())]
    windows = pd.DataFrame(rows, columns=["animal", "behaviour", "windows"])
    folder.mkdir(parents=True, exist_ok=True)
    hours = (windows["windows"] * study.data.step_seconds / 3600).round(DIGITS)
    share = (windows["windows"] / windows.groupby("animal")["windows"].transform("sum")).round(DIGITS)
    windows.assign(hours=hours, share=share).to_csv(folder / "time_budget.csv", index=False)
    warnings = (*recordings.warnings(), *_doubts(source, study, events, recordings.sketches))
    simulated = study.simulated or isinstance(source, SimulatedSource)
    about |= {"simulated": simulated, "source": source.model_dump(mode="json"), "warnings": warnings}
    (folder / "about.json").write_text(json.dumps(about, indent=1))
    return Labelled(recordings, windows, warnings, about)


def _doubts(source: Source, study: Study, events: Sequence[Event], sketches: Mapping[str, set[int]]) -> Iterator[str]:
    """What speaks against the labels."""
    known = study.data.labelled
    if source.species != known.species:
        yield f"{source.name}: the classifiers learned from {known.species}, these recordings are of {source.species}"
    learned = learned_sketches(Store(study.store), beginning(events)).get(known.name, {})
    together = {f"given/{name}": one for name, one in sketches.items()}
    together |= {f"learned/{name}": one for name, one in learned.items()}
    again = sorted(
        {
            one.removeprefix("given/")
            for one, other in same_recordings(together)
            if one.startswith("given/") and other.startswith("learned/")
        }
    )
    if source == known or again:
        which = f" ({', '.join(again)})" if again else ""
        yield f"{source.name}: the classifiers learned from these recordings{which}; others they label less well"


def _label_part(
    part: Part, data: Data, ensemble: Ensemble, path: Path, device: str, threads: int
) -> tuple[PartInspected, Counter[tuple[str, str]]]:
    """Read and label one file; returns what it holds, and its windows by animal and behaviour."""
    harvests: list[Harvest] = []
    read = inspected(part, data, harvests.append)
    with _threads(threads):
        table = _table(harvests, ensemble, device)
    if not table["time"].notna().any():
        table = table.drop(columns="time")
    elif isinstance(part.source, DeviceSource) or (
        isinstance(part.source, TabularSource) and has_dates(Path(part.file), part.source)
    ):
        # a float of seconds since 1970 holds no more than some tenths of a microsecond
        table["time"] = pd.to_datetime(table["time"], unit="s").dt.round("us")
    _write(table, path)
    return read, Counter(zip(table["animal"], table["behaviour"], strict=True))


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Of torch in the block; a file may be labelled by the process that asks for it, which goes on with its own."""
    earlier = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(earlier)


def _table(harvests: Sequence[Harvest], ensemble: Ensemble, device: str) -> pd.DataFrame:
    """One row a window: recordings one after another, each in the order of time."""
    probable = [f"p[{name}]" for name in ensemble.classes]
    columns = ["animal", "recording", "seconds", "time", "behaviour", "probability", "agreement", *probable]
    if not harvests:
        return pd.DataFrame(columns=columns)
    windows = np.concatenate([some.windows for some in harvests])
    animals, names = (
        np.array([value for some in harvests for value in getattr(some, field)], dtype=object)
        for field in ("subjects", "recordings")
    )
    starts, times = (np.concatenate([getattr(some, field) for some in harvests]) for field in ("starts", "times"))
    tables = []
    for name in dict.fromkeys(names):
        own = np.flatnonzero(names == name)
        own = own[np.argsort(starts[own], kind="stable")]
        recording = LabelledWindows(
            windows=windows[own],
            labels=np.zeros(len(own), dtype=np.int64),
            classes=ensemble.classes,
            subjects=animals[own],
            recordings=names[own],
            starts=starts[own],
        )
        found, agreement = ensemble(recording, device)
        likeliest = found.argmax(axis=1)
        table = pd.DataFrame({"animal": animals[own], "recording": name, "seconds": starts[own], "time": times[own]})
        table["behaviour"] = np.array(ensemble.classes, dtype=object)[likeliest]
        table["probability"] = found[np.arange(len(own)), likeliest]
        table["agreement"] = agreement
        table[probable] = found
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _write(table: pd.DataFrame, path: Path) -> None:
    """A file that appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}")
    try:
        if path.suffix == ".parquet":
            table.to_parquet(scratch, index=False)
        else:
            shares = table.select_dtypes(np.float32).columns
            table = table.assign(seconds=table["seconds"].round(3), **table[shares].astype(np.float64).round(DIGITS))
            table.to_csv(scratch, index=False, date_format="%Y-%m-%dT%H:%M:%S.%f")
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def _blocks(starts: NDArray[np.float64], reach: float) -> Iterator[tuple[int, int, int, int]]:
    """First and last (excluded) window of each block, and of what reaches `reach` seconds beyond it on both sides."""
    for first in range(0, len(starts), BLOCK):
        last = min(first + BLOCK, len(starts))
        begin = np.searchsorted(starts, starts[first] - reach, side="left")
        end = np.searchsorted(starts, starts[last - 1] + reach, side="right")
        yield first, last, int(begin), int(end)
