"""The board is read back as a browser reads it: through TensorBoard's own HTTP interface."""

from __future__ import annotations

import io
import json
import math
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import fake_journal as journal
import numpy as np
import pytest
from fake_store import WINDOWS, write_store
from PIL import Image
from scipy import ndimage
from tensorboard.program import TensorBoard

from aar_ray.report.tensorboard import StudyBoard, confusion_picture, rebuild

RUN = "trial-000 λ0.50 δ0.50 P8 S4"
STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]

DARKEST = (8, 48, 107)
"""The blue of a share of 1."""


class Browser:
    """Asks a TensorBoard that has read the folder once."""

    def __init__(self, folder: Path) -> None:
        board = TensorBoard()
        reading = ["--load_fast=false", "--reload_interval=0", "--reload_task=blocking"]
        board.configure(argv=["", f"--logdir={folder}", "--host=127.0.0.1", "--port=0", *reading])
        self._url = board.launch()

    def ask(self, path: str, body: dict[str, Any] | None = None, **query: str) -> Any:
        data = None if body is None else json.dumps(body).encode()
        address = f"{self._url}data/plugin/{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as reply:
            content = reply.read()
            return json.loads(content) if "json" in reply.headers["Content-Type"] else content

    def sessions(self) -> dict[str, dict[str, Any]]:
        """HParams' table: session by run."""
        groups = self.ask("hparams/session_groups", {"startIndex": 0, "sliceSize": 99, "allowedStatuses": STATUSES})
        return {
            session["name"]: {**session, **group} for group in groups["sessionGroups"] for session in group["sessions"]
        }

    def declared(self) -> dict[str, dict[str, Any]]:
        return {info["name"]: info for info in self.ask("hparams/experiment", {})["hparamInfos"]}

    def scalars(self, run: str, tag: str) -> list[tuple[int, float]]:
        """(step, value) of each point."""
        return [(step, value) for _, step, value in self.ask("scalars/scalars", run=run, tag=tag)]


@pytest.fixture
def show(tmp_path: Path) -> Iterator[Callable[[list[journal.Event]], Browser]]:
    """Draws events, each as it comes, and opens a browser on the board, which stays open itself."""
    boards = []

    def draw(events: list[journal.Event]) -> Browser:
        board = StudyBoard(tmp_path / "board")
        boards.append(board)
        for event in events:
            board.observe(event)
        return Browser(board.folder)

    yield draw
    for board in boards:
        board.close()


Show = Callable[[list[journal.Event]], Browser]


def metrics(session: dict[str, Any]) -> dict[str, float]:
    return {metric["name"]["tag"]: metric["value"] for metric in session["metricValues"]}


def test_every_searched_setting_is_a_column_before_the_first_trial(show: Show) -> None:
    declared = show(journal.started()).declared()
    assert set(declared) == set(journal.SEARCH)
    assert declared["tfc.margin"]["domainInterval"] == {"minValue": 0.05, "maxValue": 1.0}
    assert declared["patchtst.patch_length"]["domainInterval"] == {"minValue": 4.0, "maxValue": 16.0}
    assert declared["patchtst.patch_stride"]["domainDiscrete"] == [2.0, 4.0, 8.0]


def test_a_trial_shows_its_settings_from_its_start(show: Show) -> None:
    session = show([*journal.started(), *journal.trial_started(0)]).sessions()[RUN]
    assert session["hparams"] == journal.SETTINGS
    assert session["status"] == "STATUS_UNKNOWN"  # TensorBoard's word for a session without an end
    assert session["endTimeSecs"] == 0
    assert session["metricValues"] == []


def test_scores_fill_as_they_come(show: Show) -> None:
    events = [*journal.started(), *journal.trial_started(0), *journal.pretrained(0), *journal.folds(0, {"Bella": 0.25})]
    browser = show([*events, *journal.folds(0, {"Clara": 0.75})])
    assert browser.scalars(RUN, "finetune/macro_f1_so_far") == [(1, 0.25), (2, 0.5)]
    # epoch 2; the rank is the fifth of the fake metrics, counted from 0
    filled = {"finetune/macro_f1_so_far": 0.5, "pretrain/L": 2.0, "pretrain/effective_rank_z": 2.05}
    assert metrics(browser.sessions()[RUN]) == pytest.approx(filled)


