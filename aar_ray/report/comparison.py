"""Several studies side by side: what each reports of its winner, and their winners animal by animal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from aar_ray.report.drawing import ACCENT, WARM, Drawn, canvas, drawn
from aar_ray.report.findings import interval_text, name_of, reported
from aar_ray.report.page import HTML, MARKDOWN, render
from aar_ray.report.record import StudyRecord, read_study
from aar_ray.search.evidence import Scored, paired_difference
from aar_ray.search.ranking import write_ranking


def write_comparison(folders: Sequence[Path], into: Path) -> Path:
    """Write `report.html`, `report.md` and `studies.csv`; returns the page.

    Raises:
        aar_ray.report.record.NotAStudy: a folder is not that of a study.
    """
    records = [read_study(folder) for folder in folders]
    frame = compared(records)
    write_ranking(frame, into / "studies.csv")
    content = {
        "rows": frame.to_dict("records"),
        "figure": _figure(records),
        "pairs": list(_pairs(records)),
        "simulated": [record.name for record in records if record.simulated],
        "missing": [f"{record.name}: {text}" for record in records for text in record.missing],
    }
    (into / MARKDOWN).write_text(render("comparison.md.jinja", content), encoding="utf-8")
    (into / HTML).write_text(render("comparison.html.jinja", content), encoding="utf-8")
    return into / HTML


def compared(records: Sequence[StudyRecord]) -> pd.DataFrame:
    """One row a study: `study`, `folder`, `state`, `trials`, `animals`, `winner`, `macro_f1` with `_low` and `_high`
    (95 %, over animals and seeds), `fresh_runs` behind it (0: overstated), each baseline's score, and `data`."""
    rows = []
    for record in records:
        winner = record.winner
        row: dict[str, object] = {
            "study": record.name,
            "folder": str(record.folder),
            "state": "finished" if record.finished else "unfinished",
            "trials": len(record.trials),
            "animals": len(record.animals),
            "winner": "" if winner is None else name_of(record, winner.number),
            "macro_f1": math.nan,
        }
        if winner is not None:
            score = winner.elsewhere if winner.runs else (winner.chosen_by, math.nan, math.nan)
            row |= dict(zip(("macro_f1", "macro_f1_low", "macro_f1_high"), score, strict=True))
            row["fresh_runs"] = winner.runs
        row |= {str(one["name"]): one["macro_f1"] for one in record.baselines.to_dict("records")}
        rows.append({**row, "data": "SIMULATED" if record.simulated else "recorded"})
    return pd.DataFrame(rows)


def _pairs(records: Sequence[StudyRecord]) -> Iterator[tuple[str, str, str]]:
    """Each study's winner against the first study's, over the animals that both were validated on."""
    first, *others = (record for record in records if record.winner is not None) if len(records) > 1 else (None,)
    for other in others:
        assert first is not None
        shared = sorted(set(first.animals) & set(other.animals))
        if not shared:
            yield first.name, other.name, "no validation animal in common"
            continue
        ours, theirs = (_on(record, shared) for record in (other, first))
        mean, low, high, animals, _ = paired_difference(ours, theirs, other.seeds or first.seeds)
        interval = "" if np.isnan(low) else f" (95 %: {low:+.3f} to {high:+.3f})"
        yield first.name, other.name, f"{mean:+.3f}{interval}, paired over {animals} animals"


def _on(record: StudyRecord, animals: Sequence[str]) -> Scored:
    scored = reported(record)
    return Scored(scored.number, scored.scores[:, [record.animals.index(animal) for animal in animals]], scored.sought)


def _figure(records: Sequence[StudyRecord]) -> Drawn | None:
    shown = [record for record in records if record.winner is not None]
    if not shown:
        return None
    with canvas(7.2, 1 + 0.4 * len(shown)) as (figure, (axes,)):
        for place, record in enumerate(shown):
            winner = record.winner
            assert winner is not None
            mean, low, high = winner.elsewhere if winner.runs else (winner.chosen_by, math.nan, math.nan)
            colour = ACCENT if winner.runs else WARM
            axes.plot([low, high], [place, place], color=colour, linewidth=2.2)
            axes.scatter([mean], [place], color=colour, s=34, zorder=3)
        axes.set_yticks(range(len(shown)), [record.name for record in shown])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("winner's macro-F1, 95 % over animals and seeds")
        caption = "The winner of each study; orange ones were not confirmed on fresh seeds and are overstated."
        scores = [(record, record.winner) for record in shown]
        text = "; ".join(
            f"{record.name} {interval_text(one.elsewhere) if one.runs else f'{one.chosen_by:.3f}, overstated'}"
            for record, one in scores
            if one is not None
        )
        return drawn(figure, "studies", caption, f"{text}.")
