from __future__ import annotations

import math
from pathlib import Path

import fake_journal as journal
import pandas as pd
import pytest

from aar_ray.search.evidence import t_interval
from aar_ray.search.ranking import baselines, difference, rank, write_ranking

T_975_AT_2 = 4.302652729911275
"""Student's t, two degrees of freedom: 0.95 √(2 / (1 - 0.95²)), which has a closed form there alone."""


def test_complete_trials_are_ranked_by_score_and_ties_go_to_the_earlier() -> None:
    events = [
        *journal.started(),
        *journal.trial(3, [0.5, 0.7]),
        *journal.trial(1, [0.5, 0.7]),
        *journal.trial(0, [0.2, 0.3]),
        *journal.trial(2, [0.8, 0.9]),
    ]
    frame = rank(events)
    assert frame["trial"].tolist() == [2, 1, 3, 0]
    assert frame["rank"].tolist() == [1, 2, 3, 4]


def test_failed_stopped_and_unfinished_trials_follow_without_rank_however_good() -> None:
    events = [
        *journal.started(),
        *journal.trial_started(0),
        *journal.folds(0, {"Bella": 0.99, "Clara": 0.98}),
        *journal.finished(0, None, "failed", "out of memory"),
        *journal.trial(1, [0.1, 0.3]),
        *journal.trial_started(2),
        *journal.finished(2, 0.95, "stopped", "worse than half of the trials"),
        *journal.trial_started(3),
    ]
    frame = rank(events).set_index("trial")
    assert frame.index.tolist() == [1, 0, 2, 3]
    assert frame["state"].tolist() == ["complete", "failed", "stopped", "unfinished"]
    assert frame["rank"].isna().tolist() == [False, True, True, True]
    assert frame.loc[0, "reason"] == "out of memory"
    assert frame.loc[0, "macro_f1[Bella]"] == 0.99
    assert frame.loc[0, ["macro_f1", "macro_f1_low", "macro_f1_high"]].isna().all()
    assert frame.loc[2, "macro_f1"] == 0.95


def test_a_row_has_the_score_its_interval_and_each_animal() -> None:
    row = rank([*journal.started(), *journal.trial(0, [0.4, 0.6, 0.5])]).iloc[0]
    half = T_975_AT_2 * 0.1 / math.sqrt(3)
    assert row[["macro_f1", "macro_f1_low", "macro_f1_high"]].tolist() == pytest.approx([0.5, 0.5 - half, 0.5 + half])
    assert row[["macro_f1[Bella]", "macro_f1[Clara]", "macro_f1[Doris]"]].tolist() == [0.4, 0.6, 0.5]
    assert row["folds"] == 3


def test_the_interval_is_cut_off_at_0_and_1() -> None:
    frame = rank([*journal.started(), *journal.trial(0, [0.1, 0.9])])
    assert frame.loc[0, ["macro_f1_low", "macro_f1_high"]].tolist() == [0, 1]


def test_one_fold_gives_a_score_without_an_interval() -> None:
    row = rank([*journal.started(), *journal.trial(0, [0.4])]).iloc[0]
    assert row["macro_f1"] == 0.4
    assert row[["macro_f1_low", "macro_f1_high"]].isna().all()


def test_settings_keep_the_order_of_the_study_file_and_their_kind() -> None:
    search = {"classifier.fused_size": {"choice": [None, 32]}, **journal.SEARCH}
    first, second = ({**journal.SETTINGS, "classifier.fused_size": size} for size in (None, 32))
    frame = rank([*journal.started(search), *journal.trial(0, [0.5], first), *journal.trial(1, [0.4], second)])
    columns = frame.columns.tolist()
    start = columns.index("classifier.fused_size")
    assert columns[start : start + 5] == list(search)
    assert frame["classifier.fused_size"].tolist() == [None, 32]
    assert all(isinstance(value, int) for value in frame["patchtst.patch_length"])