def test_a_complete_trial_is_a_success_with_final_scores(show: Show) -> None:
    session = show([*journal.started(), *journal.trial(0, [0.25, 0.75])]).sessions()[RUN]
    assert session["status"] == "STATUS_SUCCESS"
    assert metrics(session)["final/macro_f1"] == 0.5
    assert metrics(session)["final/accuracy"] == 0.75
    assert session["endTimeSecs"] - session["startTimeSecs"] == 120


def test_failed_and_stopped_trials_are_no_success_and_keep_their_settings_and_reason(show: Show) -> None:
    browser = show(
        [
            *journal.started(),
            *journal.trial_started(0),
            *journal.finished(0, None, "failed", "out of memory"),
            *journal.trial_started(1),
            *journal.folds(1, {"Bella": 0.25}),
            *journal.finished(1, 0.25, "stopped"),
        ]
    )
    failed, stopped = browser.sessions().values()
    assert (failed["status"], stopped["status"]) == ("STATUS_FAILURE", "STATUS_UNKNOWN")
    assert failed["hparams"] == stopped["hparams"] == journal.SETTINGS
    assert metrics(stopped)["final/macro_f1"] == 0.25
    (text,) = browser.ask("text/text", run=RUN, tag="end/text_summary")
    assert "failed: out of memory" in text["text"]


def test_none_lists_and_truth_values_keep_their_column(show: Show) -> None:
    search = {
        "classifier.fused_size": {"choice": [None, 32]},
        "augment.time_families": {"choice": [["jitter"], ["jitter", "crop"]]},
        "some.switch": {"choice": [False, True]},
        "finetune.encoder": {"choice": ["trained", "frozen"]},
        "finetune.learning_rate": {"log_uniform": [1e-5, 1e-3]},
    }
    first = dict(zip(search, [None, ["jitter", "crop"], False, "frozen", 1e-4], strict=True))
    second = dict(zip(search, [32, ["jitter"], True, "trained", 1e-3], strict=True))
    browser = show([*journal.started(search), *journal.trial_started(0, first), *journal.trial_started(1, second)])
    assert set(browser.declared()) == set(search)
    shown = {name: session["hparams"] for name, session in browser.sessions().items()}
    assert shown["trial-000"] == {
        **first,
        "classifier.fused_size": "none",
        "augment.time_families": "jitter, crop",
    }
    assert shown["trial-001"] == {**second, "classifier.fused_size": "32", "augment.time_families": "jitter"}


def test_two_trials_of_equal_settings_are_two_rows(show: Show) -> None:
    browser = show([*journal.started(), *journal.trial(0, [0.25]), *journal.trial(1, [0.75])])
    groups = browser.ask("hparams/session_groups", {"startIndex": 0, "sliceSize": 99, "allowedStatuses": STATUSES})
    assert [len(group["sessions"]) for group in groups["sessionGroups"]] == [1, 1]


def test_losses_stand_under_the_papers_symbols_epoch_by_epoch(show: Show) -> None:
    browser = show([*journal.started(), *journal.trial_started(0), *journal.pretrained(0, epochs=3)])
    tags = browser.ask("scalars/tags")[RUN]
    diagnostics = {f"pretrain/{name}" for name in journal.LOSSES if not name.startswith("loss")}
    assert set(tags) == {"pretrain/L", "pretrain/L_T", "pretrain/L_F", "pretrain/L_C"} | diagnostics
    # the fake value of epoch e is e + 0.01 times the metric's index
    steps, values = zip(*browser.scalars(RUN, "pretrain/L_C"), strict=True)
    assert steps == (1, 2, 3)
    assert values == pytest.approx((1.03, 2.03, 3.03))


def test_folds_have_their_curves_and_final_score(show: Show) -> None:
    browser = show([*journal.started(), *journal.trial(0, [0.5, 0.75])])
    assert browser.scalars(RUN, "finetune/Clara/macro_f1") == [(1, 0.375), (2, 0.75)]
    assert [step for step, _ in browser.scalars(RUN, "finetune/Bella/validation_loss")] == [1, 2]
    assert browser.scalars(RUN, "final/macro_f1/Clara") == [(0, 0.75)]


