from __future__ import annotations

import math
from pathlib import Path

import fake_journal as journal
import numpy as np
import pandas as pd
import pytest

from aar_ray.search.ranking import baselines, paired_difference, rank, t_interval, write_ranking

T_975_AT_2 = 4.302652729911275
"""Student's t, two degrees of freedom: 0.95 √(2 / (1 - 0.95²)), which has a closed form there alone."""


def test_t_of_two_degrees_of_freedom_has_the_closed_form() -> None:
    assert pytest.approx(T_975_AT_2) == 0.95 * math.sqrt(2 / (1 - 0.95**2))


def test_interval_of_three_values_is_the_closed_form() -> None:
    # deviation of 0.4, 0.5, 0.6 is 0.1
    half = T_975_AT_2 * 0.1 / math.sqrt(3)
    assert t_interval([0.4, 0.5, 0.6]) == pytest.approx((0.5, 0.5 - half, 0.5 + half))


def test_interval_of_two_values_is_the_cauchy_quantile() -> None:
    # one degree of freedom is Cauchy: quantile tan(0.475 π), half the distance times it
    assert t_interval([0.3, 0.5])[2] == pytest.approx(0.4 + 0.1 * math.tan(0.475 * math.pi))


def test_one_value_has_no_interval() -> None:
    mean, low, high = t_interval([0.3])
    assert mean == 0.3
    assert math.isnan(low)
    assert math.isnan(high)


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


def test_a_constant_lead_over_unlike_animals_is_a_certain_one() -> None:
    events = [*journal.started(), *journal.trial(0, [0.25, 0.5, 0.75]), *journal.trial(1, [0.375, 0.625, 0.875])]
    assert paired_difference(events, 1) == (0.125, 0.125, 0.125, 3)
    assert paired_difference(events, 0, reference=1) == (-0.125, -0.125, -0.125, 3)


def test_paired_difference_is_the_t_interval_of_differences_on_shared_folds() -> None:
    events = [
        *journal.started(),
        *journal.trial_started(0),
        *journal.folds(0, {"Doris": 0.5, "Bella": 0.2}),
        *journal.trial(4, [0.3, 0.9, 0.9]),
    ]
    assert paired_difference(events, 4) == pytest.approx((*t_interval([0.4, 0.1]), 2))


def test_trials_without_a_shared_fold_have_no_difference() -> None:
    events = [*journal.started(), *journal.trial(0, [0.5]), *journal.trial_started(1)]
    difference = paired_difference(events, 1)
    assert difference.folds == 0
    assert np.isnan(difference[:3]).all()


def test_an_unknown_trial_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be in the journal, got 5; it has \[0\]"):
        paired_difference([*journal.started(), *journal.trial(0, [0.5])], 5)


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
