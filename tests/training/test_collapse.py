"""The thresholds of a collapse, between pre-trains that are sound and encoders that were made to collapse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity
from training.toy import tiny, windows

from aar_ray.method.collapse import COLLAPSED_COSINE, COLLAPSED_RANK, collapse
from aar_ray.training.pretrain import _Trainer, pretrain
from aar_ray.training.shard import Held

SETTINGS: dict[str, Any] = {"pretrain__batch_size": 32, "pretrain__probe_every": 0, "pretrain__learning_rate": 1e-2}


def trainer() -> _Trainer:
    return _Trainer(Held(windows(101)), None, tiny(**SETTINGS), seed=1, rank=0, workers=1)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("learning_rate", [3e-3, 1e-1])
def test_a_sound_pre_train_is_never_called_collapsed(seed: int, learning_rate: float) -> None:
    settings = tiny(**SETTINGS | {"pretrain__epochs": 6, "pretrain__learning_rate": learning_rate})
    history = pretrain(windows(101), settings, seed=seed).history
    assert [collapse(record) for record in history] == [None] * 6
    last = history[-1]
    # and well away from it
    assert last["off_diagonal_cosine_h"] < 0.5 < 0.9 < COLLAPSED_COSINE
    assert min(last["effective_rank_h"], last["effective_rank_z"]) > 2 * COLLAPSED_RANK


def test_an_encoder_that_only_pulls_windows_together_is_called_collapsed() -> None:
    run = trainer()
    assert collapse(run.watch()) is None
    adam = torch.optim.Adam(run.model.parameters(), lr=1e-2)
    run.model.eval()  # without dropout
    for _ in range(60):
        h = run.model.embed(run.model.time_encoder, windows(101))
        # every window towards another one, and nothing that keeps them apart
        loss = 1 - cosine_similarity(h, h.roll(1, dims=0)).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    record = run.watch()
    assert record["off_diagonal_cosine_h"] > COLLAPSED_COSINE
    assert "h, the encoder's output, has collapsed" in str(collapse(record))


@pytest.mark.parametrize("spread", [1e-3, 0.0])
def test_projections_on_a_line_are_called_collapsed(spread: float) -> None:
    run = trainer()
    last = run.model.time_projector[-1]
    with torch.no_grad():
        # rank one, and a spread of so much about it
        outer = last.weight[:, :1] * last.weight[:1]
        last.weight.copy_(outer / outer.norm() * last.weight.norm() + spread * last.weight)
    record = run.watch()
    assert record["effective_rank_z"] < COLLAPSED_RANK
    assert "z, the projection" in str(collapse(record))
