"""Real recordings, where there are some: the readers give what is known of them.

`AAR_RAY_DATA` names a folder with the sets of benchmarks/cattle.py; they are not part of the project.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from aar_ray.config import Data, Protocol, TabularSource
from aar_ray.corpus.checks import check_data
from aar_ray.corpus.harvest import Harvest, harvest
from aar_ray.corpus.parts import parts
from aar_ray.corpus.stretches import Findings
from benchmarks.cattle import COWS, SOURCES

ROOT = Path(os.environ.get("AAR_RAY_DATA", "no folder named by AAR_RAY_DATA"))
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason=f"real recordings are not there: {ROOT}")


def sources() -> tuple[dict[str, TabularSource], TabularSource]:
    placed = [TabularSource.model_validate({**one, "path": str(ROOT / one["path"])}) for one in SOURCES]
    cows = TabularSource.model_validate({**COWS, "path": str(ROOT / COWS["path"])})
    return {one.name: one for one in placed}, cows


def harvested(source: TabularSource, *, labelled: bool) -> tuple[list[Harvest], Findings]:
    _, cows = sources()
    data = Data(unlabelled=(source.model_copy(update={"name": "other"}),), labelled=cows)
    findings = Findings()
    return [one for part in parts(source, 0, labelled=labelled) for one in harvest(part, data, findings)], findings


def test_the_sets_pass_the_checks_of_a_study() -> None:
    unlabelled, cows = sources()
    check_data(Data(unlabelled=tuple(unlabelled.values()), labelled=cows), Protocol(), 0)


def test_ten_cows_give_the_windows_known_of_them() -> None:
    _, cows = sources()
    found, findings = harvested(cows, labelled=True)
    behaviours = [name for one in found for name in one.behaviours]
    # an independent count gave 10,836
    assert len(behaviours) == pytest.approx(10_836, abs=5)
    assert {subject for one in found for subject in one.subjects} == {
        *("1217", "1219", "1319", "2016", "3120", "3321", "4119", "4821", "6019", "6319")
    }
    assert findings.dropped.stretches["time stamp repeated"] == 75
    windows = np.concatenate([one.windows for one in found])
    resting = windows[np.array(behaviours) == "resting"]
    # gravity alone: the unit is right
    assert np.median(np.linalg.norm(resting, axis=1)) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("name", "windows"), [("human_waist", 11_197), ("white_stork", 1_746), ("cattle_mounts", 613)])
def test_unlabelled_sets_at_other_rates_become_windows(name: str, windows: int) -> None:
    found, _ = harvested(sources()[0][name], labelled=False)
    together = np.concatenate([one.windows for one in found])
    assert together.shape == (windows, 3, 50)
    assert np.isfinite(together).all()
