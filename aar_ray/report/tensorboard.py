"""A study in TensorBoard, drawn event by event from its journal: one run a trial, one a baseline, and the study's own.

HParams declares every searched setting at the root before the first trial. A trial's settings are there from its start
and its scores fill as they come; how it ended is its session's status, with the reason as text. A trial that a kill
interrupted and that starts again goes on in its run: what it repeats is not drawn twice.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.writer import SummaryWriter

from aar_ray.report import hparams
from aar_ray.report.artifacts import Kept
from aar_ray.report.names import run_name
from aar_ray.report.study_run import StudyRun
from aar_ray.search.evidence import report_winner
from aar_ray.search.ranking import scored_settings, trial_records

Event = Mapping[str, Any]

VERSION = 2
"""Of what a run shows: runs that another version drew are drawn again."""

MARK = ".drawn"
"""In the folder of a finished trial's run: what it was drawn from."""

LOSSES = {"loss": "L", "loss_time": "L_T", "loss_frequency": "L_F", "loss_consistency": "L_C"}
"""The paper's symbols for the losses: L is eq. 4, the weighted sum of the others."""

CELL, TEXT = 70, 14
"""Pixels of a cell of a confusion matrix, and of its letters."""

CORNER = ("rows: true", "columns: predicted")
WHITE, BLACK, BLUE = (255, 255, 255), (0, 0, 0), (8, 48, 107)

THRESHOLDS = 101
"""Points of a precision-recall curve."""