def test_the_study_has_a_run_of_its_own(show: Show) -> None:
    trials = [*journal.trial(0, [0.5]), *journal.trial(1, [0.25]), *journal.trial(2, [0.75])]
    browser = show([*journal.started(), *trials])
    assert browser.scalars("study", "study/best_macro_f1") == [(1, 0.5), (2, 0.5), (3, 0.75)]
    assert browser.scalars("study", "study/trials_finished") == [(1, 1), (2, 2), (3, 3)]
    (text,) = browser.ask("text/text", run="study", tag="data/text_summary")
    assert "SIMULATED" in text["text"]


def test_recorded_animals_are_not_called_simulated(show: Show) -> None:
    assert "data/text_summary" not in show(journal.started(simulated=False)).ask("text/tags").get("study", [])


def test_baselines_are_runs_beside_the_trials(show: Show) -> None:
    browser = show([*journal.started(), *journal.baseline("random forest", [0.5, 0.25])])
    assert browser.scalars("baseline random forest", "final/macro_f1") == [(0, 0.375)]
    assert browser.sessions() == {}


def test_a_trial_ends_with_its_confusion_matrix_as_a_picture(show: Show) -> None:
    browser = show([*journal.started(), *journal.trial(0, [0.5, 0.75])])
    (picture,) = browser.ask("images/images", run=RUN, tag="confusion", sample="0")
    png = browser.ask(f"images/individualImage?{picture['query']}&x=")
    assert min(Image.open(io.BytesIO(png)).size) > 200


def test_a_confusion_matrix_is_shaded_by_share_of_the_true_class() -> None:
    # rows of 3 and 300 windows, both all right: equally dark on the diagonal, which counts would not be
    picture = confusion_picture([[3, 0], [0, 300]], ["grazing", "resting"]).astype(int)
    areas, _ = ndimage.label((picture == DARKEST).all(axis=2))
    sizes = np.bincount(areas.ravel())[1:]
    first, second = sizes[sizes > 0.1 * sizes.max()]
    assert first == pytest.approx(second, rel=0.1)


def test_rows_of_a_confusion_matrix_are_the_truth_and_columns_what_was_predicted() -> None:
    # all of both behaviours is taken for the second one: a dark column at the right
    picture = confusion_picture([[0, 5], [0, 7]], ["grazing", "resting"]).astype(int)
    down, across = np.nonzero((picture == DARKEST).all(axis=2))
    # the whole height of the matrix, and no further to the left than its middle
    assert down.min() == 0
    assert np.ptp(across) < 0.6 * np.ptp(down)
    assert across.max() == picture.shape[1] - 1


def test_a_study_that_goes_on_has_no_double_points(tmp_path: Path) -> None:
    before = [
        *journal.started(),
        *journal.trial(0, [0.5]),
        *journal.trial_started(1),
        *journal.pretrained(1, epochs=2),
        *journal.folds(1, {"Bella": 0.25}),
    ]
    killed = rebuild(tmp_path / "board", before)
    killed.close()
    board = rebuild(tmp_path / "board", before)
    again = [
        *journal.trial_started(1),
        *journal.pretrained(1, epochs=3),
        *journal.folds(1, {"Bella": 0.25, "Clara": 0.75}),
    ]
    for event in [*journal.started(), *again, *journal.finished(1, 0.5)]:
        board.observe(event)
    board.close()
    browser = Browser(tmp_path / "board")
    run = RUN.replace("000", "001")
    assert [step for step, _ in browser.scalars(RUN, "pretrain/L")] == [1, 2]
    assert [step for step, _ in browser.scalars(run, "pretrain/L")] == [1, 2, 3]
    assert [step for step, _ in browser.scalars(run, "finetune/Bella/macro_f1")] == [1, 2]
    assert browser.scalars(run, "finetune/macro_f1_so_far") == [(1, 0.25), (2, 0.5)]
    assert browser.scalars("study", "study/best_macro_f1") == [(1, 0.5), (2, 0.5)]
    assert browser.sessions()[run]["status"] == "STATUS_SUCCESS"


