"""A study in TensorBoard, drawn event by event from its journal: one run a trial, one a baseline, and the study's own.

HParams declares every searched setting at the root before the first trial. A trial's settings are there from its start
and its scores fill as they come; how it ended is its session's status, with the reason as text. A trial that a kill
interrupted and that starts again goes on in its run: what it repeats is not drawn twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.hparams.summary_v2 import (
    Discrete,
    Domain,
    HParam,
    IntInterval,
    Metric,
    RealInterval,
    hparams_config_pb,
    hparams_pb,
)
from torch.utils.tensorboard.writer import SummaryWriter

from aar_ray.report.names import run_name

Event = Mapping[str, Any]

LOSSES = {"loss": "L", "loss_time": "L_T", "loss_frequency": "L_F", "loss_consistency": "L_C"}
"""The paper's symbols for the losses: L is eq. 4, the weighted sum of the others."""

METRICS = {
    "final/macro_f1": "macro-F1",
    "final/accuracy": "accuracy",
    "final/kappa": "kappa",
    "finetune/macro_f1_so_far": "macro-F1 so far",
    "pretrain/L": "L, pre-training",
}
"""Scalars that are columns of the HParams table, with their titles."""

STATUS = {"complete": api_pb2.STATUS_SUCCESS, "failed": api_pb2.STATUS_FAILURE}
"""How HParams is told of a trial's end; a stopped trial is neither and reads unknown, as one that runs does."""


