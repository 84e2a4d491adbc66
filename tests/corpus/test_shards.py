"""The corpus by Ray Data equals plain loops, is shuffled, found again, and read back in one order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus.made_up import source, table
from small_study import SMALL, small_study

from aar_ray.config import Study
from aar_ray.corpus.harvest import harvest
from aar_ray.corpus.normalise import Scope, statistics_of
from aar_ray.corpus.readers import parts
from aar_ray.corpus.recording import InputError
from aar_ray.corpus.shards import Corpus, build_corpus, build_labelled, read_corpus, resident_windows
from aar_ray.corpus.stretches import Findings
from aar_ray.store import Store

STUDY = small_study()


@pytest.fixture(scope="module")
def built(ray_cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Corpus]:
    store = Store(tmp_path_factory.mktemp("store"))
    return store, build_corpus(STUDY, store)


def by_loops(study: Study, name: str) -> np.ndarray:
    """Windows of one unlabelled source, one part after another."""
    (given,) = [one for one in study.data.unlabelled if one.name == name]
    found = [one.windows for part in parts(given, study.seed) for one in harvest(part, study.data, Findings())]
    return np.concatenate(found)


def in_one_order(windows: np.ndarray) -> np.ndarray:
    flat = windows.reshape(len(windows), -1)
    return flat[np.lexsort(flat.T)]


def test_the_corpus_equals_plain_loops(built: tuple[Store, Corpus]) -> None:
    _, corpus = built
    resident = resident_windows(read_corpus(corpus).iter_batches(batch_size=97))
    expected = [by_loops(STUDY, name) for name in ("cows", "ewes")]
    assert corpus.windows == len(resident.windows) == sum(map(len, expected))
    assert np.array_equal(in_one_order(resident.windows), in_one_order(np.concatenate(expected)))


@pytest.mark.parametrize("scope", ["source", "recording"])
def test_each_window_is_scored_by_the_statistics_of_its_scope(built: tuple[Store, Corpus], scope: Scope) -> None:
    _, corpus = built
    resident = resident_windows(read_corpus(corpus).iter_batches(batch_size=97))
    found = resident.statistics(corpus.summary, scope)
    assert found is not None
    names = resident.sources if scope == "source" else resident.recordings
    for name in np.unique(names):
        own = names == name
        of_own = statistics_of(resident.windows[own])
        assert np.allclose(found.mean[own], of_own.mean, atol=1e-5)
        assert np.allclose(found.deviation[own], of_own.deviation, rtol=1e-4)
    assert len(np.unique(found.mean, axis=0)) == len(np.unique(names)) > 1
    assert resident.statistics(corpus.summary, "window") is None


def test_the_summary_counts_and_measures_each_source(built: tuple[Store, Corpus]) -> None:
    _, corpus = built
    cows = by_loops(STUDY, "cows")
    about = corpus.summary["cows"]
    assert (about["windows"], about["animals"], about["species"]) == (len(cows), 2, "cattle")
    assert about["mean"] == pytest.approx(statistics_of(cows).mean, abs=1e-5)
    assert about["deviation"] == pytest.approx(statistics_of(cows).deviation, rel=1e-4)


def test_windows_are_shuffled_over_the_sources(built: tuple[Store, Corpus]) -> None:
    _, corpus = built
    names = np.concatenate([batch["source"] for batch in read_corpus(corpus).iter_batches(batch_size=4096)])
    # in the order of the sources there would be one change
    assert (names[1:] != names[:-1]).sum() > len(names) / 4


def test_the_same_recordings_are_not_built_twice(built: tuple[Store, Corpus]) -> None:
    store, corpus = built
    again = build_corpus(STUDY, store)
    assert again.cached
    assert not corpus.cached
    assert again.key == corpus.key
    # what the windows do not depend on does not build them again, what they depend on does
    assert build_corpus(small_study(name="other", budget={"trials": 9}), store).key == corpus.key
    assert build_corpus(small_study(seed=4), store).key != corpus.key


def test_labelled_windows_come_with_behaviours_and_sealed_animals_stay_out(ray_cluster: Any, tmp_path: Path) -> None:
    study = small_study(protocol={"split": "leave_one_subject_out", "sealed": ["goats-2"]})
    labelled, corpus = build_labelled(study, Store(tmp_path))
    assert len(labelled) == corpus.windows
    assert set(labelled.subjects) == {"goats-1", "goats-3", "goats-4", "goats-5"}
    assert {"standing", "grazing", "walking"} <= set(labelled.classes)
    assert labelled.windows.shape[1:] == (3, 50)


def test_a_cell_that_is_no_number_deep_in_a_file_is_one_clear_error(ray_cluster: Any, tmp_path: Path) -> None:
    rows = table(3000).astype({"ay": object})
    rows.loc[2500, "ay"] = "oops"
    path = tmp_path / "goat.csv"
    rows.to_csv(path, index=False)
    data = {**SMALL["data"], "unlabelled": [source(path, columns={"label": None}).model_dump(exclude_none=True)]}
    with pytest.raises(InputError, match=r"goat.csv:2502: column 'ay' must hold a number, got 'oops'"):
        build_corpus(small_study(data=data), Store(tmp_path / "store"))
    assert not list((tmp_path / "store" / "corpus").glob("[!.]*"))
