"""Figures of trials, animals and time. Each is made of a study's record; None where the record has nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from aar_ray.report.drawing import ACCENT, GOOD, GRID, INK, MUTED, SOFT, WARM, Drawn, canvas, drawn
from aar_ray.report.names import duration
from aar_ray.report.pooled import pooled_confusion
from aar_ray.report.record import StudyRecord, time_of
from aar_ray.search.ranking import TrialRecord

SHOWN = 15
"""Settings in the figure of the ranking."""
TIMELINE = 60
"""Trials in the timeline."""


def standing(record: StudyRecord) -> Drawn | None:
    """The best settings and the baselines with their intervals; one dot an animal."""
    rows = record.ranking[record.ranking["rank"].notna()].head(SHOWN)
    if rows.empty:
        return None
    animals = [name for name in record.ranking.columns if name.startswith("macro_f1[")]
    columns = ["macro_f1", "macro_f1_low", "macro_f1_high", *animals]
    lines: list[tuple[str, Mapping[Any, Any], str]] = []
    for row in rows.to_dict("records"):
        name = f"trial {row['trial']}" if row["arm"] is None else str(row["arm"])
        times = f" × {row['runs']}" if row["runs"] > 1 else ""
        lines.append((name + times, row, ACCENT if row["beside_winner"] else SOFT))
    lines += [(str(row["name"]), row, WARM) for row in record.baselines.to_dict("records")]
    with canvas(7.2, 1.1 + 0.27 * len(lines)) as (figure, (axes,)):
        for place, (_, scores, colour) in enumerate(lines):
            row = dict(scores)
            low, high = row["macro_f1_low"], row["macro_f1_high"]
            values = [row[name] for name in animals if name in row]
            axes.scatter(values, [place] * len(values), s=9, color=GRID, edgecolor=MUTED, linewidth=0.5, zorder=2)
            axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
            axes.scatter([row["macro_f1"]], [place], s=34, color=colour, zorder=4)
        axes.set_yticks(range(len(lines)), [name for name, _, _ in lines])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("validation macro-F1")
        axes.grid(axis="y", visible=False)
        beside = int(rows["beside_winner"].fillna(False).sum())
        best = rows.iloc[0]
        text = (
            f"The {len(rows)} best settings and {len(lines) - len(rows)} baselines. The winner, trial {best['trial']}, "
            f"has {best[columns[0]]:.3f}, 95 % interval {_range(best[columns[1]], best[columns[2]])}; "
            f"{beside} of the settings shown cannot be told from it."
        )
        return drawn(figure, "standing", STANDING, text)


STANDING = (
    "Validation macro-F1, mean and 95 % interval; small dots are animals. Blue settings cannot be told from the "
    "winner, grey ones can, orange are baselines."
)


def animals(record: StudyRecord) -> Drawn | None:
    """Each animal's score under the winner, trial 0 and the baselines."""
    if record.winner is None or not record.animals:
        return None
    numbers = list(dict.fromkeys([record.winner.number, 0]))
    shown = {
        f"trial {number}" + (" (winner)" if number == record.winner.number else ""): one
        for number in numbers
        for one in record.scored
        if one.number == number
    }
    shown |= {name: one for name in record.baseline_events if (one := record.baseline_scored(name)) is not None}
    order = np.argsort(shown[next(iter(shown))].by_animal())
    with canvas(7.2, 3.4) as (figure, (axes,)):
        marks = zip("osDv^Pxh", (ACCENT, INK, WARM, GOOD, MUTED, SOFT, WARM, GOOD), strict=True)
        words = []
        for (name, one), (mark, colour) in zip(shown.items(), marks, strict=False):
            values = one.by_animal()[order]
            axes.plot(range(len(values)), values, marker=mark, color=colour, linewidth=1, markersize=5, label=name)
            words.append(f"{name}: {', '.join(f'{value:.2f}' for value in values)}")
        named = [record.animals[place] for place in order]
        axes.set_xticks(range(len(named)), named, rotation=30 if len(named) > 5 else 0)
        axes.set_ylim(0, 1)
        axes.set_ylabel("validation macro-F1")
        axes.legend(fontsize=8, loc="lower right", ncols=2)
        text = f"Animals in order of the winner's score: {', '.join(named)}. {'; '.join(words)}."
        caption = (
            "Macro-F1 of each validation animal. Lines join what one model reached; animals are not in a sequence."
        )
        return drawn(figure, "animals", caption, text)


