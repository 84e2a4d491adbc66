"""What `real_cattle` compares: its sources, the settings that are fixed, and those that its searches try."""

from __future__ import annotations

from typing import Any

COLLAR = {"x": "ax", "y": "ay", "z": "az", "subject": "cow", "segment": "segment", "time": "time"}

SOURCES: list[dict[str, Any]] = [
    {
        "name": "human_waist",
        "reader": "parquet",
        "path": "human_waist_50hz",
        "species": "human",
        "rate_hz": 50.0,
        "unit": "g",
        "columns": {"subject": "subject", "segment": "experiment"},
    },
    {
        "name": "white_stork",
        "reader": "csv",
        "path": "whitestork_10hz",
        "species": "stork",
        "rate_hz": 10.54,
        "unit": "m/s^2",
        "subject": "storks",
        "columns": {"segment": "bout"},
    },
    {
        "name": "cattle_mounts",
        "reader": "csv",
        "path": "cattle_mounts_10hz",
        "species": "cattle",
        "rate_hz": 10.0,
        "unit": "m/s^2",
        "columns": COLLAR,
    },
]

COWS: dict[str, Any] = {
    "name": "grazing_cows",
    "reader": "csv",
    "path": "cattle_grazing_10hz",
    "species": "cattle",
    "rate_hz": 10.0,
    "unit": "m/s^2",
    "columns": {**COLLAR, "label": "label"},
    "behaviours": {"Grazing": "grazing", "Resting": "resting", "Standing": "standing", "Walking": "walking"},
}

SETTINGS: dict[str, Any] = {
    # a network small enough for two processors
    "patchtst.model_size": 64,
    "patchtst.layers": 1,
    "patchtst.heads": 4,
    "patchtst.feedforward_size": 128,
    "patchtst.patch_stride": 8,
    # a collar may be put on either way round: every augmented view is turned about the vertical, in g; and what tells a
    # cow that rests from one that stands is smaller than the default jitter
    "augment.rotate_first": True,
    "augment.rotation_degrees": 180.0,
    "augment.rotation_axis": "z",
    "augment.jitter_deviation": 0.02,
    "pretrain.learning_rate": 1e-3,
    "pretrain.epochs": 6,
    "pretrain.probe_every": 0,
    "finetune.rotation_degrees": 180.0,
    "finetune.rotation_axis": "z",
    # every epoch is trained, and nothing is chosen by the animals that are scored
    "finetune.selection": "last",
}
"""Of both arms; all else is the default or searched."""

SHARES: dict[str, dict[str, Any]] = {
    "10 %": {"finetune.label_share": 0.1, "finetune.batch_size": 16, "finetune.epochs": 6},
    "1 %": {"finetune.label_share": 0.01, "finetune.batch_size": 8, "finetune.epochs": 12},
    "100 %": {"finetune.batch_size": 64, "finetune.epochs": 2},
}
"""Labels used, of each cow and behaviour; smaller batches, so that few labels still make some hundred steps."""

TRIED: tuple[dict[str, Any], ...] = (
    {"finetune.optimiser": "adamw", "finetune.learning_rate": 1e-3},
    {"finetune.optimiser": "adamw", "finetune.learning_rate": 3e-3},
    {"finetune.optimiser": "adam", "finetune.learning_rate": 1e-3},
)
"""What each arm's search tries, each for as many epochs as the share has."""

LEAVES = (1, 5, 15)
"""What the forest's search tries: windows that a leaf has at least."""

SMOOTHING = (0.0, 2.0, 4.0, 10.0)
"""Seconds either way over which probabilities are averaged, for the lines that say so; chosen as all else is."""

WEIGHTS = {"scratch": "random", "pre-trained": "pretrained"}
FOREST = "random forest"
NEVER, SMOOTH, FIXED = "", ", smoothed", ", smoothed over 4 s"
FIXED_SECONDS = 4.0
"""Of lines for which no search chose, so that they tell what smoothing is worth."""

CONTEXTS: dict[str, dict[str, Any]] = {
    "": {},
    ", context": {"finetune.context_seconds": 30.0, "finetune.context_form": "own_mean_spread"},
}
"""What all three models see of and around a window, in lines of their own."""
SEARCHED = ", context searched"
"""Of lines for what each search chose of them."""
