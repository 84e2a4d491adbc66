"""Settings come back as the model and its optimiser have them, and one that got lost is an error."""

from __future__ import annotations

from typing import Any

import pytest
from training.test_pretrain import CHANGED
from training.toy import tiny, windows

from aar_ray.config import TFC, Settings, dotted
from aar_ray.training import pretrain as pretraining
from aar_ray.training.arrived import NotApplied, check_applied
from aar_ray.training.checkpoint import pretrain_settings
from aar_ray.training.pretrain import build_model, pretrain


@pytest.mark.parametrize("name", [None, *CHANGED])
def test_what_comes_back_is_what_was_asked(name: str | None) -> None:
    settings = tiny() if name is None else tiny(**{name.replace(".", "__"): CHANGED[name]})
    applied = pretrain(windows(23), settings, seed=1).applied
    assert applied == pretrain_settings(settings)
    check_applied(dotted(settings), applied, stage="pre-training")


def lost(settings: Settings, **parts: Any) -> Settings:
    """The settings with some sections back at their defaults, as a slip on the way would leave them."""
    return settings.model_copy(update=parts)


@pytest.mark.parametrize("slip", ["model", "loss", "optimiser", "everything"])
def test_a_setting_that_is_lost_on_its_way_is_loud(monkeypatch: pytest.MonkeyPatch, slip: str) -> None:
    wanted = tiny(patchtst__heads=7, tfc__margin=0.3, pretrain__learning_rate=7e-3)
    expected = {"model": "patchtst.heads", "loss": "tfc.margin", "optimiser": "pretrain.learning_rate"}
    given = wanted
    if slip == "model":
        shrunk = wanted.patchtst.model_copy(update={"heads": 2})
        monkeypatch.setattr(
            pretraining, "build_model", lambda settings, *a, **k: build_model(lost(settings, patchtst=shrunk), *a, **k)
        )
    elif slip == "loss":
        monkeypatch.setattr(
            pretraining,
            "build_model",
            lambda settings, *a, **k: build_model(
                lost(settings, tfc=TFC(projector_hidden=17, projector_size=7)), *a, **k
            ),
        )
    elif slip == "optimiser":
        adam = pretraining.torch.optim.Adam
        monkeypatch.setattr(
            pretraining.torch.optim, "Adam", lambda weights, **given: adam(weights, **{**given, "lr": 3e-4})
        )
    else:
        given = tiny()
    applied = pretrain(windows(23), given, seed=1).applied
    with pytest.raises(NotApplied, match=rf"{expected.get(slip, 'patchtst.heads')} must reach pre-training"):
        check_applied(dotted(wanted), applied, stage="pre-training")


def test_silence_is_no_agreement() -> None:
    with pytest.raises(NotApplied, match="said nothing"):
        check_applied(dotted(Settings()), {}, stage="pre-training")


def test_lists_and_tuples_are_the_same_setting() -> None:
    check_applied({"augment.time_families": ("jitter",)}, {"augment.time_families": ["jitter"]}, stage="a test")
