"""What a study of arms ends with: the arms' scores, and their differences from the first one, as table and figure."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from aar_ray.report.drawing import ACCENT, MUTED, STYLE


def arms_table(arms: pd.DataFrame, simulated: bool) -> Table:
    """One row an arm, the first one first; differences in points of macro-F1, paired over animals and seeds.

    Args:
        arms: as `aar_ray.search.ranking.arms` gives it.
        simulated: whether the animals are; the title then says so.
    """
    title = f"Arms against {arms['arm'].iloc[0]}: macro-F1, and points of difference paired over animals and seeds"
    table = Table(title=f"SIMULATED animals: {title}" if simulated else title, box=box.SIMPLE_HEAD, show_edge=False)
    for head in ("arm", "runs", "F1", "95 %", "points", "95 %"):
        table.add_column(head, justify="left" if head == "arm" else "right", overflow="fold")
    for number, arm in enumerate(arms.to_dict("records")):
        difference = [100 * arm[name] for name in ("difference", "difference_low", "difference_high")]
        table.add_row(
            arm["arm"],
            str(arm["runs"]),
            f"{arm['macro_f1']:.3f}",
            f"{arm['macro_f1_low']:.2f} to {arm['macro_f1_high']:.2f}",
            f"{difference[0]:+.1f}" if number else "",
            f"{difference[1]:+.1f} to {difference[2]:+.1f}" if number else "",
        )
    return table


def draw_arms(arms: pd.DataFrame, simulated: bool, path: Path) -> None:
    """The differences from the first arm with their intervals, as an SVG file."""
    others = arms.iloc[1:]
    with matplotlib.rc_context({**STYLE, "figure.facecolor": "white", "svg.hashsalt": "arms"}):
        figure = Figure(figsize=(7.2, 1.3 + 0.3 * len(others)), layout="constrained")
        axes = figure.add_subplot()
        places = np.arange(len(others))
        middle = 100 * others["difference"].to_numpy()
        reach = np.abs(100 * others[["difference_low", "difference_high"]].to_numpy().T - middle)
        axes.errorbar(middle, places, xerr=reach, fmt="o", color=ACCENT, capsize=3)
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_yticks(places, list(others["arm"]))
        axes.set_ylim(len(others) - 0.5, -0.5)  # the first on top
        axes.set_xlabel(f"points of macro-F1 against {arms['arm'].iloc[0]}, 95 % over animals and seeds")
        if simulated:
            axes.set_title("SIMULATED animals")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
