"""Earlier studies: what fits is told, what does not is left out by reason, and the journal keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_study import small_study

from aar_ray.config import Study, dotted
from aar_ray.search.agenda import Agenda
from aar_ray.search.proposals import Known, Proposal, Proposer
from aar_ray.search.rungs import History
from aar_ray.search.warm_start import find_earlier, told_trials, warm_started

MARGIN, RATE = "tfc.margin", "finetune.learning_rate"
SEARCH = {MARGIN: {"uniform": [0.05, 1.0]}, "tfc.contrastive_weight": {"uniform": [0.0, 1.0]}}
Event = dict[str, Any]


def earlier(results: Path, study: Study, trials: list[tuple[dict[str, Any], float | None]]) -> Path:
    """Writes the journal of a study with these trials; a score of None is a failure."""
    settings = dotted(study.reference())
    events: list[Event] = [{"event": "study_started", "settings": settings, "folds": [], "labelled": {"key": "goats"}}]
    for number, (values, score) in enumerate(trials):
        events += [
            {"event": "trial_started", "trial": number, "settings": values},
            {"event": "pretrained", "trial": number, "seconds": 5.0},
            {
                "event": "trial_finished",
                "trial": number,
                "state": "complete" if score is not None else "failed",
                "macro_f1": score,
                "reason": None,
            },
        ]
    folder = results / study.name
    folder.mkdir(parents=True)
    path = folder / "journal.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def test_trials_that_fit_are_told_and_others_left_out_by_reason(tmp_path: Path) -> None:
    before = small_study(name="before", search={**SEARCH, RATE: {"log_uniform": [1e-4, 1e-2]}})
    point = {MARGIN: 0.3, "tfc.contrastive_weight": 0.5, RATE: 1e-4}
    trials = [
        (point, 0.6),
        ({**point, MARGIN: 0.9}, 0.7),
        ({**point, MARGIN: 0.95}, 0.5),
        ({**point, RATE: 2e-4}, 0.65),
        ({**point, MARGIN: 0.4}, None),
    ]
    journal = earlier(tmp_path, before, trials)
    # the rate is no longer searched, the margin ends earlier
    now = small_study(search={**SEARCH, MARGIN: {"uniform": [0.05, 0.8]}}, warm_start=["before"])
    assert find_earlier(now, tmp_path, []) == {"before": journal}
    event = warm_started(now, "before", journal, "goats")
    assert event["told"] == [
        {"settings": {MARGIN: 0.3, "tfc.contrastive_weight": 0.5}, "macro_f1": 0.6, "seconds": 5.0}
    ]
    assert event["left_out"] == {
        "tfc.margin lies outside what is searched here": 2,
        "finetune.learning_rate is not 0.0001 there, and not searched here": 1,
        "not complete": 1,
    }
    assert not event["other_data"]
    assert warm_started(now, "before", journal, "sheep")["other_data"]


def test_a_setting_that_is_fixed_otherwise_leaves_every_trial_out(tmp_path: Path) -> None:
    before = small_study(name="before", search=SEARCH)
    journal = earlier(tmp_path, before, [({MARGIN: 0.3, "tfc.contrastive_weight": 0.5}, 0.6)])
    now = small_study(search=SEARCH, fixed={**before.fixed, "pretrain.epochs": 9}, warm_start=["before"])
    event = warm_started(now, "before", journal, "goats")
    assert event["told"] == []
    assert event["left_out"] == {"pretrain.epochs is not 9 there, and not searched here": 1}


def test_seeds_of_one_setting_are_told_as_their_mean(tmp_path: Path) -> None:
    before = small_study(name="before", search=SEARCH)
    point = {MARGIN: 0.3, "tfc.contrastive_weight": 0.5}
    journal = earlier(tmp_path, before, [(point, 0.6), (point, 0.5)])
    journal.write_text(journal.read_text().replace('"trial": 1, "settings"', '"trial": 1, "repeat_of": 0, "settings"'))
    told = warm_started(small_study(search=SEARCH), "before", journal, "goats")["told"]
    assert [trial["macro_f1"] for trial in told] == [pytest.approx(0.55)]


def test_a_study_that_is_not_there_is_refused_with_its_neighbour(tmp_path: Path) -> None:
    earlier(tmp_path, small_study(name="goats_2025", search=SEARCH), [])
    with pytest.raises(ValueError, match=r"must name an earlier study .* got goats_2024; did you mean goats_2025\?"):
        find_earlier(small_study(warm_start=["goats_2024"]), tmp_path, [])


def test_what_the_journal_holds_is_not_read_again(tmp_path: Path) -> None:
    told = [{"settings": {MARGIN: 0.3, "augment.time_families": ["crop"]}, "macro_f1": 0.6, "seconds": None}]
    events: list[Event] = [
        {"event": "warm_started", "study": "gone", "told": told, "left_out": {}, "other_data": False}
    ]
    assert find_earlier(small_study(warm_start=["gone"]), tmp_path, events) == {}
    assert told_trials(events) == [Known({MARGIN: 0.3, "augment.time_families": ("crop",)}, "complete", 0.6)]


@pytest.mark.parametrize("name", ["tpe", "gp", "cma-es"])
def test_a_sampler_that_was_told_begins_where_the_earlier_study_ended(name: str) -> None:
    study = small_study(search=SEARCH, sampler={"name": name, "startup_trials": 5, "trials_per_encoder": 1})
    points = [(0.05 + 0.95 * ((7 * n) % 40) / 39, ((11 * n) % 40) / 39) for n in range(40)]
    told = [
        Known({MARGIN: margin, "tfc.contrastive_weight": weight}, "complete", -abs(margin - 0.2))
        for margin, weight in points
    ]

    def first_margins(earlier: list[Known]) -> list[float]:
        margins = []
        for seed in range(6):
            proposer = Proposer(study.model_copy(update={"seed": seed}), earlier)
            known = [Known(proposer.reference, "running")]
            proposal = proposer.propose(known)
            assert proposal is not None
            margins.append(proposal.settings[MARGIN])
        return margins

    with_told, without = (sum(abs(margin - 0.2) for margin in first_margins(each)) / 6 for each in (told, []))
    assert with_told < 0.6 * without


def test_enqueued_settings_run_after_trial_0_in_their_order() -> None:
    study = small_study(enqueue=[{MARGIN: 0.9}, {RATE: 1e-3, "finetune.encoder": "frozen"}])
    agenda, known = Agenda(study, 3), []
    for _ in range(4):
        proposal = agenda.next(History(known))
        assert isinstance(proposal, Proposal)
        known.append(Known(proposal.settings, "complete", 0.5))
        if len(known) == 2:
            assert (proposal.origin, proposal.settings) == (
                "enqueued",
                {MARGIN: 0.9, RATE: 1e-4, "finetune.encoder": "trained"},
            )
        if len(known) == 3:
            assert proposal.settings == {MARGIN: 0.5, RATE: 1e-3, "finetune.encoder": "frozen"}
    assert proposal.origin == "sampled"


def test_stage_aware_runs_the_best_of_earlier_studies_itself_after_what_is_enqueued() -> None:
    rates = [1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4]
    study = small_study(
        search={RATE: {"log_uniform": [1e-4, 1e-2]}},
        sampler={"name": "stage_aware", "startup_trials": 3},
        enqueue=[{RATE: 5e-4}],
        warm_start=["before"],
        budget={"trials": 9},
    )
    # 1e-4 is trial 0's and 5e-4 is enqueued: the best three of the others follow, each once
    told = [Known({RATE: rate}, "complete", 0.5 + 100 * rate) for rate in [*rates, 6e-4]]
    known: list[Known] = []
    while len(known) < 5:
        proposal = Agenda(study, 3, told).next(History(known))
        assert isinstance(proposal, Proposal)
        assert proposal.folds is None
        known.append(Known(proposal.settings, "complete", 0.5, scores={0: 0.5, 1: 0.5, 2: 0.5}))
    assert [trial.settings[RATE] for trial in known] == [1e-4, 5e-4, 6e-4, 4e-4, 3e-4]
    proposal = Agenda(study, 3, told).next(History(known))
    assert isinstance(proposal, Proposal)
    assert proposal.origin == "sampled"
