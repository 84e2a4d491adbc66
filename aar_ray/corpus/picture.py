"""Tables and a picture of what an inspection found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from rich.table import Table

from aar_ray.corpus.inspection import SHOWN, Inspected
from aar_ray.corpus.recording import AXES

COLOURS = ("tab:blue", "tab:orange", "tab:green")


def source_table(found: Sequence[Inspected], rate_hz: float, *, simulated: bool) -> Table:
    """One row a source."""
    table = Table(title="SIMULATED recordings" if simulated else "Recordings")
    for name in ("source", "species", "animals", "recordings", "hours", "rate", "at rest", "gaps", "windows"):
        table.add_column(name, justify="left" if name in ("source", "species") else "right")
    for source in found:
        norms = source.resting_norms().values()
        table.add_row(
            source.name,
            source.species,
            f"{len(source.seconds)}",
            f"{len(source.recordings)}",
            f"{sum(source.seconds.values()) / 3600:,.2f}",
            f"{', '.join(f'{rate:g}' for rate in sorted(source.rates)) or '-'} to {rate_hz:g} Hz",
            f"{min(norms):.2f} to {max(norms):.2f} g" if norms else "-",
            f"{sum(source.gaps.stretches.values()):,}",
            f"{source.windows:,}",
        )
    return table


def left_out_table(found: Sequence[Inspected]) -> Table:
    """One row for each reason to leave something out, and for each kind of gap."""
    table = Table(title="Left out, and gaps")
    for name in ("source", "why", "stretches", "seconds"):
        table.add_column(name, justify="left" if name in ("source", "why") else "right")
    for source in found:
        for reasons in (source.dropped, source.gaps):
            for reason in sorted(reasons.stretches):
                seconds = f"{reasons.seconds[reason]:,.1f}"
                table.add_row(source.name, reason, f"{reasons.stretches[reason]:,}", seconds)
    return table


def behaviour_table(source: Inspected) -> Table:
    """One row a behaviour."""
    table = Table(title=f"{source.name}: windows by behaviour")
    table.add_column("behaviour")
    table.add_column("windows", justify="right")
    table.add_column("share", justify="right")
    for name, count in source.behaviours.most_common():
        table.add_row(name, f"{count:,}", f"{count / source.windows:.2%}")
    return table


def draw(found: Sequence[Inspected], rate_hz: float, path: Path, *, simulated: bool) -> None:
    """A row for each source and behaviour: a few windows of it, and the mean spectrum of many.

    Args:
        found: of `inspect_study`.
        rate_hz: of the windows.
        path: of the PNG.
        simulated: whether it is marked so.
    """
    rows = [(source, name) for source in found for name in sorted(source.shown)]
    figure = Figure(figsize=(3 * (SHOWN + 1), 1.9 * max(1, len(rows)) + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(max(1, len(rows)), SHOWN + 1, squeeze=False)
    for row, (source, name) in zip(axes, rows, strict=False):
        windows = source.shown[name]
        chosen = np.linspace(0, len(windows) - 1, SHOWN).astype(int)
        seconds = np.arange(windows.shape[2]) / rate_hz
        for axis, number in zip(row, chosen, strict=False):
            for values, colour, label in zip(windows[number], COLOURS, AXES, strict=True):
                axis.plot(seconds, values, color=colour, linewidth=1, label=label)
            axis.set_xlabel("s")
        row[0].set_ylabel(f"{source.name}\n{name}\ng", fontsize=8)
        row[0].legend(fontsize=6, loc="upper right")
        moving = windows - windows.mean(axis=2, keepdims=True)
        spectra = np.abs(np.fft.rfft(moving, axis=2)).mean(axis=0) * 2 / windows.shape[2]
        frequencies = np.fft.rfftfreq(windows.shape[2], 1 / rate_hz)
        for values, colour in zip(spectra, COLOURS, strict=True):
            row[-1].semilogy(frequencies[1:], values[1:], color=colour, linewidth=1)
        row[-1].set_xlabel("Hz")
        row[-1].yaxis.set_minor_formatter(NullFormatter())  # their numbers overlap
        row[-1].set_title(f"mean spectrum of {len(windows)} windows, g", fontsize=8)
    title = "windows of each behaviour, and their spectra"
    figure.suptitle(f"SIMULATED: {title}" if simulated else title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
