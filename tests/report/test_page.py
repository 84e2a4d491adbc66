"""The report of studies in every state: finished, killed, empty, of an older version, with artifacts gone."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import fake_journal as journal
import pandas as pd
import pytest
from small_study import small_study

from aar_ray.report.__main__ import main
from aar_ray.report.page import write_report
from aar_ray.study_file.loader import save_study

EVENTS = journal.searched_study(20)


def study_in(folder: Path, events: list[journal.Event], tail: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(event) + "\n" for event in events]
    (folder / "journal.jsonl").write_text("".join(lines) + tail)
    return folder


class Page(HTMLParser):
    """What a page asks of the network, and whether its tags are closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text()
        self.open: list[str] = []
        self.asked: list[str] = []
        self.ids: list[str] = []
        self.figures = 0
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)
        self.asked += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if "id" in found:
            self.ids.append(found["id"] or "")
        if tag == "svg":
            self.figures += 1
            assert found["role"] == "img"
            assert found["aria-labelledby"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of twenty settings, confirmed, with its report."""
    folder = study_in(tmp_path_factory.mktemp("results") / "herd", EVENTS)
    write_report(folder)
    return folder


def test_the_page_is_whole_and_asks_nothing_of_the_network(finished: Path) -> None:
    page = Page(finished / "report.html")
    assert page.open == []
    assert {address[:5] for address in page.asked if not address.startswith("#")} == {"data:"}
    assert "@import" not in page.text
    assert not re.search(r"url\((?!#)", page.text)
    assert len(page.ids) == len(set(page.ids))
    # each address within the page leads somewhere
    assert {address[1:] for address in page.asked if address.startswith("#")} <= set(page.ids)


def test_every_figure_says_what_it_shows(finished: Path) -> None:
    page = Page(finished / "report.html")
    assert page.figures == 10
    assert page.text.count("<desc ") == page.figures
    assert all(len(text) > 40 for text in re.findall(r"<desc [^>]*>([^<]*)</desc>", page.text))


def test_the_winner_is_reported_from_its_last_fresh_run_in_page_and_markdown(finished: Path) -> None:
    ranking = pd.read_csv(finished / "tables" / "ranking.csv")
    winner = ranking.iloc[0]
    runs = pd.read_csv(finished / "tables" / "trials.csv")
    last = runs[runs["repeat_of"] == winner["trial"]].iloc[-1]["macro_f1"]
    assert winner["macro_f1_fresh"] == pytest.approx(last)
    for name in ("report.html", "report.md"):
        text = (finished / name).read_text()
        assert f"Trial {winner['trial']} won of 20 complete settings" in text
        assert f"Its macro-F1 on these 6 animals is {last:.3f}" in text
        assert "the smallest two-sided p of a paired sign test is 0.03125" in text


def test_the_way_to_label_other_recordings_is_told_at_a_studys_end(finished: Path, tmp_path: Path) -> None:
    way = f"python -m aar_ray.label {finished} RECORDINGS"
    assert all(way in (finished / name).read_text() for name in ("report.html", "report.md"))
    running = study_in(tmp_path / "herd", [*journal.started(), *journal.trial(0, [0.2])])
    write_report(running)
    assert "aar_ray.label" not in (running / "report.md").read_text()


def test_what_had_no_effect_is_called_so_and_what_had_one_is_not(finished: Path) -> None:
    importance = pd.read_csv(finished / "tables" / "importance.csv").set_index("setting")
    assert importance["shown"].to_dict() == {
        "tfc.contrastive_weight": True,
        "tfc.margin": False,
        "patchtst.patch_length": False,
        "patchtst.patch_stride": False,
    }
    step = next(line for line in (finished / "report.md").read_text().splitlines() if "showed no effect" in line)
    assert "tfc.margin" in step
    assert "contrastive_weight" not in step


def test_tables_have_a_row_a_setting_a_run_and_an_animal(finished: Path) -> None:
    rows = {path.stem: len(pd.read_csv(path)) for path in (finished / "tables").glob("*.csv")}
    assert rows == {"ranking": 20, "baselines": 3, "trials": 26, "animals": 26 * 6, "importance": 4, "time": 4} | {
        "pooled": 5,
        "behaviours": 5 * 3,
    }


def test_simulated_animals_are_stamped_everywhere_and_real_ones_nowhere(finished: Path, tmp_path: Path) -> None:
    folder = study_in(tmp_path / "herd", journal.searched_study(3, 3, simulated=True, confirmed=1))
    write_report(folder)
    assert (finished / "report.html").read_text().count("SIMULATED") == 0
    page = Page(folder / "report.html")
    assert page.text.count("<b>SIMULATED.</b>") == page.figures + 1  # and the pooled scores
    assert "(SIMULATED)</title>" in page.text
    assert "**SIMULATED animals" in (folder / "report.md").read_text()
    for table in (folder / "tables").glob("*.csv"):
        assert set(pd.read_csv(table)["data"]) <= {"SIMULATED"}


def test_an_unconfirmed_winner_is_said_to_be_overstated(tmp_path: Path) -> None:
    folder = study_in(tmp_path / "herd", [*journal.started(), *journal.trial(0, [0.2]), *journal.trial(1, [0.5])])
    write_report(folder)
    text = (folder / "report.md").read_text()
    assert "Its macro-F1 of 0.500 is the best of 2 single scores, so it is overstated" in text
    assert "Confirm the best few on fresh seeds" in text


def without(event: journal.Event, *names: str) -> journal.Event:
    return {name: value for name, value in event.items() if name not in names}


STATES: dict[str, tuple[list[journal.Event], str, str]] = {
    "empty": ([], "", "the study has not begun"),
    "no trial": (journal.started(), "", "No trial has begun"),
    "killed in a line": (EVENTS[:60], '{"event": "fold_fin', "1 lines of journal.jsonl cannot be read"),
    "unfinished": (EVENTS[:60], "", "The study is not finished"),
    "failed only": (
        [*journal.started(), *journal.trial_started(0), *journal.finished(0, None, "failed", "out of memory")],
        "",
        "1 trials failed: out of memory",
    ),
    "older version": (
        [
            without(event, "seed", "repeat_of", "arm", "settings" if event["event"] == "study_started" else "")
            for event in EVENTS
        ],
        "",
        "is of another version and lacks study_started.settings",
    ),
    "one animal": ([*journal.started(), *journal.trial(0, [0.4]), *journal.trial(1, [0.5])], "", "With 1 animals"),
    "arms": (
        [
            *journal.started({}),
            *journal.trial(0, [0.2, 0.4], {"pretrain.epochs": 3}, origin="arm", arm="short"),
            *journal.trial(1, [0.5, 0.5], {"pretrain.epochs": 9}, origin="arm", arm="long"),
            *journal.trial(2, [0.3, 0.4], {"pretrain.epochs": 3}, origin="repeat", repeat_of=0, arm="short"),
            *journal.trial(3, [0.5, 0.6], {"pretrain.epochs": 9}, origin="repeat", repeat_of=1, arm="long"),
        ],
        "",
        "Arm long won of 2 complete settings",
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_a_study_in_any_state_has_a_report_that_says_what_is_missing(state: str, tmp_path: Path) -> None:
    events, tail, said = STATES[state]
    folder = study_in(tmp_path / "herd", events, tail)
    assert Page(write_report(folder)).open == []
    assert said in (folder / "report.md").read_text()


def test_missing_artifacts_of_the_winner_are_named(tmp_path: Path) -> None:
    store = tmp_path / "store"
    folder = study_in(tmp_path / "results" / "herd", [*journal.started(), *journal.trial(0, [0.25, 0.5, 0.75])])
    save_study(small_study(store=str(store)), folder / "study.yaml")
    write_report(folder)
    assert f"The store {store} is not there" in (folder / "report.md").read_text()
    for animal in journal.ANIMALS:
        (store / "finetune" / f"0{animal}").mkdir(parents=True)
    shutil.rmtree(store / "finetune" / "0Clara")
    write_report(folder)
    assert "Weights of trial 0 are not in the store for Clara." in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("form", "read"),
    [
        ("mean", "reads simple features, averaged over"),
        ("own_mean_spread", "reads its simple features, and their mean and standard deviation over"),
    ],
)
def test_the_methods_paragraph_and_the_checklist_tell_what_was_done(tmp_path: Path, form: str, read: str) -> None:
    settings = {"patchtst.model_size": 24, "patchtst.layers": 1, "patchtst.heads": 2, "finetune.selection": "macro_f1"}
    settings |= {"finetune.context_seconds": 30.0, "finetune.context_form": form}
    start = {
        **journal.started(simulated=False)[0],
        "settings": settings,
        "versions": {"aar_ray": "0.1.0", "optuna": "5.0.0"},
        "provenance": {"commit": "c0ffee" * 6 + "beef", "changed": False, "command": "python -m aar_ray.study a.yaml"},
    }
    folder = study_in(tmp_path / "herd", [start, *journal.trial(0, [0.4, 0.5, 0.6])])
    save_study(small_study(store=str(tmp_path)), folder / "study.yaml")
    write_report(folder)
    text = (folder / "report.md").read_text()
    assert "A PatchTST encoder (D 24, 1 layers, 2 heads" in text
    assert f"{read} the windows that start at most 30 s before or after it." in text
    assert "multivariate TPE (Optuna 5.0.0) over tfc.contrastive_weight 0.1 to 0.9" in text
    assert "- [x] Validation by animal: no animal trains and validates in one fold (3 folds)" in text
    assert "- [ ] The winner's score comes from runs that did not choose it" in text
    assert f"- [x] Code: {'c0ffee' * 6}beef" in text
    assert "| command | python -m aar_ray.study a.yaml |" in text


def test_a_leak_between_training_and_validation_fails_the_checklist(tmp_path: Path) -> None:
    start = journal.started()[0]
    start["folds"][1]["train"].append(start["folds"][1]["validation"][0])
    write_report(study_in(tmp_path / "herd", [start, *journal.trial(0, [0.4])]))
    assert "- [ ] Validation by animal" in (tmp_path / "herd" / "report.md").read_text()


def test_the_cost_is_time_times_price(tmp_path: Path) -> None:
    # two trials: the study's last event is 5 minutes after its start
    folder = study_in(tmp_path / "herd", [*journal.started(), *journal.trial(0, [0.4]), *journal.trial(1, [0.5])])
    write_report(folder, price_per_hour=12.0)
    assert "- cost: 1.00 at 12 an hour, 0.500 a trial" in (folder / "report.md").read_text()


def run(*arguments: Any) -> int:
    return main([str(argument) for argument in arguments])


def test_several_studies_are_compared_animal_by_animal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = study_in(tmp_path / "first", [*journal.started(), *journal.trial(0, [0.25, 0.5, 0.75])])
    second = study_in(
        tmp_path / "second", [{**journal.started()[0], "name": "calm"}, *journal.trial(0, [0.375, 0.625])]
    )
    assert run(first, second, "--comparison", tmp_path / "both") == 0
    assert str(tmp_path / "both" / "report.html") in capsys.readouterr().out.replace("\n", "")
    text = (tmp_path / "both" / "report.md").read_text()
    assert "calm against herd: +0.125 (95 %: +0.125 to +0.125), paired over 2 animals" in text
    assert pd.read_csv(tmp_path / "both" / "studies.csv")["study"].tolist() == ["herd", "calm"]
    assert Page(tmp_path / "both" / "report.html").open == []
    assert (first / "report.html").is_file()


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_that_no_study_wrote_is_refused(
    made: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "other"
    if made:
        folder.mkdir()
    assert run(folder) == 1
    assert "other" in capsys.readouterr().err
    assert not (folder / "report.html").exists()
