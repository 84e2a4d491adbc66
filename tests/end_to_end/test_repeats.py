"""Trials with seeds of their own, through real Ray: arms that are compared, and a search whose best are confirmed.

The search varies how much is seen around a window, so that its forests are told apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from small_study import SMALL, small_comparison, small_study
from study_command import events_of, of


def test_arms_run_with_each_seed_and_each_seed_is_a_run_of_its_own(ray_cluster: Any, tmp_path: Path) -> None:
    arms = {"trained": {}, "frozen": {"finetune.encoder": "frozen"}}
    events = events_of(small_comparison(arms, seeds=2, store=str(tmp_path / "store")), tmp_path)
    started = of(events, "trial_started")
    assert [(event["arm"], event["repeat_of"]) for event in started] == [
        ("trained", None),
        ("frozen", None),
        ("trained", 0),
        ("frozen", 1),
    ]
    seeds = [event["seed"] for event in started]
    assert seeds[0] == seeds[1] == 3
    assert seeds[2] == seeds[3] != 3
    keys = {event["trial"]: event["key"] for event in of(events, "pretrained")}
    # two arms share an encoder, two seeds do not
    assert keys[0] == keys[1] != keys[2] == keys[3]
    scores = {(event["trial"], event["fold"]): event["result"]["epochs"] for event in of(events, "fold_finished")}
    assert len(scores) == 4 * 3
    for fold in {fold for _, fold in scores}:
        assert scores[0, fold] != scores[2, fold]
    assert [event["name"] for event in of(events, "baseline_finished")] == ["random forest", "scratch, trial 0"]


def test_the_best_of_a_search_run_again_and_scratch_gets_the_same_seeds(ray_cluster: Any, tmp_path: Path) -> None:
    search = {"finetune.context_seconds": {"choice": [0.0, 20.0]}}
    # long enough for what is around a window to be worth something
    fixed = {**SMALL["fixed"], "finetune.learning_rate": 1e-2, "finetune.epochs": 6}
    study = small_study(
        search=search, fixed=fixed, budget={"trials": 2}, confirm={"best": 1, "seeds": 1}, store=str(tmp_path / "store")
    )
    events = events_of(study, tmp_path)
    started = of(events, "trial_started")
    ends = {event["trial"]: event["macro_f1"] for event in of(events, "trial_finished")}
    best = max((0, 1), key=lambda trial: (ends[trial], -trial))
    assert [(event["origin"], event["repeat_of"]) for event in started[2:]] == [("confirmation", best)]
    baselines = {event["name"]: event for event in of(events, "baseline_finished")}
    scratch = baselines["scratch, winner"]
    assert {fold["seed"] for fold in scratch["folds"]} == {started[best]["seed"], started[2]["seed"]}
    assert len(scratch["folds"]) == 6
    # a forest sees what trial 0 sees, and another one what the winner sees, should that be something else
    seen = {event["trial"]: event["settings"]["finetune.context_seconds"] for event in started}
    expected = {"random forest": seen[0]} | ({"random forest, winner": seen[best]} if seen[best] != seen[0] else {})
    forests = [
        (name, fold["result"]["applied"]["finetune.context_seconds"])
        for name, event in baselines.items()
        for fold in event["folds"]
        if name.startswith("random forest")
    ]
    assert sorted(set(forests)) == sorted(expected.items())
