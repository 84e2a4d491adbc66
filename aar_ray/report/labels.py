"""Tables of what a study's winner labelled, and of how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table


def budget_table(windows: pd.DataFrame, step_seconds: float, *, simulated: bool) -> Table:
    """What each animal spent its time on, as a share of its windows.

    Args:
        windows: columns animal, behaviour and windows.
        step_seconds: between the starts of two windows.
        simulated: whether the animals are; the title then says so.
    """
    title = "Time budget by the labels"
    table = Table(title=f"SIMULATED animals: {title}" if simulated else title, box=box.SIMPLE_HEAD, show_edge=False)
    counts = windows.pivot_table(index="animal", columns="behaviour", values="windows", aggfunc="sum", fill_value=0)
    table.add_column("animal")
    for head in ("hours", *counts.columns):
        table.add_column(str(head), justify="right", overflow="fold")
    for animal, row in counts.iterrows():
        total = int(row.sum())
        shares = (f"{count / total:.1%}" for count in row)
        table.add_row(str(animal), f"{total * step_seconds / 3600:,.2f}", *shares)
    return table


def score_text(about: Mapping[str, Any]) -> str:
    """How the winner did on labelled animals that it had not seen.

    Args:
        about: of `aar_ray.search.labelling.winner_of`.
    """
    flattered = ", flattered by its having been chosen for it" if about["macro_f1_flattered"] else ""
    return (
        f"On labelled animals that they had not seen, the winner's classifiers (trial {about['trial']}) reach "
        f"macro-F1 {about['macro_f1']:.3f}{flattered}."
    )


def trust_table(about: Mapping[str, Any]) -> Table:
    """The same by behaviour: which part of a behaviour is found, and which part of what is called so is right."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("behaviour")
    for head in ("windows", "called so", "of those called so, right"):
        table.add_column(head, justify="right")
    for name, scores in about["per_class"].items():
        table.add_row(name, f"{scores['support']:,}", f"{scores['recall']:.1%}", f"{scores['precision']:.1%}")
    return table