def progress(record: StudyRecord) -> Drawn | None:
    """Score of each trial in the order of their numbers, and the best so far."""
    first = {
        number: trial.finished["macro_f1"]
        for number, trial in record.trials.items()
        if trial.state == "complete" and trial.repeat_of is None and trial.finished.get("macro_f1") is not None
    }
    if len(first) < 2 or record.winner is None:
        return None
    again = {
        number: trial.finished["macro_f1"]
        for number, trial in record.trials.items()
        if trial.state == "complete" and trial.repeat_of is not None
    }
    numbers, scores = np.array(list(first)), np.array(list(first.values()))
    best = np.maximum.accumulate(scores)
    with canvas(7.2, 3) as (figure, (axes,)):
        axes.scatter(numbers, scores, s=14, color=SOFT, label="trial", zorder=2)
        axes.step(numbers, best, where="post", color=ACCENT, label="best so far (overstated)", zorder=3)
        if again:
            axes.scatter(list(again), list(again.values()), s=18, marker="D", color=WARM, label="fresh seed", zorder=3)
        score = record.winner.score
        if record.winner.runs and not np.isnan(score.low):
            axes.axhspan(
                max(score.low, 0), min(score.high, 1), color=GOOD, alpha=0.18, linewidth=0, label="winner, reported"
            )
            axes.axhline(score.mean, color=GOOD, linewidth=1)
        axes.set_xlabel("trial")
        axes.set_ylabel("validation macro-F1")
        axes.legend(fontsize=8, loc="lower right")
        text = (
            f"{len(first)} settings were tried once; the best score rose from {scores[0]:.3f} to {best[-1]:.3f}. "
            f"{len(again)} runs on fresh seeds followed."
        )
        return drawn(figure, "progress", "The search. The best of many noisy scores is overstated.", text)


def learning(record: StudyRecord) -> Drawn | None:
    """Pre-training losses, and validation macro-F1 epoch by epoch, of the winner and of trial 0."""
    if record.winner is None:
        return None
    shown = {
        number: record.trials[number] for number in dict.fromkeys([record.winner.number, 0]) if number in record.trials
    }
    epochs = {number: _epochs(record, trial, number) for number, trial in shown.items()}
    if not any(trial.folds for trial in shown.values()):
        return None
    with canvas(7.2, 2.9, columns=2) as (figure, (losses, scores)):
        words = []
        for (number, trial), style in zip(shown.items(), ("-", ":"), strict=False):
            name = f"trial {number}" + (" (winner)" if number == record.winner.number else "")
            for (key, symbol), colour in zip(SYMBOLS.items(), (INK, ACCENT, WARM, GOOD), strict=True):
                values = [metrics[key] for metrics in epochs[number] if key in metrics]
                label = symbol if style == "-" else None
                losses.plot(range(1, len(values) + 1), values, style, color=colour, linewidth=1.2, label=label)
            curve = _fold_curve(trial)
            scores.plot(range(1, len(curve) + 1), curve, style, color=ACCENT, label=name)
            if len(curve):
                words.append(f"{name} rose from {curve[0]:.2f} to at most {np.max(curve):.2f} in {len(curve)} epochs")
        for axes in (losses, scores):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        losses.set(xlabel="epoch", ylabel="loss", title="pre-training")
        scores.set(xlabel="epoch", ylabel="macro-F1", title="fine-tuning, mean over folds")
        if losses.lines:
            losses.legend(fontsize=8, ncols=2)
        scores.legend(fontsize=8)
        caption = "Learning curves: the winner solid, trial 0 dotted. A fold that stopped early keeps its last score."
        return drawn(figure, "learning", caption, f"Validation macro-F1: {'; '.join(words)}.")


SYMBOLS = {"loss": "L", "loss_time": "L_T", "loss_frequency": "L_F", "loss_consistency": "L_C"}