def test_seconds_encoder_and_cache_are_told_per_trial() -> None:
    events = [
        *journal.started(),
        *journal.trial_started(0),
        *journal.pretrained(0, key="e" * 20, seconds=13.0),
        *journal.folds(0, {"Bella": 0.5, "Clara": 0.5}, seconds=5.0),
        *journal.finished(0, 0.5),
        *journal.trial_started(1),
        *journal.pretrained(1, epochs=0, key="e" * 20, seconds=0.0),
        *journal.trial_started(2),
    ]
    frame = rank(events).set_index("trial")
    assert frame.loc[0, ["seconds_pretrain", "seconds_finetune"]].tolist() == [13.0, 10.0]
    assert frame["encoder"].tolist() == ["e" * 20, "e" * 20, None]
    assert frame["encoder_cached"].tolist() == [False, True, pd.NA]


def test_a_fold_that_ran_again_after_a_kill_counts_once() -> None:
    events = [
        *journal.started(),
        *journal.trial_started(0),
        *journal.folds(0, {"Bella": 0.1}),
        *journal.started(),
        *journal.trial_started(0),
        *journal.folds(0, {"Bella": 0.4, "Clara": 0.6}),
        *journal.finished(0, 0.5),
    ]
    frame = rank(events)
    assert frame[["folds", "macro_f1[Bella]"]].to_numpy().tolist() == [[2, 0.4]]


@pytest.mark.parametrize(("simulated", "data"), [(True, "SIMULATED"), (False, "recorded")])
def test_every_row_says_whether_the_animals_are_simulated(simulated: bool, data: str) -> None:
    events = [
        *journal.started(simulated=simulated),
        *journal.trial(0, [0.5]),
        *journal.trial(1, [0.4]),
        *journal.baseline("random forest", [0.6]),
    ]
    assert rank(events)["data"].tolist() == [data, data]
    assert baselines(events)["data"].tolist() == [data]


def test_a_study_without_trials_gives_an_empty_table() -> None:
    frame = rank(journal.started())
    assert frame.empty
    assert {"rank", "trial", "macro_f1", *journal.SEARCH} <= set(frame.columns)
    assert baselines(journal.started()).empty


def test_baselines_are_scored_like_trials_and_the_later_score_counts() -> None:
    events = [
        *journal.started(),
        *journal.baseline("random forest", [0.1, 0.2, 0.3]),
        *journal.baseline("scratch, trial 0", [0.3]),
        *journal.baseline("random forest", [0.4, 0.6, 0.5], seconds=3.0),
    ]
    frame = baselines(events).set_index("name")
    trial = rank([*journal.started(), *journal.trial(0, [0.4, 0.6, 0.5])]).iloc[0]
    scores = ["macro_f1", "macro_f1_low", "macro_f1_high", "macro_f1[Bella]", "macro_f1[Clara]", "macro_f1[Doris]"]
    assert frame.index.tolist() == ["random forest", "scratch, trial 0"]
    assert frame.loc["random forest", scores].tolist() == trial[scores].tolist()
    assert frame.loc["random forest", ["seconds", "folds"]].tolist() == [3.0, 3]


def test_trials_are_compared_on_shared_animals_and_only_complete_ones() -> None:
    events = [
        *journal.started(),
        *journal.trial_started(0),
        *journal.folds(0, {"Doris": 0.5, "Bella": 0.2}),
        *journal.finished(0, 0.35),
        *journal.trial(4, [0.3, 0.9, 0.9]),
        *journal.trial_started(5),
        *journal.folds(5, {"Bella": 0.9}),
    ]
    assert difference(events, 4)[:4] == pytest.approx((*t_interval([0.4, 0.1]), 2))
    with pytest.raises(ValueError, match=r"must be complete in the journal, got 5; it has \[0, 4\]"):
        difference(events, 5)


def confirmed(number: int, repeat_of: int, scores: list[float]) -> list[journal.Event]:
    return journal.trial(number, scores, origin="confirmation", repeat_of=repeat_of)


