"""Figures as SVG that a page can hold: text stays text, colours follow the page's theme, and words say it too."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, GRID = "#101112", "#707172", "#d0d1d2"
ACCENT, WARM, GOOD, SOFT = "#1a6ee1", "#d2480f", "#2a8a3e", "#9fb0c1"
"""Stand for the page's own colours, so that they must not occur otherwise."""

VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", ACCENT: "accent", WARM: "warm", GOOD: "good", SOFT: "soft"}

STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}

HEAD = re.compile(r"<svg [^>]*?viewBox=\"([^\"]*)\"[^>]*>")


@dataclass(frozen=True)
class Drawn:
    """A figure on the page."""

    name: str
    """Unique on the page."""
    caption: str
    text: str
    """What it shows, in words: for those who do not see it, and for the Markdown report."""
    svg: str


@contextmanager
def canvas(width: float, height: float, rows: int = 1, columns: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of so many inches and its axes, row by row, in the report's style."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        yield figure, list(grid.ravel())


def drawn(figure: Figure, name: str, caption: str, text: str) -> Drawn:
    """The figure as SVG with its text alternative, to be called inside `canvas`."""
    written = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        # without a date equal data give an equal file
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # ids are unique in a file and not on a page of several
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    opening = (
        rf'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="\1" role="img" '
        rf'aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{_escaped(caption)}</title>'
        rf'<desc id="{name}-desc">{_escaped(text)}</desc>'
    )
    return Drawn(name, caption, text, HEAD.sub(opening, svg, count=1))


def _escaped(text: str) -> str:
    return html.escape(text).replace("\\", r"\\")