def confusion(record: StudyRecord) -> Drawn | None:
    """What the winner takes for what, over all validation animals and all its runs."""
    classes = record.started.get("classes")
    if record.winner is None or not classes:
        return None
    counts = pooled_confusion(
        fold for trial in record.runs(record.winner.number).values() for fold in trial.folds.values()
    )
    if counts is None:
        return None
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 1.8 + 0.62 * len(classes)
    with canvas(size + 0.6, size) as (figure, (axes,)):
        for (row, column), share in np.ndenumerate(shares):
            axes.add_patch(_cell(axes, row, column, share))
            colour = "white" if share > 0.6 else INK
            axes.text(column, row, f"{share:.0%}", ha="center", va="center", color=colour, fontsize=9)
        axes.set_xlim(-0.5, len(classes) - 0.5)
        axes.set_ylim(len(classes) - 0.5, -0.5)
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axes.set_yticks(
            range(len(classes)),
            [f"{name} ({count:,})" for name, count in zip(classes, counts.sum(axis=1), strict=True)],
        )
        axes.set(xlabel="predicted", ylabel="true (windows)")
        axes.grid(visible=False)
        text = "Share of each true behaviour that was recognised: " + ", ".join(
            f"{name} {shares[place, place]:.0%}" for place, name in enumerate(classes)
        )
        return drawn(figure, "confusion", "The winner's confusions, in shares of each true behaviour.", f"{text}.")


def timeline(record: StudyRecord) -> Drawn | None:
    """When each trial ran."""
    spans = [(number, *span) for number, span in record.times.items() if span[0] is not None]
    begin = next((at for event in record.events if (at := time_of(event)) is not None), None)
    if not spans or begin is None:
        return None
    end = max(at for event in record.events if (at := time_of(event)) is not None)
    unit, per = ("hours", 3600.0) if (end - begin).total_seconds() > 7200 else ("minutes", 60.0)
    shown = spans[:TIMELINE]
    with canvas(7.2, 1 + 0.09 * max(6, len(shown))) as (figure, (axes,)):
        for place, (number, started, ended) in enumerate(shown):
            assert started is not None
            left = (started - begin).total_seconds() / per
            width = ((ended or end) - started).total_seconds() / per
            axes.barh(place, width, left=left, height=0.8, color=COLOURS.get(record.trials[number].state, SOFT))
        axes.set_xlim(0, max((end - begin).total_seconds() / per, 1e-3))
        axes.invert_yaxis()
        axes.set(xlabel=f"{unit} since the start", ylabel="trial")
        rest = f" The first {TIMELINE} of {len(spans)} trials." if len(spans) > TIMELINE else ""
        longest, number = max(((ended or end) - started, number) for number, started, ended in spans if started)
        text = (
            f"{len(spans)} trials ran within {duration((end - begin).total_seconds())}; "
            f"the longest, trial {number}, took {duration(longest.total_seconds())}."
        )
        caption = f"When trials ran: complete blue, failed orange, all others grey; waiting is part of a trial.{rest}"
        return drawn(figure, "timeline", caption, text)


COLOURS = {"complete": ACCENT, "failed": WARM}


def _cell(axes: Axes, row: int, column: int, share: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, color=ACCENT, alpha=0.04 + 0.9 * share, linewidth=0)


def _epochs(record: StudyRecord, trial: TrialRecord, number: int) -> list[Mapping[str, float]]:
    """Metrics of each epoch of the trial's pre-train, which another trial may have reported."""
    key = trial.pretrained.get("key")
    found: dict[int, Mapping[str, float]] = {}
    for event in record.events:
        if event["event"] == "pretrain_epoch" and (event["trial"] == number or (key and event.get("key") == key)):
            found[event["epoch"]] = event["metrics"]
    return [found[epoch] for epoch in sorted(found)]


def _fold_curve(trial: TrialRecord) -> NDArray[np.float64]:
    """[epochs]: mean validation macro-F1 over folds; one that has stopped keeps its last value."""
    curves = [[epoch["macro_f1"] for epoch in fold["result"].get("epochs", [])] for fold in trial.folds.values()]
    curves = [curve for curve in curves if curve]
    longest = max(map(len, curves), default=0)
    return (
        np.mean([curve + curve[-1:] * (longest - len(curve)) for curve in curves], axis=0) if curves else np.array([])
    )


def _range(low: float, high: float) -> str:
    return "unknown" if np.isnan(low) else f"{low:.2f} to {high:.2f}"
