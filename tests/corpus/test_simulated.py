"""The simulated herd: the paper's shares, its own animals, and hard enough to tell apart."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from aar_ray.config import Data, SimulatedSource
from aar_ray.corpus.harvest import harvest
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.corpus.parts import parts
from aar_ray.corpus.stretches import Findings
from aar_ray.training.forest import forest_scores

SHARES = {"standing": 0.4315, "grazing": 0.3535, "walking": 0.2019, "running": 0.0087, "trotting": 0.0044}


def herd(species: str, animals: int, minutes: float) -> SimulatedSource:
    return SimulatedSource.model_validate(
        {"name": "herd", "reader": "simulated", "species": species, "animals": animals, "minutes_per_animal": minutes}
    )


def windows_of(source: SimulatedSource, seed: int, *, labelled: bool = True) -> LabelledWindows:
    data = Data(unlabelled=(source,), labelled=source.model_copy(update={"name": "goats"}))
    found = [one for part in parts(source, seed, labelled=labelled) for one in harvest(part, data, Findings())]
    behaviours = np.array([name for one in found for name in one.behaviours], dtype=object)
    classes = tuple(sorted(set(behaviours))) if labelled else ("any",)
    subjects = np.array([name for one in found for name in one.subjects], dtype=object)
    codes = np.array([classes.index(name) if labelled else 0 for name in behaviours])
    windows = np.concatenate([one.windows for one in found])
    return LabelledWindows(windows, codes, classes, subjects, subjects, np.zeros(len(codes)))


@pytest.fixture(scope="module")
def goats() -> LabelledWindows:
    return windows_of(herd("goat", 5, 20.0), seed=0)


def test_goats_behave_in_the_papers_shares(goats: LabelledWindows) -> None:
    counts = Counter(goats.classes[code] for code in goats.labels)
    assert set(counts) == set(SHARES)
    for name, share in SHARES.items():
        assert counts[name] / len(goats) == pytest.approx(share, abs=0.01)
    # each goat trots, if only for a moment
    assert all((goats.of([goat]).labels == goats.classes.index("trotting")).sum() >= 2 for goat in set(goats.subjects))


def test_a_resting_animal_feels_one_g(goats: LabelledWindows) -> None:
    standing = goats.windows[goats.labels == goats.classes.index("standing")]
    assert np.median(np.linalg.norm(standing, axis=1)) == pytest.approx(1.0, abs=0.05)


def test_faster_gaits_shake_more(goats: LabelledWindows) -> None:
    shaking = {
        name: float(np.median(goats.windows[goats.labels == code].std(axis=2).mean(axis=1)))
        for code, name in enumerate(goats.classes)
    }
    assert shaking["standing"] < shaking["walking"] < shaking["trotting"] < shaking["running"]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_forest_on_simple_features_is_right_often_and_wrong_often(seed: int) -> None:
    goats = windows_of(herd("goat", 5, 20.0), seed)
    scores = []
    for goat in sorted(set(goats.subjects)):
        train = goats.of([other for other in set(goats.subjects) if other != goat])
        scores.append(forest_scores(train, goats.of([goat]), seed=0, jobs=2)["macro_f1"])
    assert 0.5 < np.mean(scores) < 0.85


@pytest.mark.parametrize(("species", "rate_hz"), [("cattle", 25.0), ("sheep", 12.5), ("horse", 100.0), ("goat", 100.0)])
def test_recordings_are_raw_at_the_species_rate_and_the_same_for_a_seed(species: str, rate_hz: float) -> None:
    from aar_ray.corpus.simulated import simulate

    source = herd(species, 2, 2.0)
    first, again, other = (next(iter(simulate(source, 1, seed))) for seed in (3, 3, 4))
    assert first.rate_hz == rate_hz
    assert len(first.samples) == pytest.approx(120 * rate_hz, abs=2)
    assert np.array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other.samples)
    assert not np.array_equal(first.samples, next(iter(simulate(source, 0, 3))).samples)


def test_an_unlabelled_herd_has_no_labels() -> None:
    source = herd("cattle", 1, 2.0)
    assert all(
        one.behaviours == [None] * len(one.behaviours)
        for part in parts(source, 0)
        for one in harvest(
            part, Data(unlabelled=(source,), labelled=herd("goat", 5, 1.0).model_copy(update={"name": "g"})), Findings()
        )
    )
