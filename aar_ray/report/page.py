"""The report of a study: one page that needs no network, the same as Markdown, and its tables as CSV."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from aar_ray.report import figures, setting_figures
from aar_ray.report.costs import cost_rows, plan_rows, shares
from aar_ray.report.drawing import Drawn
from aar_ray.report.findings import believe, next_steps, verdict
from aar_ray.report.importance import Importance
from aar_ray.report.methods import checklist, paragraph, provenance_rows
from aar_ray.report.names import duration, value_text
from aar_ray.report.pooled import MEASURES, behaviour_table, pooled_table
from aar_ray.report.record import StudyRecord, read_study
from aar_ray.report.setting_figures import Tried, symbol_of
from aar_ray.search.ranking import write_ranking

HTML, MARKDOWN, TABLES = "report.html", "report.md", "tables"
ROWS = 20
"""Settings in the page's table; the CSV has all."""


@dataclass(frozen=True)
class Section:
    """Figures under a heading."""

    title: str
    figures: tuple[Drawn, ...]


def write_report(folder: Path, *, price_per_hour: float | None = None) -> Path:
    """Write `report.html`, `report.md` and `tables/*.csv` into a study's folder; returns the page.

    Args:
        folder: `results/<study>`, in whatever state.
        price_per_hour: of all machines together, for the cost of the study.

    Raises:
        aar_ray.report.record.NotAStudy: it is not the folder of a study.
    """
    record = read_study(folder)
    tried = Tried(record)
    content = _content(record, tried, price_per_hour)
    for name, table in tables(record, tried.importances).items():
        write_ranking(table, folder / TABLES / f"{name}.csv")
    _write(folder / MARKDOWN, render("report.md.jinja", content))
    return _write(folder / HTML, render("report.html.jinja", content))


def tables(record: StudyRecord, found: Sequence[Importance]) -> dict[str, pd.DataFrame]:
    """The report's tables by file name."""
    trials = [
        {
            "trial": number,
            "state": trial.state,
            "origin": trial.origin,
            "arm": trial.arm,
            "repeat_of": trial.repeat_of,
            "seed": trial.seed,
            "macro_f1": trial.finished.get("macro_f1"),
            **{name: value_text(value) for name, value in trial.settings.items()},
            "seconds_finetune": trial.seconds,
            "reason": trial.finished.get("reason"),
        }
        for number, trial in record.trials.items()
    ]
    animals = [
        {
            "trial": number,
            "seed": trial.seed,
            "fold": fold["fold"],
            "animal": "+".join(fold["validation"]),
            **_plain(fold),
        }
        for number, trial in record.trials.items()
        for fold in trial.folds.values()
    ]
    data = "SIMULATED" if record.simulated else "recorded"
    found_rows = [
        {"setting": one.name, "importance": one.share, "null_95": one.null, "shown": one.shown} for one in found
    ]
    spent = [vars(share) for share in shares(record)]
    frames = {
        "ranking": record.ranking,
        "baselines": record.baselines,
        "pooled": pooled_table(record),
        "behaviours": behaviour_table(record),
        "trials": pd.DataFrame(trials),
        "animals": pd.DataFrame(animals),
        "importance": pd.DataFrame(found_rows, columns=["setting", "importance", "null_95", "shown"]),
        "time": pd.DataFrame(spent),
    }
    return {name: frame.assign(data=data) for name, frame in frames.items()}


def render(template: str, content: dict[str, Any]) -> str:
    """A template of this package, filled in; what is missing in `content` is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("aar_ray.report"),
        autoescape=jinja2.select_autoescape(["html.jinja"], default_for_string=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": _score, "setting": _setting, "clock": duration, "symbol": symbol_of, "cell": _cell}
    return environment.get_template(template).render(content)


def _content(record: StudyRecord, tried: Tried, price_per_hour: float | None) -> dict[str, Any]:
    ranking = record.ranking
    return {
        "record": record,
        "made_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "verdict": verdict(record),
        "believe": believe(record),
        "steps": next_steps(record, tried.importances),
        "headline": headline(record),
        "rows": ranking[ranking["rank"].notna()].head(ROWS).to_dict("records"),
        "left_out": max(0, int(ranking["rank"].notna().sum()) - ROWS),
        "unranked": ranking[ranking["rank"].isna()].head(ROWS).to_dict("records"),
        "baselines": record.baselines.to_dict("records"),
        "names": tried.names,
        "measures": MEASURES,
        "pooled": pooled_table(record).to_dict("records"),
        "behaviours": behaviour_table(record).to_dict("records"),
        "sections": _sections(record, tried),
        "shares": shares(record),
        "costs": list(cost_rows(record, price_per_hour)),
        "plan": list(plan_rows(record)),
        "methods": paragraph(record),
        "checks": checklist(record),
        "provenance": list(provenance_rows(record)),
        "timeline": figures.timeline(record),
        "files": sorted(f"{TABLES}/{name}.csv" for name in tables(record, tried.importances)),
    }


def headline(record: StudyRecord) -> list[tuple[str, str, str]]:
    """The numbers at the top: name, value, what stands below it."""
    winner = record.winner
    found = []
    if winner is not None:
        honest = winner.score if winner.runs else None
        value = f"{honest.mean:.3f}" if honest else f"{winner.chosen_by:.3f}"
        below = "macro-F1 from fresh runs" if honest else "macro-F1, best of many: overstated"
        if honest and not math.isnan(winner.elsewhere.low):
            low, high = max(winner.elsewhere.low, 0), min(winner.elsewhere.high, 1)
            below = f"macro-F1; other animals {low:.2f} to {high:.2f}"
        found.append(("winner", value, below))
        beside = int(record.ranking["beside_winner"].fillna(False).sum())
        found.append(
            ("as good, as far as one can tell", f"{beside} of {len(record.scored)}", "settings, the winner included")
        )
    scores = {str(row["name"]): float(row["macro_f1"]) for row in record.baselines.to_dict("records")}
    found += [(name, f"{score:.3f}", "macro-F1") for name, score in scores.items()]
    if record.animals:
        found.append(("validation animals", str(len(record.animals)), f"{len(record.trials)} trials"))
    return found


def _sections(record: StudyRecord, tried: Tried) -> list[Section]:
    made = {
        "Standing": (figures.standing(record), figures.progress(record)),
        "Animals and behaviours": (figures.animals(record), figures.confusion(record)),
        "Settings": tuple(
            draw(tried)
            for draw in (
                setting_figures.importance,
                setting_figures.slices,
                setting_figures.parallel,
                setting_figures.pair,
            )
        ),
        "Learning": (figures.learning(record),),
    }
    sections = [Section(title, tuple(one for one in group if one is not None)) for title, group in made.items()]
    return [section for section in sections if section.figures]


def _plain(fold: Mapping[str, Any]) -> dict[str, Any]:
    """A fold's scores without its curves and matrices."""
    return {name: value for name, value in fold["result"].items() if isinstance(value, int | float)}


def _write(path: Path, text: str) -> Path:
    scratch = path.with_name(f".{path.name}.partial")
    scratch.write_text(text, encoding="utf-8")
    return scratch.replace(path)


def _score(value: Any) -> str:
    return "" if value is None or pd.isna(value) else f"{value:.3f}"


def _setting(value: Any) -> str:
    return "" if isinstance(value, float) and math.isnan(value) else value_text(value)


def _cell(values: Iterable[Any] | str) -> str:
    """Text for a cell of a Markdown table."""
    return str(values).replace("|", "\\|").replace("\n", " ")
