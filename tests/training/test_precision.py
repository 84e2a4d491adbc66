"""The number type that a machine is fastest in: what the probe says, and what a deadly or unsettled type meets."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import torch
from training.toy import herd, tiny, windows

from aar_ray.training import precision
from aar_ray.training.finetune import finetune
from aar_ray.training.precision import Chosen, check_precision, fastest_precision
from aar_ray.training.pretrain import pretrain

TRAIN = herd({0: 4, 1: 3, 2: 2}, seed=1)


@pytest.fixture
def probe_gives(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the probe's process end in a given way."""

    def give(returncode: int, output: str = "") -> None:
        ended = subprocess.CompletedProcess([], returncode, output, "")
        monkeypatch.setattr(precision.subprocess, "run", lambda *_, **__: ended)

    precision._fastest_on_processor.cache_clear()
    yield give
    precision._fastest_on_processor.cache_clear()


def test_the_probe_measures_this_machine() -> None:
    chosen = fastest_precision("cpu")
    assert chosen.precision in ("float32", "bfloat16")
    assert "GFLOP/s" in chosen.reason or "ends the process" in chosen.reason


@pytest.mark.parametrize(("bfloat16", "expected"), [(99.0, "float32"), (129.0, "float32"), (131.0, "bfloat16")])
def test_bfloat16_has_to_be_worth_its_conversions(probe_gives: Any, bfloat16: float, expected: str) -> None:
    probe_gives(0, f'{{"float32": 100.0, "bfloat16": {bfloat16}}}')
    assert fastest_precision("cpu") == Chosen(expected, f"float32 100 GFLOP/s, bfloat16 {bfloat16:.0f} GFLOP/s")  # type: ignore[arg-type]


def test_a_processor_that_dies_of_bfloat16_gets_float32_and_refuses_bfloat16_with_the_way_out(probe_gives: Any) -> None:
    probe_gives(-4)
    assert fastest_precision("cpu") == Chosen("float32", "a bfloat16 product ends the process with SIGILL")
    with pytest.raises(ValueError, match=r"got bfloat16: a bfloat16 product ends the process.*ONEDNN_MAX_CPU_ISA"):
        pretrain(windows(5), tiny(pretrain__precision="bfloat16"), seed=1)
    with pytest.raises(ValueError, match=r"finetune\.precision must be float32 or auto.*ends the process"):
        finetune(TRAIN, TRAIN, tiny(finetune__precision="bfloat16"), seed=1)
    with pytest.raises(ValueError, match="ends the process"):
        check_precision("pretrain", "bfloat16", torch.device("cpu"))


def test_a_probe_that_fails_otherwise_is_an_error(probe_gives: Any) -> None:
    probe_gives(1)
    with pytest.raises(RuntimeError, match="probe of number types failed"):
        fastest_precision("cpu")


def test_auto_has_to_be_settled_before_training() -> None:
    with pytest.raises(ValueError, match=r"pretrain\.precision must be settled before training, got auto"):
        pretrain(windows(5), tiny(pretrain__precision="auto"), seed=1)
    with pytest.raises(ValueError, match=r"finetune\.precision must be settled before training, got auto"):
        finetune(TRAIN, TRAIN, tiny(finetune__precision="auto"), seed=1)
