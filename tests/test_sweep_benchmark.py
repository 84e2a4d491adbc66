"""The benchmark of a whole sweep: its plain loop finds the study's trials, and reports where ASHA decides."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aar_ray.config import dotted
from aar_ray.corpus.splits import Fold
from aar_ray.search.journal import Event
from aar_ray.search.space import Space
from aar_ray.seeds import stream
from aar_ray.study_file.loader import load_study

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


def test_the_loop_finds_the_trial_of_each_point_that_optuna_is_given(benchmark: Any) -> None:
    plain = benchmark("plain_sweep")
    study = load_study(BENCHMARKS.parent / "studies" / "tfc_sweep.yaml")
    space, chance = Space(study), stream(5, "points")
    drawn = [space.settings_at({name: chance.random() for name in space.distributions}, {}) for _ in range(40)]
    events: list[Event] = [{"event": "study_started", "settings": dotted(study.reference())}]
    for number, settings in enumerate(drawn):
        events.append({"event": "trial_started", "trial": number, "settings": settings, "seed": 0, "repeat_of": None})
    events.append({**events[1], "trial": len(drawn), "seed": 1, "repeat_of": 0})
    # through a file, as a journal is
    trials = plain.trials_of(json.loads(json.dumps(events)))
    loop = plain.Plain(study, None, tuple(trials))
    assert [loop.number(space.params(settings)) for settings in drawn] == list(range(len(drawn)))
    assert loop.number({"trial": len(drawn)}) == len(drawn)
    assert trials[-1] == replace(trials[0], seed=1, confirms=True)
