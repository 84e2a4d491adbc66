"""The ranked table that a study ends with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table

from aar_ray.report.names import SYMBOLS, duration, value_text

ROWS = 20
"""Trials that are shown; ranking.csv has all."""

HEADS = {
    **SYMBOLS,
    "finetune.learning_rate": "lr",
    "finetune.weight_decay": "decay",
    "finetune.dropout": "drop",
    "finetune.class_balance_beta": "β",
    "finetune.encoder": "encoder",
}
"""Short heads of the settings that are searched most, so that a row of them stays a row."""


def ranked_table(ranking: pd.DataFrame, baselines: pd.DataFrame, simulated: bool) -> Table:
    """The best trials with their settings, and the baselines below.

    Args:
        ranking: as `aar_ray.search.ranking.rank` gives it.
        baselines: as `aar_ray.search.ranking.baselines` gives it.
        simulated: whether the animals are; the title then says so.
    """
    searched = _searched(ranking)
    title = "Trials by validation macro-F1, mean over folds"
    table = Table(
        title=f"SIMULATED animals: {title}" if simulated else title,
        caption=_caption(len(ranking) - ROWS),
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for head in ("rank", "trial", "F1", "95 %", *map(_head, searched), "time"):
        # fold: what does not fit goes on in the next line, no digit is left out
        table.add_column(head, justify="left" if head == "trial" else "right", overflow="fold")
    for trial in ranking.head(ROWS).to_dict("records"):
        complete = trial["state"] == "complete"
        table.add_row(
            "" if pd.isna(trial["rank"]) else str(trial["rank"]),
            str(trial["trial"]) if complete else f"{trial['trial']} {trial['state']}",
            *_score(trial),
            *(_setting(trial[name]) for name in searched),
            _time(trial["seconds_pretrain"], trial["seconds_finetune"]),
        )
    table.add_section()
    for baseline in baselines.to_dict("records"):
        table.add_row("", baseline["name"], *_score(baseline), *[""] * len(searched), _time(baseline["seconds"]))
    return table


def sealed_table(event: Mapping[str, Any], simulated: bool) -> Table:
    """What an `unsealed` event says: each model's macro-F1 on the test animals."""
    title = f"Sealed test on {', '.join(event['animals'])}: macro-F1"
    table = Table(title=f"SIMULATED animals: {title}" if simulated else title, box=box.SIMPLE_HEAD, show_edge=False)
    for head in ("model", "F1", *event["animals"], "classifiers"):
        table.add_column(head, justify="left" if head == "model" else "right", overflow="fold")
    for score in event["scores"]:
        animals = (f"{score['by_animal'][name]:.3f}" if name in score["by_animal"] else "" for name in event["animals"])
        table.add_row(score["name"], f"{score['macro_f1']:.3f}", *animals, str(score["models"]))
    return table


def _searched(ranking: pd.DataFrame) -> list[str]:
    """Columns of settings: those between the scores and the seconds."""
    columns = list(ranking.columns)
    scores = [index for index, name in enumerate(columns) if name.startswith("macro_f1")]
    return columns[scores[-1] + 1 : columns.index("seconds_pretrain")]


def _caption(more: int) -> str:
    meaning = "95 %: Student's t over the folds, cut off at 0 and 1. time: pre-training and fine-tuning."
    return f"{more} more in ranking.csv. {meaning}" if more > 0 else meaning


def _head(name: str) -> str:
    """A short head where there is one, else the dotted name, one word a line."""
    return HEADS.get(name, name.replace(".", ".\n").replace("_", "\n"))


def _score(row: dict[Any, Any]) -> tuple[str, str]:
    low, high = row["macro_f1_low"], row["macro_f1_high"]
    interval = "" if pd.isna(low) else f"{low:.2f}-{high:.2f}"
    return "" if pd.isna(row["macro_f1"]) else f"{row['macro_f1']:.3f}", interval


def _setting(value: Any) -> str:
    """A setting as text; nothing where the trial has none of that name."""
    return "" if isinstance(value, float) and pd.isna(value) else value_text(value)


def _time(*stages: float) -> str:
    """Seconds of the stages together; nothing where none has run."""
    seconds = sum(stage for stage in stages if not pd.isna(stage))
    return duration(seconds) if seconds else ""
