"""Figures of settings: which ones mattered, where the good values lie, and how they go together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from aar_ray.report.drawing import ACCENT, INK, MUTED, SOFT, WARM, Drawn, canvas, drawn
from aar_ray.report.importance import Importance, coded, importances
from aar_ray.report.names import SYMBOLS, value_text
from aar_ray.report.record import StudyRecord

MOST = 12
"""Settings in a figure."""
LINES = 300
"""Trials in the parallel coordinates: the best, and of the others an even sample."""


class Tried:
    """The complete first runs of a study, and what their settings did."""

    def __init__(self, record: StudyRecord) -> None:
        trials = [
            trial
            for trial in record.trials.values()
            if trial.state == "complete" and trial.repeat_of is None and trial.finished.get("macro_f1") is not None
        ]
        self.settings: list[dict[str, Any]] = [trial.settings for trial in trials]
        self.scores: NDArray[np.float64] = np.array([trial.finished["macro_f1"] for trial in trials], dtype=float)
        searched = [] if record.started.get("arms") else self.settings
        self.importances: list[Importance] = importances(searched, self.scores, record.started.get("seed", 0))
        found = [one.name for one in self.importances]
        varied = [name for name in record.varied if len({str(one.get(name)) for one in self.settings}) > 1]
        self.names = [*found, *(name for name in varied if name not in found)]
        """Settings that took more than one value, the most important first."""

    def values(self, name: str) -> list[Any]:
        """Of one setting, trial by trial."""
        return [one.get(name) for one in self.settings]


def importance(tried: Tried) -> Drawn | None:
    """Bars of importance beside the null band."""
    found = tried.importances[:MOST]
    if not found:
        return None
    with canvas(7.2, 1 + 0.28 * len(found)) as (figure, (axes,)):
        null = found[0].null
        axes.axvspan(min(0, *(one.share for one in found)), null, color=SOFT, alpha=0.3, linewidth=0)
        places = range(len(found))
        axes.barh(
            places, [one.share for one in found], color=[ACCENT if one.shown else SOFT for one in found], height=0.6
        )
        axes.set_yticks(places, [symbol_of(one.name) for one in found])
        axes.invert_yaxis()
        axes.set_xlabel("share of the variance of macro-F1 that is lost without the setting")
        axes.grid(axis="y", visible=False)
        shown = [one for one in found if one.shown]
        effects = ", ".join(f"{one.name} {one.share:.2f}" for one in shown) or "none"
        without = ", ".join(one.name for one in found if not one.shown) or "none"
        text = f"Settings with an effect: {effects}. Settings without a visible effect: {without}."
        caption = (
            "Importance of each setting. Inside the grey band lies what settings without any effect reach "
            "(95 % of studies with shuffled scores): a bar that ends there shows no effect."
        )
        return drawn(figure, "importance", caption, text)


def slices(tried: Tried) -> Drawn | None:
    """Score against each setting."""
    names = tried.names[:MOST]
    if not names or len(tried.scores) < 2:
        return None
    columns = 3
    rows = -(-len(names) // columns)
    with canvas(7.2, 1.75 * rows + 0.2, rows, columns) as (figure, every):
        for axes, name in zip(every, names, strict=False):
            places = _placed(axes, tried.values(name), across=True)
            axes.scatter(places, tried.scores, s=7, color=ACCENT, alpha=0.6, linewidth=0)
            best = int(tried.scores.argmax())
            axes.scatter([places[best]], [tried.scores[best]], s=24, color=WARM, zorder=3)
            axes.set_title(symbol_of(name), fontsize=9)
        for axes in every[len(names) :]:
            axes.set_visible(False)
        for row in range(rows):
            every[row * columns].set_ylabel("macro-F1")
        best = int(tried.scores.argmax())
        values = ", ".join(f"{name} {value_text(tried.settings[best].get(name))}" for name in names)
        return drawn(figure, "slices", SLICES, f"The trial with the highest score has {values}.")


SLICES = (
    "Macro-F1 of every trial against each setting; orange is the highest score. Other settings vary at the same time."
)


def parallel(tried: Tried) -> Drawn | None:
    """Every trial as a line through its settings."""
    names = tried.names[:8]
    if len(names) < 2 or len(tried.scores) < 3:
        return None
    order = np.argsort(tried.scores)
    step = max(1, -(-len(order) // LINES))
    shown = np.unique(np.concatenate([order[::step], order[-20:]]))
    shown = shown[np.argsort(tried.scores[shown])]
    columns = [_unit(coded(tried.values(name))) for name in names]
    place = np.argsort(np.argsort(tried.scores)) / max(1, len(order) - 1)
    with canvas(7.2, 3.4) as (figure, (axes,)):
        axes.grid(visible=False)
        for trial in shown:
            best = place[trial] >= 0.9
            line = [column[trial] for column in columns]
            alpha = 0.85 if best else 0.12 + 0.25 * place[trial]
            axes.plot(
                range(len(names)), line, color=ACCENT if best else MUTED, alpha=alpha, linewidth=1.2 if best else 0.7
            )
        for number, name in enumerate(names):
            axes.axvline(number, color=INK, linewidth=0.6)
            for height, label in _ends(tried.values(name)):
                axes.annotate(
                    label,
                    (number, height),
                    xytext=(0, 9 if height else -13),
                    textcoords="offset points",
                    ha="center",
                    fontsize=8,
                )
        axes.set_xticks(range(len(names)), [symbol_of(name, lines=True) for name in names], fontsize=8)
        axes.tick_params(axis="x", length=0, pad=14)
        axes.set_yticks([])
        axes.set_ylim(-0.02, 1.12)
        for spine in axes.spines.values():
            spine.set_visible(False)
        top = order[-max(1, len(order) // 10) :]
        words = [f"{name} {_spread([tried.values(name)[trial] for trial in top])}" for name in names]
        caption = "Every trial as a line through its settings; blue is the best tenth."
        return drawn(figure, "parallel", caption, f"In the best tenth of the trials: {'; '.join(words)}.")


def pair(tried: Tried) -> Drawn | None:
    """λ against δ where both vary, else the two most important numbers, coloured by score."""
    first = [name for name in ("tfc.contrastive_weight", "tfc.margin") if name in tried.names]
    numbers = [name for name in tried.names if all(_is_number(value) for value in tried.values(name))]
    names = first if len(first) == 2 else numbers[:2]
    if len(names) < 2 or len(tried.scores) < 3:
        return None
    with canvas(5.2, 3.6) as (figure, (axes,)):
        across = _placed(axes, tried.values(names[0]), across=True)
        up = _placed(axes, tried.values(names[1]), across=False)
        order = np.argsort(tried.scores)
        points = axes.scatter(
            across[order], up[order], c=tried.scores[order], s=26, cmap="viridis", edgecolor=MUTED, linewidth=0.4
        )
        bar = figure.colorbar(points, ax=axes)
        bar.set_label("macro-F1")
        bar.outline.set_visible(False)
        axes.set(xlabel=symbol_of(names[0]), ylabel=symbol_of(names[1]))
        best = tried.settings[int(tried.scores.argmax())]
        text = f"The highest score lies at {', '.join(f'{name} {value_text(best.get(name))}' for name in names)}."
        caption = f"{symbol_of(names[0])} against {symbol_of(names[1])}, coloured by macro-F1."
        return drawn(figure, "pair", caption, text)


def symbol_of(name: str, *, lines: bool = False) -> str:
    """A setting as people call it: the paper's symbol where it has one, and its name."""
    words = name.split(".")[1].replace("_", "\n" if lines else " ") if "." in name else name
    symbol = SYMBOLS.get(name)
    return words if symbol is None else f"{symbol}{chr(10) if lines else ' '}({words})"


