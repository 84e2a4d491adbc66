from __future__ import annotations

from typing import Any

import pytest

from aar_ray.report.names import duration, run_name


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (
            {
                "tfc.contrastive_weight": 0.412,
                "tfc.margin": 0.3,
                "patchtst.patch_length": 8,
                "patchtst.patch_stride": 4,
            },
            "trial-012 λ0.41 δ0.30 P8 S4",
        ),
        ({"finetune.dropout": 0.1, "patchtst.patch_stride": 2}, "trial-012 S2"),
        ({"finetune.dropout": 0.1}, "trial-012"),
    ],
)
def test_a_run_is_named_by_what_is_searched(settings: dict[str, Any], name: str) -> None:
    assert run_name(12, settings) == name


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (6.6, "0:07"), (59.6, "1:00"), (750, "12:30"), (3723, "1:02:03"), (90061, "25:01:01")],
)
def test_durations_read_as_on_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text