def confusion_picture(confusion: Iterable[Iterable[int]], classes: Iterable[str]) -> np.ndarray:
    """A confusion matrix, rows the truth, each cell with its count and shaded by its share of the row.

    Returns:
        uint8 [height, width, 3].
    """
    counts, names = np.asarray(confusion), list(classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 1.6 + 0.7 * len(names)
    figure = Figure(figsize=(size, size), dpi=100, layout="constrained")
    axes = figure.add_subplot(xlabel="predicted", ylabel="true")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


@dataclass
class _Run:
    """A trial's run while it is written."""

    settings: dict[str, Any]
    folder: Path
    writer: SummaryWriter
    epochs: set[int] = field(default_factory=set)
    results: dict[str, Event] = field(default_factory=dict)


class StudyBoard:
    """The TensorBoard folder of a study. Not for pickling: it holds open files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._study = SummaryWriter(str(folder / "study"))
        self._runs: dict[int, _Run] = {}
        self._classes: list[str] = []
        self._text: set[str] = set()
        self._declared = False
        self._finished = 0
        self._best: float | None = None
        self._at: float | None = None

    def observe(self, event: Event) -> None:
        """Draw one event of the journal, at the time it has there; it is on disk when this returns."""
        self._at = _seconds(event["at"]) if "at" in event else None
        match event["event"]:
            case "study_started":
                self._study_started(event)
            case "trial_started":
                self._trial_started(event)
            case "pretrain_epoch":
                self._pretrain_epoch(event)
            case "fold_finished":
                self._fold_finished(event)
            case "trial_finished":
                self._trial_finished(event)
            case "baseline_finished":
                self._baseline_finished(event)

    def close(self) -> None:
        """Write what is pending and close all files."""
        for run in self._runs.values():
            run.writer.close()
        self._study.close()

    def _study_started(self, event: Event) -> None:
        if self._declared:
            return
        self._declared = True
        self._classes = event["classes"]
        domains = {name: _domain(distribution) for name, distribution in event["search"].items()}
        self._text = {name for name, domain in domains.items() if domain.dtype is str}
        declared = hparams_config_pb(
            hparams=[HParam(name, domain) for name, domain in domains.items()],
            metrics=[Metric(tag, display_name=title) for tag, title in METRICS.items()],
        )
        root = SummaryWriter(str(self.folder))
        _add(root, declared)
        root.close()
        if event["simulated"]:
            self._study.add_text("data", "**SIMULATED** animals: no number here is evidence about real ones.")
        self._study.flush()

    def _trial_started(self, event: Event) -> None:
        number, settings = event["trial"], dict(event["settings"])
        earlier = self._runs.get(number)
        if earlier is not None and earlier.settings == settings:
            return
        if earlier is not None:
            earlier.writer.close()
            shutil.rmtree(earlier.folder)
        name = run_name(number, settings)
        run = self._runs[number] = _Run(settings, self.folder / name, SummaryWriter(str(self.folder / name)))
        values = {setting: _value(value, setting in self._text) for setting, value in settings.items()}
        _add(run.writer, hparams_pb(values, trial_id=name, start_time_secs=_seconds(event["at"])))
        run.writer.flush()

    def _pretrain_epoch(self, event: Event) -> None:
        run, epoch = self._runs[event["trial"]], event["epoch"]
        if epoch in run.epochs:
            return
        run.epochs.add(epoch)
        for name, value in event["metrics"].items():
            self._scalar(run.writer, f"pretrain/{LOSSES.get(name, name)}", value, epoch)
        run.writer.flush()

    def _fold_finished(self, event: Event) -> None:
        run, fold = self._runs[event["trial"]], event["fold"]
        if fold in run.results:
            return
        run.results[fold] = event["result"]
        for epoch, metrics in enumerate(event["result"]["epochs"], start=1):
            for name, value in metrics.items():
                self._scalar(run.writer, f"finetune/{fold}/{name}", value, epoch)
        self._scalar(run.writer, "finetune/macro_f1_so_far", _mean(run.results, "macro_f1"), len(run.results))
        run.writer.flush()

    def _trial_finished(self, event: Event) -> None:
        run, state = self._runs[event["trial"]], event["state"]
        if event["macro_f1"] is not None:
            self._scalar(run.writer, "final/macro_f1", event["macro_f1"])
        self._scores(run.writer, run.results)
        run.writer.add_text("end", ": ".join(filter(None, [state, event["reason"]])))
        status = STATUS.get(state, api_pb2.STATUS_UNKNOWN)
        _add(run.writer, _session_end(status, _seconds(event["at"])))
        run.writer.close()
        self._finished += 1
        self._scalar(self._study, "study/trials_finished", self._finished, self._finished)
        if state == "complete" and event["macro_f1"] is not None:
            self._best = max(event["macro_f1"], self._best or 0.0)
        if self._best is not None:
            self._scalar(self._study, "study/best_macro_f1", self._best, self._finished)
        self._study.flush()

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

    def _scalar(self, writer: SummaryWriter, tag: str, value: float, step: int = 0) -> None:
        writer.add_scalar(tag, value, step, walltime=self._at)


def rebuild(folder: Path, events: Iterable[Event]) -> StudyBoard:
    """The board of a study that goes on: emptied and drawn again from the journal, so that no point is double."""
    shutil.rmtree(folder, ignore_errors=True)
    board = StudyBoard(folder)
    for event in events:
        board.observe(event)
    return board


def _add(writer: SummaryWriter, summary: Summary) -> None:
    """Write what SummaryWriter has no method for."""
    assert writer.file_writer is not None, "the writer is closed"
    writer.file_writer.add_summary(summary)


def _session_end(status: int, seconds: float) -> Summary:
    """The end of a trial for HParams; TensorBoard's own function for it is in a module that needs TensorFlow."""
    content = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=seconds))
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(content),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])


def _domain(distribution: Mapping[str, Any]) -> Domain:
    """HParams' domain of a distribution; a choice of unlike kinds, of lists or with None becomes one of texts."""
    match distribution:
        case {"uniform": [low, high]} | {"log_uniform": [low, high]}:
            return RealInterval(float(low), float(high))
        case {"integer": [low, high]}:
            return IntInterval(low, high)
        case {"choice": values}:
            kinds = {type(value) for value in values}
            if kinds <= {int, float}:
                return Discrete([float(value) for value in values])
            return Discrete(values) if kinds == {bool} else Discrete([_value(value, True) for value in values])
    raise ValueError(
        f"a distribution must be uniform, log_uniform, integer or choice, got {', '.join(distribution)}; "
        "the journal is of another version"
    )


def _value(value: Any, as_text: bool) -> bool | float | str:
    """A setting as HParams can hold it: a number, a truth value, or text, in which None is `none`."""
    if not as_text and isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)


def _mean(results: Mapping[str, Event], name: str) -> float:
    return float(np.mean([result[name] for result in results.values()]))


def _seconds(at: str) -> float:
    """Seconds since 1970 of a time in the journal."""
    return datetime.fromisoformat(at).timestamp()
