"""Proposals: the paper's setting first, encoders shared, Optuna told the truth, nothing twice."""

from __future__ import annotations

from typing import Any

import pytest
from small_study import small_study

from aar_ray.search.proposals import Known, Proposer

PRETRAIN, FINETUNE = "tfc.margin", "finetune.learning_rate"


def run(proposer: Proposer, trials: int, score: Any = lambda settings: 0.5) -> list[Known]:
    known: list[Known] = []
    for _ in range(trials):
        proposal = proposer.propose(known)
        assert proposal is not None
        known.append(Known(proposal.settings, "complete", score(proposal.settings)))
    return known


def test_trial_0_is_the_reference() -> None:
    proposal = Proposer(small_study()).propose([])
    assert proposal is not None
    assert proposal.origin == "reference"
    assert proposal.settings == {PRETRAIN: 0.5, FINETUNE: 1e-4, "finetune.encoder": "trained"}


@pytest.mark.parametrize("share", [1, 2, 3])
def test_each_encoder_serves_as_many_trials_as_the_study_says(share: int) -> None:
    proposer = Proposer(small_study(sampler={"name": "random", "trials_per_encoder": share}))
    margins = [trial.settings[PRETRAIN] for trial in run(proposer, 4 * share)]
    assert [margins.count(margin) for margin in dict.fromkeys(margins)] == [share] * 4
    assert margins == sorted(margins, key=margins.index)


def test_no_setting_is_proposed_twice_and_a_small_space_ends() -> None:
    study = small_study(
        search={"finetune.encoder": {"choice": ["trained", "frozen"]}, "finetune.batch_size": {"integer": [32, 34]}}
    )
    proposer = Proposer(study)
    known = run(proposer, 6)
    assert len({tuple(trial.settings.values()) for trial in known}) == 6
    assert proposer.propose(known) is None


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_proposal_is_a_pure_function_of_what_is_known(sampler: str) -> None:
    study = small_study(sampler={"name": sampler, "startup_trials": 3})
    known = run(Proposer(study), 9, score=lambda settings: settings[PRETRAIN])
    # a fresh proposer, as after a kill, goes on as the old one would have
    for number in range(9):
        again = Proposer(study).propose(known[:number])
        assert again is not None
        assert again.settings == known[number].settings


def test_seeds_differ() -> None:
    one, other = (run(Proposer(small_study(seed=seed)), 5) for seed in (1, 2))
    assert one[4].settings != other[4].settings


def test_tpe_learns_from_complete_trials_where_random_does_not() -> None:
    def best_third(sampler: str) -> float:
        study = small_study(
            search={PRETRAIN: {"uniform": [0.05, 1.0]}, "tfc.contrastive_weight": {"uniform": [0, 1]}},
            sampler={"name": sampler, "startup_trials": 10, "trials_per_encoder": 1},
        )
        known = run(Proposer(study), 45, score=lambda settings: -abs(settings[PRETRAIN] - 0.2))
        return sum(abs(trial.settings[PRETRAIN] - 0.2) for trial in known[30:]) / 15

    assert best_third("tpe") < 0.5 * best_third("random")


def test_the_reference_is_the_nearest_point_of_the_space() -> None:
    proposal = Proposer(small_study(search={PRETRAIN: {"uniform": [0.6, 1.0]}})).propose([])
    assert proposal is not None
    assert proposal.settings == {PRETRAIN: 0.6}


def test_a_failed_trial_is_not_told_as_a_result() -> None:
    study = small_study(search={PRETRAIN: {"uniform": [0.05, 1.0]}}, sampler={"name": "tpe", "startup_trials": 2})
    scored = [Known({PRETRAIN: 0.1 * number}, "complete", 0.1 * number) for number in range(1, 8)]
    failed = [*scored, Known({PRETRAIN: 0.9}, "failed")]
    settings = [Proposer(study).propose(known) for known in (failed, [*scored, Known({PRETRAIN: 0.9}, "failed", 0.99)])]
    # the value of a failed trial, whatever it is, changes nothing
    assert settings[0] == settings[1]