def confusion_picture(confusion: Iterable[Iterable[int]], classes: Sequence[str]) -> np.ndarray:
    """A confusion matrix, rows the truth, each cell with its count and shaded by its share of the row.

    Drawn cell by cell: every trial has one, and matplotlib would take a tenth of a second for it.

    Returns:
        uint8 [height, width, 3].
    """
    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    font = ImageFont.load_default(TEXT)
    side, margin = CELL * len(classes), TEXT + int(max(map(font.getlength, [*classes, *CORNER])))
    picture = Image.new("RGB", (margin + side, side + margin), "white")
    draw = ImageDraw.Draw(picture)
    for (row, column), share in np.ndenumerate(shares):
        left, top = margin + CELL * column, CELL * row
        shade = tuple(np.rint(np.array(WHITE) + share * (np.array(BLUE) - WHITE)).astype(int))
        draw.rectangle((left, top, left + CELL - 1, top + CELL - 1), fill=shade)
        centre = left + CELL // 2, top + CELL // 2
        draw.text(centre, str(counts[row, column]), WHITE if share > 0.5 else BLACK, font, anchor="mm")
    # the names of the rows, and once more, turned, of the columns: both end at the matrix
    names = Image.new("RGB", (margin, side), "white")
    for row, name in enumerate(classes):
        place = margin - TEXT // 2, CELL * row + CELL // 2
        ImageDraw.Draw(names).text(place, name, BLACK, font, anchor="rm")
    picture.paste(names, (0, 0))
    picture.paste(names.transpose(Image.Transpose.ROTATE_90), (margin, side))
    draw.multiline_text((TEXT // 2, side + TEXT), "\n".join(CORNER), BLACK, font)
    return np.asarray(picture)


@dataclass
class _Run:
    """A trial's run while it is written."""

    settings: dict[str, Any]
    folder: Path
    writer: SummaryWriter | None
    """None where an earlier start has drawn the whole trial."""
    ended: bool = False
    epochs: set[int] = field(default_factory=set)
    folds: dict[str, Event] = field(default_factory=dict)

    @property
    def results(self) -> dict[str, Event]:
        """By fold."""
        return {name: event["result"] for name, event in self.folds.items()}


class StudyBoard:
    """The TensorBoard folder of a study. Not for pickling: it holds open files.

    Args:
        folder: where the board is written.
        store: of the study's artifacts; without one there are no precision-recall curves and no embeddings.
        drawn: names of runs that stay as they are: whole trials that an earlier start drew.
    """

    def __init__(self, folder: Path, store: Path | None = None, drawn: Sequence[str] = ()) -> None:
        self.folder = folder
        self._store, self._drawn = store, frozenset(drawn)
        self._study = StudyRun(folder / "study")
        self._runs: dict[int, _Run] = {}
        self._events: list[Event] = []
        self._classes: list[str] = []
        self._text: set[str] = set()
        self._kept: Kept | None = None
        self._at: float | None = None
        self.live = True
        """Whether each event is on disk when `observe` returns."""

    def observe(self, event: Event) -> None:
        """Draw one event of the journal, at the time it has there."""
        self._at = _seconds(event["at"]) if "at" in event else None
        self._events.append(event)
        match event["event"]:
            case "study_started":
                self._study_started(event)
            case "trial_started":
                self._trial_started(event)
            case "pretrain_epoch":
                self._pretrain_epoch(event)
            case "fold_finished":
                self._fold_finished(event)
            case "trial_retried" | "trial_promoted":
                self._trial_goes_on(event)
            case "trial_finished":
                self._trial_finished(event)
            case "baseline_finished":
                self._baseline_finished(event)
            case "study_finished":
                self._embed()
        self._study.observe(event, self._at)
        self._flush(self._study.writer)

    def close(self) -> None:
        """Write what is pending and close all files."""
        for run in self._runs.values():
            if run.writer is not None:
                run.writer.close()
        self._study.writer.close()

    def _study_started(self, event: Event) -> None:
        first = not self._classes
        self._classes = event["classes"]
        if self._store is not None:
            self._kept = Kept(self._store, event)
        if not first:
            return
        searched = event["search"], event.get("arms", {})
        self._text = hparams.texts(*searched)
        root = SummaryWriter(str(self.folder))
        _add(root, hparams.declared(*searched))
        root.close()
        if event["simulated"]:
            self._study.writer.add_text("data", "**SIMULATED** animals: no number here is evidence about real ones.")

    def _trial_started(self, event: Event) -> None:
        number, settings = event["trial"], dict(event["settings"])
        earlier = self._runs.get(number)
        if earlier is not None and earlier.settings == settings:
            return
        if earlier is not None:
            self._remove(earlier)
        name = run_name(number, settings, again=event.get("repeat_of"), arm=event.get("arm"))
        folder = self.folder / name
        if name in self._drawn:
            self._runs[number] = _Run(settings, folder, None)
            return
        run = self._runs[number] = _Run(settings, folder, SummaryWriter(str(folder)))
        _add(run.writer, hparams.begun(name, settings, self._text, _seconds(event["at"])))
        self._flush(run.writer)

    def _pretrain_epoch(self, event: Event) -> None:
        run, epoch = self._runs[event["trial"]], event["epoch"]
        if epoch in run.epochs:
            return
        run.epochs.add(epoch)
        for name, value in event["metrics"].items():
            self._scalar(run.writer, f"pretrain/{LOSSES.get(name, name)}", value, epoch)
        self._flush(run.writer)

    def _fold_finished(self, event: Event) -> None:
        run, fold = self._runs[event["trial"]], event["fold"]
        if fold in run.folds:
            return
        run.folds[fold] = event
        for epoch, metrics in enumerate(event["result"]["epochs"], start=1):
            for name, value in metrics.items():
                self._scalar(run.writer, f"finetune/{fold}/{name}", value, epoch)
        self._scalar(run.writer, "finetune/macro_f1_so_far", _mean(run.results, "macro_f1"), len(run.folds))
        self._flush(run.writer)

    def _trial_goes_on(self, event: Event) -> None:
        """A trial that had failed or been stopped runs on: its run is drawn anew up to there, without an end."""
        number = event["trial"]
        if not self._runs[number].ended:
            return
        self._remove(self._runs.pop(number))
        for one in self._of_trial(number):
            match one["event"]:
                case "trial_started":
                    self._trial_started(one)
                case "pretrain_epoch":
                    self._pretrain_epoch(one)
                case "fold_finished":
                    self._fold_finished(one)

    def _trial_finished(self, event: Event) -> None:
        run, state = self._runs[event["trial"]], event["state"]
        run.ended = True
        if run.writer is None:
            return
        if event["macro_f1"] is not None:
            self._scalar(run.writer, "final/macro_f1", event["macro_f1"])
        self._scores(run.writer, run.results)
        self._curves(run.writer, run.folds.values())
        run.writer.add_text("end", ": ".join(filter(None, [state, event["reason"]])))
        _add(run.writer, hparams.ended(state, _seconds(event["at"])))
        run.writer.close()
        (run.folder / MARK).write_text(_digest(self._of_trial(event["trial"])))

    def _baseline_finished(self, event: Event) -> None:
        folder = self.folder / f"baseline {event['name']}"
        shutil.rmtree(folder, ignore_errors=True)
        writer = SummaryWriter(str(folder))
        self._scalar(writer, "final/macro_f1", event["macro_f1"])
        self._scores(writer, {fold["fold"]: fold["result"] for fold in event["folds"]})
        writer.close()

    def _scores(self, writer: SummaryWriter, results: Mapping[str, Event]) -> None:
        """Means over the folds, macro-F1 of each, and the confusion matrix of all."""
        if not results:
            return
        for name in ("accuracy", "kappa"):
            self._scalar(writer, f"final/{name}", _mean(results, name))
        for fold, result in results.items():
            self._scalar(writer, f"final/macro_f1/{fold}", result["macro_f1"])
        confusion = np.sum([result["confusion"] for result in results.values()], axis=0)
        writer.add_image("confusion", confusion_picture(confusion, self._classes), dataformats="HWC")

    def _curves(self, writer: SummaryWriter, folds: Iterable[Event]) -> None:
        """Precision against recall of each behaviour, over all validation windows whose probabilities are kept."""
        found = [self._kept.validation(fold) if self._kept else None for fold in folds]
        kept = [one for one in found if one is not None]
        if self._kept and len(kept) < len(found):
            writer.add_text("missing", f"precision-recall curves lack {len(found) - len(kept)} folds that are not kept")
        if not kept:
            return
        truth, probabilities = (np.concatenate(parts) for parts in zip(*kept, strict=True))
        for code, name in enumerate(self._classes):
            if (truth == code).any():
                curve = f"precision-recall/{name}", truth == code, probabilities[:, code]
                writer.add_pr_curve(*curve, num_thresholds=THRESHOLDS, walltime=self._at)

    def _embed(self) -> None:
        """The labelled windows in the projector, in the space of the winner's pre-trained encoder."""
        trials = trial_records(self._events)
        winner = report_winner(scored_settings(trials))
        if winner is None or self._kept is None:
            return
        trial, seed = trials[winner.number], self._events[0].get("seed", 0)
        fold = next(iter(trial.folds.values()))
        embedded = self._kept.embedded(str(trial.pretrained.get("key")), fold["key"], seed)
        if embedded is None:
            self._study.writer.add_text("missing", "no projector: the winner's encoder or the windows are not kept")
            return
        self._study.writer.add_embedding(
            embedded.vectors,
            metadata=embedded.rows,
            metadata_header=["behaviour", "animal", "species"],
            tag=f"validation windows, encoder of trial {winner.number}",
        )

    def _remove(self, run: _Run) -> None:
        if run.writer is not None:
            run.writer.close()
        shutil.rmtree(run.folder)
        self._drawn -= {run.folder.name}

    def _of_trial(self, number: int) -> list[Event]:
        return [event for event in self._events if event.get("trial") == number]

    def _scalar(self, writer: SummaryWriter | None, tag: str, value: float, step: int = 0) -> None:
        if writer is not None:
            writer.add_scalar(tag, value, step, walltime=self._at)

    def _flush(self, writer: SummaryWriter | None) -> None:
        if writer is not None and self.live:
            writer.flush()


def rebuild(folder: Path, events: Sequence[Event], store: Path | None = None) -> StudyBoard:
    """The board of a study that goes on, drawn again from the journal, so that no point is double.

    Runs of trials that were drawn whole and have not changed since stay: a thousand of them take seconds.
    """
    whole = _drawn_whole(folder, events)
    for run in folder.iterdir() if folder.is_dir() else ():
        if run.name not in whole:
            shutil.rmtree(run) if run.is_dir() else run.unlink()
    board = StudyBoard(folder, store, whole)
    board.live = False
    for event in events:
        board.observe(event)
    board.live = True
    return board


def _drawn_whole(folder: Path, events: Iterable[Event]) -> list[str]:
    """Runs of trials that have ended, and whose run was drawn from just the events that they have now."""
    marks = {path.parent.name: path.read_text() for path in folder.glob(f"*/{MARK}")}
    by_trial: defaultdict[int, list[Event]] = defaultdict(list)
    for event in events if marks else ():
        if event.get("trial") is not None:
            by_trial[event["trial"]].append(event)
    digests = {_digest(of_trial) for of_trial in by_trial.values()}
    return [name for name, mark in marks.items() if mark in digests]


def _digest(events: Sequence[Event]) -> str:
    text = json.dumps([VERSION, *events], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _add(writer: SummaryWriter | None, summary: Summary) -> None:
    """Write what SummaryWriter has no method for."""
    assert writer is not None
    assert writer.file_writer is not None, "the writer is closed"
    writer.file_writer.add_summary(summary)


def _mean(results: Mapping[str, Event], name: str) -> float:
    return float(np.mean([result[name] for result in results.values()]))


def _seconds(at: str) -> float:
    """Seconds since 1970 of a time in the journal."""
    return datetime.fromisoformat(at).timestamp()
