from __future__ import annotations

import io

import fake_journal as journal
import pytest
from rich import box
from rich.console import Console

from aar_ray.report.table import ROWS, _setting, ranked_table
from aar_ray.search.ranking import baselines, rank

EVENTS = [
    *journal.started(),
    *journal.trial(0, [0.4, 0.6, 0.5]),
    *journal.trial(1, [0.7, 0.8, 0.9], {**journal.SETTINGS, "tfc.margin": 0.123456}),
    *journal.trial_started(2),
    *journal.finished(2, None, "failed", "out of memory"),
    *journal.baseline("random forest", [0.5, 0.75]),
    *journal.baseline("scratch, winner", [0.25, 0.5]),
]


def rendered(
    events: list[journal.Event], *, simulated: bool = False, width: int = 140, lines: box.Box | None = None
) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    table = ranked_table(rank(events), baselines(events), simulated)
    table.box, table.show_edge = (table.box, False) if lines is None else (lines, True)
    console.print(table)
    return console.file.getvalue().splitlines()


def cells(events: list[journal.Event]) -> list[list[str]]:
    """The table's body, cell by cell, drawn with lines between the cells."""
    lines = rendered(events, lines=box.SQUARE)
    below_heads = next(index for index, line in enumerate(lines) if line.startswith("├")) + 1
    return [
        [cell.strip() for cell in line.strip("│").split("│")] for line in lines[below_heads:] if line.startswith("│")
    ]


def test_rows_are_ranked_with_score_interval_settings_and_time() -> None:
    first, second, third, *_ = cells(EVENTS)
    # 0.8 ± 4.3027 × 0.1 / √3, cut off at 1; 13 s of pre-training and three folds of 5 s
    assert first == ["1", "1", "0.800", "0.55-1.00", "0.5", "0.123", "8", "4", "0:28"]
    assert second == ["2", "0", "0.500", "0.25-0.75", "0.5", "0.5", "8", "4", "0:28"]
    assert third == ["", "2 failed", "", "", "0.5", "0.5", "8", "4", ""]


def test_heads_are_the_papers_symbols_or_the_settings_name() -> None:
    search = {**journal.SEARCH, "augment.crop_fraction": {"uniform": [0.1, 0.5]}}
    _, dotted, crop, last, *_ = rendered([*journal.started(search), *journal.trial(0, [0.5])])
    assert [dotted.strip(), crop.strip()] == ["augment.", "crop"]
    assert last.split() == ["rank", "trial", "F1", "95", "%", "λ", "δ", "P", "S", "fraction", "time"]


def test_baselines_stand_in_a_section_below() -> None:
    lines = rendered(EVENTS)
    above = next(index for index, line in enumerate(lines) if "random forest" in line) - 1
    assert lines[above].strip() == ""
    assert "2 failed" in lines[above - 1]
    assert [row[1:3] for row in cells(EVENTS)[3:]] == [["random forest", "0.625"], ["scratch, winner", "0.375"]]


def test_nothing_is_left_out_where_the_terminal_is_narrow() -> None:
    lines = rendered(EVENTS, width=45)
    assert max(map(len, lines)) <= 45
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("simulated", [True, False])
def test_the_title_says_whether_the_animals_are_simulated(simulated: bool) -> None:
    assert ("SIMULATED" in rendered(EVENTS, simulated=simulated)[0]) is simulated


def test_only_the_first_rows_are_shown_and_the_others_counted() -> None:
    trials = [event for number in range(ROWS + 3) for event in journal.trial(number, [0.9 - 0.01 * number])]
    events = [*journal.started(), *trials]
    assert [row[1] for row in cells(events)] == [str(number) for number in range(ROWS)]
    assert "3 more in ranking.csv" in " ".join(rendered(events))


def test_as_many_trials_as_rows_leave_none_to_count() -> None:
    trials = [event for number in range(ROWS) for event in journal.trial(number, [0.5])]
    assert "more in" not in " ".join(rendered([*journal.started(), *trials]))


def test_none_and_lists_are_readable() -> None:
    names = ["classifier.fused_size", "augment.time_families"]
    search = dict(zip(names, [{"choice": [None, 32]}, {"choice": [["crop"], ["jitter"]]}], strict=True))
    trial = journal.trial(0, [0.5], dict(zip(names, [None, ["jitter", "crop"]], strict=True)))
    ((*_, size, families, _),) = cells([*journal.started(search), *trial])
    assert (size, families) == ("none", "jitter, crop")


def test_an_empty_study_has_an_empty_table() -> None:
    assert cells(journal.started()) == []


@pytest.mark.parametrize(
    ("value", "shown"), [(0.9999, "0.9999"), (0.30557504, "0.306"), (1e-4, "0.0001"), (0.5, "0.5")]
)
def test_a_chosen_value_is_shown_whole_and_a_drawn_one_to_three_digits(value: float, shown: str) -> None:
    assert _setting(value) == shown
