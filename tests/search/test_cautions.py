"""A last patch of padding alone is said, once for each series, and only where there is one."""

from __future__ import annotations

from typing import Any

import pytest
from small_study import SMALL, small_study

from aar_ray.config import Study
from aar_ray.search.cautions import patch_warnings


@pytest.mark.parametrize(
    ("patch", "kinds"),
    [
        ({"patch_length": 8, "patch_stride": 4}, []),
        ({"patch_length": 8, "patch_stride": 8}, []),
        ({"patch_length": 10, "patch_stride": 10}, ["window"]),  # 50 samples are five tens
        ({"patch_length": 13, "patch_stride": 13}, ["spectrum"]),  # and 26 bins two thirteens
        ({"patch_length": 2, "patch_stride": 2}, ["window", "spectrum"]),
    ],
)
def test_padding_alone_is_said_of_each_series(patch: dict[str, int], kinds: list[str]) -> None:
    fixed = {**SMALL["fixed"], **{f"patchtst.{name}": value for name, value in patch.items()}}
    warnings = patch_warnings(small_study(fixed=fixed))
    assert len(warnings) == len(kinds)
    for warning, kind in zip(warnings, kinds, strict=True):
        assert warning.startswith(f"trial 0: the last patch of a {kind} is nothing but its last value repeated")


def test_arms_are_looked_at_and_the_same_is_said_once() -> None:
    given: dict[str, Any] = {name: SMALL[name] for name in ("name", "seed", "data", "protocol", "fixed")}
    arms = {
        "sound": {},
        "padded": {"patchtst.patch_length": 10, "patchtst.patch_stride": 10},
        "again": {"patchtst.patch_length": 10, "patchtst.patch_stride": 10, "tfc.margin": 0.2},
    }
    (warning,) = patch_warnings(Study.model_validate({**given, "arms": arms}))
    assert warning.startswith("arm ")
    assert "both 10 and divide its 50 values" in warning