def _placed(axes: Axes, values: Sequence[Any], *, across: bool) -> NDArray[np.float64]:
    """Values on an axis of their own kind: linear, logarithmic, or one place a choice."""
    axis = axes.xaxis if across else axes.yaxis
    if all(_is_number(value) for value in values):
        numbers = np.array(values, dtype=float)
        if numbers.min() > 0 and numbers.max() > 10 * numbers.min():
            (axes.set_xscale if across else axes.set_yscale)("log")
        return numbers
    labels = sorted({value_text(value) for value in values})
    axis.set_ticks(range(len(labels)), labels, fontsize=7)
    return np.array([labels.index(value_text(value)) for value in values], dtype=float)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unit(column: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = (column - column.min()) / max(float(np.ptp(column)), 1e-12)
    return unit


def _ends(values: Sequence[Any]) -> list[tuple[float, str]]:
    column = coded(values)
    return [(0.0, value_text(values[int(column.argmin())])), (1.0, value_text(values[int(column.argmax())]))]


def _spread(values: Sequence[Any]) -> str:
    if all(_is_number(value) for value in values):
        low, high = min(values), max(values)
        return value_text(low) if low == high else f"{value_text(low)} to {value_text(high)}"
    return " or ".join(sorted({value_text(value) for value in values}))
