"""The training step as it is run against the step as it reads: one loss, one gradient, one update."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from training.reference import reference_loss
from training.toy import AXES, LENGTH, tiny, windows

from aar_ray.config import Settings
from aar_ray.method.tfc import Views, draw_views
from aar_ray.training.pretrain import build_model

# float64 has no excuse; float32 rounds sums of a few thousand terms
CLOSE: dict[torch.dtype, float] = {torch.float64: 1e-10, torch.float32: 1e-5}


def views_of(settings: Settings, dtype: torch.dtype) -> Views:
    rows = windows(17).to(dtype)
    return draw_views(rows, torch.Generator().manual_seed(5), spectrum=settings.spectrum, augment=settings.augment)


def losses_and_gradients(settings: Settings, dtype: torch.dtype) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """As run, then as it reads."""
    found = []
    for plain in (False, True):
        model = build_model(settings, AXES, LENGTH, seed=1).to(dtype)
        state = dict(model.named_parameters())
        views = views_of(settings, dtype)
        loss = reference_loss(state, views, settings) if plain else model(views).total
        names = [name for name, weight in state.items() if weight.requires_grad]
        gradients = torch.autograd.grad(loss, [state[name] for name in names])
        found.append((loss.detach(), dict(zip(names, gradients, strict=True))))
    return found


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(
    "changes",
    [{}, {"spectrum__sides": "two"}, {"patchtst__layers": 3, "patchtst__heads": 7}, {"tfc__margin": 1.3}],
    ids=["as is", "two-sided", "deeper", "wide margin"],
)
def test_the_step_that_is_run_is_the_one_that_reads_like_the_paper(dtype: torch.dtype, changes: dict[str, Any]) -> None:
    settings = tiny(patchtst__dropout=0.0, **changes)
    (loss, gradients), (plain_loss, plain_gradients) = losses_and_gradients(settings, dtype)
    most = CLOSE[dtype]
    torch.testing.assert_close(loss, plain_loss, rtol=most, atol=most)
    assert gradients.keys() == plain_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            gradient, plain_gradients[name], rtol=most, atol=most, msg=lambda m, n=name: f"{n}: {m}"
        )
