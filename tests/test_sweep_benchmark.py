"""The benchmark of a whole sweep: its plain loop does the trials of the study, and reports where ASHA decides."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from small_study import small_study
from study_command import events_of

from aar_ray.corpus.splits import Fold

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a benchmark as its command does, from the folder it is in."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in {*sys.modules} - before:
        if str(BENCHMARKS) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10, 16, 17])
def test_the_loop_trains_the_folds_between_two_rungs_of_asha_together(benchmark: Any, count: int) -> None:
    plain = benchmark("plain_sweep")
    folds = tuple(Fold(str(number), ("a",), ("b",), ("c",)) for number in range(count))
    bundles = plain.bundles_between_rungs(folds)
    assert [fold for bundle in bundles for fold in bundle] == list(folds)
    scheduler = plain.ASHAScheduler(**plain.GOAL, **plain.asha(count))
    rungs = {rung for rung, _ in scheduler._brackets[0]._rungs} | {count}
    done = 0
    for bundle in bundles:
        done += len(bundle)
        assert done in rungs
    assert len(bundles) == len(rungs)


def test_the_loop_runs_the_trials_of_the_study_and_pre_trains_each(
    ray_cluster: Any, tmp_path: Path, benchmark: Any
) -> None:
    sweep = benchmark("sweep")
    study = small_study(
        budget={"trials": 2}, confirm={"best": 1, "seeds": 1}, resources={"trial_slots": 2, "cpus": 2},
        store=str(tmp_path / "store"),
    )  # fmt: skip
    events = events_of(study, tmp_path)
    study_did, loop_did = sweep.study_side(0.0, tmp_path / "store", events), sweep.plain(tmp_path)
    sweep.check_same(study_did, loop_did)
    assert study_did.trials == loop_did.trials == 3
    assert study_did.pretrains == study_did.encoders == loop_did.encoders == 2
    assert loop_did.pretrains == loop_did.groups == 3
    # ASHA hears of the first fold of a trial and then of all
    assert {fold for fold in loop_did.scores if fold[0] == 2} == {fold for fold in study_did.scores if fold[0] == 2}
    assert sweep.differ(study_did, loop_did) < 1e-6