def test_runs_of_equal_settings_are_one_row_and_confirmed_ones_stand_first() -> None:
    events = [
        *journal.started(),
        *journal.trial(0, [0.2, 0.3]),
        *journal.trial(1, [0.8, 0.9]),
        *journal.trial(2, [0.7, 0.8]),
        *journal.trial(3, [0.75, 0.8]),
        *confirmed(4, 1, [0.5, 0.5]),
        *confirmed(5, 3, [0.7, 0.8]),
        *confirmed(6, 1, [0.3, 0.5]),
        *confirmed(7, 3, [0.6, 0.7]),
    ]
    frame = rank(events).set_index("trial")
    assert frame.index.tolist() == [3, 1, 2, 0]
    assert frame["runs"].tolist() == [3, 3, 1, 1]
    # the search and the first fresh run choose, the last one reports
    assert frame.loc[3, ["macro_f1", "macro_f1_fresh"]].tolist() == pytest.approx([(0.775 + 0.75) / 2, 0.65])
    assert frame.loc[1, ["macro_f1", "macro_f1_fresh"]].tolist() == pytest.approx([(0.85 + 0.5) / 2, 0.4])
    assert frame.loc[1, "macro_f1[Bella]"] == pytest.approx((0.8 + 0.5 + 0.3) / 3)
    assert frame.loc[3, "macro_f1_minus_trial_0"] == pytest.approx((0.775 + 0.75 + 0.65) / 3 - 0.25)
    assert frame["macro_f1_fresh"].isna().tolist() == [False, False, True, True]
    assert frame.loc[3, "beside_winner"]


def test_a_failed_repeat_takes_nothing_from_its_setting() -> None:
    events = [
        *journal.started(),
        *journal.trial(0, [0.2, 0.3]),
        *journal.trial_started(1, origin="confirmation", repeat_of=0),
        *journal.finished(1, None, "failed", "out of memory"),
    ]
    frame = rank(events)
    assert frame[["trial", "state", "runs", "macro_f1"]].to_numpy().tolist() == [[0, "complete", 1, 0.25]]


def test_a_setting_that_is_worse_on_every_animal_by_the_same_is_told_from_the_winner() -> None:
    events = [*journal.started(), *journal.trial(0, [0.25, 0.5, 0.75]), *journal.trial(1, [0.375, 0.625, 0.875])]
    assert rank(events).set_index("trial")["beside_winner"].to_dict() == {1: True, 0: False}


def test_a_failed_trial_that_is_tried_again_is_unfinished_until_it_ends() -> None:
    events = [
        *journal.started(),
        *journal.trial_started(0),
        *journal.finished(0, None, "failed", "out of memory"),
        {"event": "trial_retried", "trial": 0},
    ]
    assert rank(events)["state"].tolist() == ["unfinished"]
    again = [*journal.folds(0, {"Bella": 0.5}), *journal.finished(0, 0.5)]
    assert rank([*events, *again])["state"].tolist() == ["complete"]


def test_arms_are_ranked_by_all_their_runs() -> None:
    events = [
        *journal.started({}),
        *journal.trial(0, [0.2, 0.4], {}, origin="arm", arm="scratch"),
        *journal.trial(1, [0.5, 0.5], {}, origin="arm", arm="trained"),
        *journal.trial(2, [0.9, 0.7], {}, origin="repeat", repeat_of=0, arm="scratch"),
        *journal.trial(3, [0.4, 0.4], {}, origin="repeat", repeat_of=1, arm="trained"),
    ]
    frame = rank(events)
    assert frame["arm"].tolist() == ["scratch", "trained"]
    assert frame["macro_f1"].tolist() == pytest.approx([0.55, 0.45])
    assert frame["macro_f1_fresh"].tolist() == pytest.approx([0.55, 0.45])


def test_the_table_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "herd" / "ranking.csv"
    write_ranking(rank([*journal.started(), *journal.trial(0, [0.5, 0.7])]), path)
    frame = rank([*journal.started(), *journal.trial(0, [0.5, 0.7]), *journal.trial(1, [0.6, 0.7])])
    write_ranking(frame, path)
    back = pd.read_csv(path)
    assert back.columns.tolist() == frame.columns.tolist()
    assert back["trial"].tolist() == [1, 0]
    assert back["macro_f1"].tolist() == pytest.approx(frame["macro_f1"].tolist(), abs=0)
    assert [file.name for file in path.parent.iterdir()] == ["ranking.csv"]