def test_points_keep_the_time_of_the_journal_when_they_are_drawn_again(tmp_path: Path) -> None:
    events = [*journal.started(), *journal.trial(0, [0.5])]
    rebuild(tmp_path, events).close()
    ((when, _, _),) = Browser(tmp_path).ask("scalars/scalars", run=RUN, tag="final/macro_f1")
    assert when == datetime.fromisoformat(events[-1]["at"]).timestamp()


def test_a_trial_that_starts_again_with_other_settings_replaces_the_interrupted_one(show: Show) -> None:
    other = {**journal.SETTINGS, "patchtst.patch_length": 16}
    interrupted = [*journal.trial_started(0), *journal.pretrained(0)]
    browser = show([*journal.started(), *interrupted, *journal.trial_started(0, other)])
    assert list(browser.sessions()) == ["trial-000 λ0.50 δ0.50 P16 S4"]


def test_the_board_of_an_earlier_study_in_the_folder_is_gone_after_a_rebuild(tmp_path: Path) -> None:
    rebuild(tmp_path, [*journal.started(), *journal.trial(3, [0.5])]).close()
    rebuild(tmp_path, [*journal.started(), *journal.trial(0, [0.5])]).close()
    assert list(Browser(tmp_path).sessions()) == [RUN]


def kept_and_drawn(tmp_path: Path, leave_out: str = "") -> tuple[list[journal.Event], Browser]:
    """The board of a whole study whose artifacts are kept, but for those of one stage."""
    events = journal.searched_study(3, 3, confirmed=1)
    store = write_store(tmp_path / "store", events, leave_out=leave_out)
    rebuild(tmp_path / "board", events, store).close()
    return events, Browser(tmp_path / "board")


def test_each_behaviour_has_its_precision_recall_curve_over_all_validation_windows(tmp_path: Path) -> None:
    _, browser = kept_and_drawn(tmp_path)
    run = next(name for name in browser.ask("pr_curves/tags") if name.startswith("trial-000"))
    tags = browser.ask("pr_curves/tags")[run]
    assert set(tags) == {f"precision-recall/{name}" for name in journal.CLASSES}
    (curve,) = browser.ask("pr_curves/pr_curves", run=run, tag="precision-recall/grazing")[run]
    # at the lowest threshold every window is called grazing: recall 1, precision its share, one in three
    assert (curve["recall"][0], curve["precision"][0]) == pytest.approx((1, 1 / 3))
    assert curve["true_positives"][0] == 3 * WINDOWS / 3


