"""A study small enough for tests: few simulated animals, a tiny encoder, an epoch or two."""

from __future__ import annotations

from typing import Any

from aar_ray.config import Study

SMALL: dict[str, Any] = {
    "name": "small",
    "seed": 3,
    "data": {
        "unlabelled": [
            {"name": "cows", "reader": "simulated", "species": "cattle", "animals": 2, "minutes_per_animal": 4.0},
            {"name": "ewes", "reader": "simulated", "species": "sheep", "animals": 2, "minutes_per_animal": 4.0},
        ],
        "labelled": {
            "name": "goats",
            "reader": "simulated",
            "species": "goat",
            "animals": 5,
            "minutes_per_animal": 5.0,
        },
    },
    "protocol": {"split": "paper"},
    "fixed": {
        "patchtst.model_size": 8,
        "patchtst.layers": 1,
        "patchtst.heads": 2,
        "patchtst.feedforward_size": 16,
        "tfc.projector_hidden": 16,
        "tfc.projector_size": 8,
        "pretrain.epochs": 2,
        "pretrain.batch_size": 64,
        "finetune.epochs": 2,
    },
    "search": {
        "tfc.margin": {"uniform": [0.05, 1.0]},
        "finetune.learning_rate": {"log_uniform": [1e-4, 1e-2]},
        "finetune.encoder": {"choice": ["trained", "frozen"]},
    },
    "sampler": {"name": "tpe", "startup_trials": 3, "trials_per_encoder": 2},
    "budget": {"trials": 4},
    "confirm": {"best": 0},
    "resources": {"trial_slots": 2},
}


def small_study(**changes: Any) -> Study:
    """The small study with some of its top-level parts replaced."""
    return Study.model_validate({**SMALL, **changes})


def small_comparison(arms: dict[str, dict[str, Any]], seeds: int = 2, **changes: Any) -> Study:
    """The small study, with arms that are compared in place of the search."""
    of_a_search = ("search", "sampler", "budget", "confirm")
    kept = {name: value for name, value in SMALL.items() if name not in of_a_search}
    return Study.model_validate({**kept, "arms": arms, "seeds": seeds, **changes})