def test_the_projector_has_each_validation_window_with_behaviour_animal_and_species(tmp_path: Path) -> None:
    events, browser = kept_and_drawn(tmp_path)
    (shown,) = browser.ask("projector/info", run="study")["embeddings"]
    assert shown["tensorName"].startswith("validation windows, encoder of trial")
    rows = browser.ask("projector/metadata", run="study", name=shown["tensorName"]).decode().splitlines()
    assert rows[0].split("\t") == ["behaviour", "animal", "species"]
    animals = events[0]["folds"]
    wanted = Counter((name, fold["name"], "goat") for fold in animals for name in journal.CLASSES * (WINDOWS // 3))
    assert Counter(tuple(row.split("\t")) for row in rows[1:]) == wanted


@pytest.mark.parametrize(("stage", "run"), [("finetune", "trial-000"), ("pretrain", "study"), ("labelled", "study")])
def test_what_is_not_kept_is_said_to_be_missing(stage: str, run: str, tmp_path: Path) -> None:
    _, browser = kept_and_drawn(tmp_path, leave_out=stage)
    tags = browser.ask("text/tags")
    (name,) = [name for name in tags if name.startswith(run)]
    assert "missing/text_summary" in tags[name]


def test_the_studys_run_tells_rungs_cache_and_use_of_the_machines(show: Show) -> None:
    start = {**journal.started()[0], "provenance": {"cluster": {"CPU": 2.0}}}
    found = [*journal.trial_started(1), *journal.pretrained(1, epochs=0), *journal.folds(1, {"Bella": 0.5})]
    browser = show([start, *journal.trial(0, [0.25, 0.75]), *found, *journal.finished(1, None, "failed", "gone")])

    def last(tag: str) -> float:
        return browser.scalars("study", f"study/{tag}")[-1][1]

    assert (last("rungs/1"), last("rungs/2")) == (2, 1)
    assert last("found/encoders") == 0.5
    assert (last("trials/complete"), last("trials/failed")) == (1, 1)
    # 13 s of pre-training and three folds of 5 s, in 5 minutes of two processors
    assert last("use/processors") == pytest.approx(28 / 600)
    half = 0.25 * math.tan(0.475 * math.pi)
    assert half > 0.5  # two animals: the interval is cut off
    assert (last("best_low"), last("best_high")) == (0, 1)


def test_the_first_of_the_custom_charts_is_the_study(show: Show) -> None:
    layout = show(journal.started()).ask("custom_scalars/layout")
    assert [category["title"] for category in layout["category"]] == [
        "Study",
        "The study's trials",
        "Pre-training",
        "Fine-tuning",
    ]
    margin = layout["category"][0]["chart"][0]["margin"]["series"][0]
    assert margin == {"value": "study/best_macro_f1", "lower": "study/best_low", "upper": "study/best_high"}


def test_runs_of_finished_trials_stay_as_they_are_when_a_study_goes_on(tmp_path: Path) -> None:
    events = [*journal.started(), *journal.trial(0, [0.5]), *journal.trial(1, [0.25]), *journal.trial_started(2)]
    rebuild(tmp_path, events).close()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("trial-*/events*")}
    # trial 1 is not what it was
    changed = [event for event in events if event.get("trial") != 1]
    board = rebuild(tmp_path, [*changed, *journal.trial(1, [0.75])])
    board.close()
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("trial-*/events*")}
    assert [path.parent.name[:9] for path in before if after.get(path) == before[path]] == ["trial-000"]
    browser = Browser(tmp_path)
    assert [browser.scalars(RUN.replace("000", n), "final/macro_f1") for n in ("000", "001")] == [
        [(0, 0.5)],
        [(0, 0.75)],
    ]
    assert browser.scalars("study", "study/best_macro_f1") == [(1, 0.5), (2, 0.75)]


@pytest.mark.parametrize(("state", "on"), [("failed", "trial_retried"), ("stopped", "trial_promoted")])
def test_a_trial_that_runs_on_after_its_end_is_drawn_once(show: Show, state: str, on: str) -> None:
    start = [*journal.trial_started(0), *journal.pretrained(0), *journal.folds(0, {"Bella": 0.25})]
    failed = [*start, *journal.finished(0, None, state, "disk full"), {"event": on, "trial": 0, "folds": 2}]
    rest = [*journal.folds(0, {"Bella": 0.25, "Clara": 0.75}), *journal.finished(0, 0.5)]
    browser = show([*journal.started(), *failed, *rest])
    assert browser.scalars(RUN, "finetune/macro_f1_so_far") == [(1, 0.25), (2, 0.5)]
    assert [step for step, _ in browser.scalars(RUN, "pretrain/L")] == [1, 2]
    assert browser.sessions()[RUN]["status"] == "STATUS_SUCCESS"
    assert browser.scalars("study", f"study/trials/{state}")[-1][1] == 0


def test_arms_and_repeats_are_told_apart_by_name_and_their_settings_are_columns(show: Show) -> None:
    start = {**journal.started({})[0], "arms": {"short": {"pretrain.epochs": 3}, "plain": {}}}
    first = journal.trial(0, [0.5], {"pretrain.epochs": 3}, origin="arm", arm="short")
    again = journal.trial(1, [0.5], {"pretrain.epochs": 3}, origin="repeat", repeat_of=0, arm="short")
    browser = show([start, *first, *again])
    assert list(browser.sessions()) == ["trial-000 short", "trial-001 short again-000"]
    assert set(browser.declared()) == {"pretrain.epochs"}
