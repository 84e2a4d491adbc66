"""The corpus by Ray Data equals plain loops, is shuffled, found again, and read back in one order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus.made_up import source, table
from small_study import SMALL, small_study

from aar_ray.config import Study
from aar_ray.corpus import deal, pipeline, shards
from aar_ray.corpus.checks import check_data, unlabelled_parts
from aar_ray.corpus.files import about_file, read_resident, window_batches, window_files, write_windows
from aar_ray.corpus.harvest import harvest
from aar_ray.corpus.normalise import Scope, statistics_of
from aar_ray.corpus.parts import parts
from aar_ray.corpus.reading import Corpus, mapped_windows, read_corpus, resident_windows
from aar_ray.corpus.recording import InputError
from aar_ray.corpus.shards import build_corpus, build_labelled
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
    names = (resident.sources if scope == "source" else resident.recordings).texts()
    for name in np.unique(names):
        own = names == name
        of_own = statistics_of(resident.windows[own])
        assert np.allclose(found.mean[own], of_own.mean, atol=1e-5)
        assert np.allclose(found.deviation[own], of_own.deviation, rtol=1e-4)
    assert len(np.unique(found.mean, axis=0)) == len(np.unique(names)) > 1
    assert resident.statistics(corpus.summary, "window") is None


def test_windows_on_disk_are_those_in_memory_with_the_same_statistics(built: tuple[Store, Corpus]) -> None:
    _, corpus = built
    held, mapped = (
        make(read_corpus(corpus).iter_batches(batch_size=97)) for make in (resident_windows, mapped_windows)
    )
    assert isinstance(mapped.windows, np.memmap)
    assert np.array_equal(held.windows, mapped.windows)
    for scope in ("source", "recording"):
        one, other = (each.statistics(corpus.summary, scope) for each in (held, mapped))
        assert one is not None
        assert other is not None
        assert np.array_equal(one.mean, other.mean)
        assert np.array_equal(one.deviation, other.deviation)


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


def test_a_worker_reads_the_same_windows_from_the_files_as_through_ray(built: tuple[Store, Corpus]) -> None:
    _, corpus = built
    streamed, own = resident_windows(read_corpus(corpus).iter_batches(batch_size=97)), read_resident(corpus.folder)
    assert np.array_equal(streamed.windows, own.windows)
    assert list(streamed.sources.texts()) == list(own.sources.texts())
    assert list(streamed.recordings.texts()) == list(own.recordings.texts())
    # and where memory does not hold them
    mapped = mapped_windows(window_batches(corpus.folder, 61))
    assert isinstance(mapped.windows, np.memmap)
    assert np.array_equal(mapped.windows, own.windows)
    assert list(mapped.sources.texts()) == list(own.sources.texts())
    assert list(mapped.recordings.texts()) == list(own.recordings.texts())


def test_each_file_says_what_it_is(built: tuple[Store, Corpus]) -> None:
    store, corpus = built
    (first, *_) = window_files(corpus.folder)
    about = about_file(first)
    assert (about["unit"], about["rate_hz"], about["window_seconds"], about["key"]) == ("g", "25", "2", corpus.key)
    assert set(json.loads(about["sources"])) == {"cows", "ewes"}
    other = build_corpus(small_study(seed=5), store)
    assert about_file(window_files(other.folder)[0])["key"] != corpus.key
    schema = pq.read_schema(first)
    assert schema.field("window").type.shape == [3, 50]
    assert schema.names == ["window", "source", "subject", "recording", "behaviour", "start"]


def herd_of_files(folder: Path, animals: int, rows: int = 3000) -> dict[str, Any]:
    folder.mkdir()
    for number in range(animals):
        table(rows, seed=number).to_csv(folder / f"cow{number}.csv", index=False)
    given = source(folder, columns={"label": None}, species="cattle")
    return {**SMALL["data"], "unlabelled": [given.model_dump(exclude_none=True)]}


@pytest.mark.parametrize("readers", ["all nodes", "this node", "this node for all"])
def test_the_order_depends_on_neither_the_cluster_nor_the_number_of_buckets(
    ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: str
) -> None:
    study = small_study(data=herd_of_files(tmp_path / "herd", 4))
    expected = np.concatenate(
        [one.windows for part in unlabelled_parts(study) for one in harvest(part, study.data, Findings())]
    )
    monkeypatch.setattr(pipeline, "_readers", lambda _: readers)
    # buckets that are dealt a second and a third time, and files of a few buckets each
    monkeypatch.setattr(deal, "DEALT_ROWS", 50)
    monkeypatch.setattr(deal, "MOST_ROWS", 3)
    monkeypatch.setattr(pipeline, "GROUP_ROWS", 20)
    corpus = build_corpus(study, Store(tmp_path / "store"))
    several = read_resident(corpus.folder)
    assert len(window_files(corpus.folder)) > 4
    monkeypatch.undo()
    plain = read_resident(build_corpus(study, Store(tmp_path / "plain")).folder)
    assert np.array_equal(several.windows, plain.windows)
    assert list(several.recordings.texts()) == list(plain.recordings.texts())
    assert not np.array_equal(several.windows, expected)
    assert np.array_equal(in_one_order(several.windows), in_one_order(expected))
    summaries = [
        json.loads((folder / "summary.json").read_text())
        for folder in (corpus.folder, tmp_path / "plain" / "corpus" / corpus.key)
    ]
    assert summaries[0] == summaries[1]


def test_a_file_that_vanishes_or_changes_while_the_corpus_is_built_leaves_nothing(
    ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(data=herd_of_files(tmp_path / "herd", 3))
    store = Store(tmp_path / "store")
    made_from = shards._made_from

    def then(change: Any) -> Any:
        def hashed(*given: Any) -> Any:
            found = made_from(*given)
            change()
            return found

        return hashed

    gone = tmp_path / "herd" / "cow1.csv"
    monkeypatch.setattr(shards, "_made_from", then(lambda: gone.write_text(gone.read_text() + "\n")))
    with pytest.raises(InputError, match=r"cow1.csv: the file was changed while it was read; start again"):
        build_corpus(study, store)
    monkeypatch.setattr(shards, "_made_from", then(gone.unlink))
    with pytest.raises(InputError, match=r"cow1.csv: the file is gone; put it back and start again"):
        build_corpus(study, store)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("stage", ["while windows are dealt", "while files are written"])
def test_a_full_disk_leaves_nothing_and_the_next_try_is_whole(
    ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    study = small_study(data=herd_of_files(tmp_path / "herd", 3))
    store = Store(tmp_path / "store")

    # Arrow removes a file that it could not write: a link, so that it is not the device
    full = tmp_path / "full"

    def write_to_full_disk(_: Path, *rest: Any) -> None:
        full.unlink(missing_ok=True)
        full.symlink_to(FULL)
        write_windows(full, *rest)

    full.symlink_to(FULL)
    if stage == "while windows are dealt":
        monkeypatch.setattr(deal, "DEALT_ROWS", 50)
        monkeypatch.setattr(deal.Dealer, "_path", lambda *_: full)
    else:
        monkeypatch.setattr(pipeline, "write_windows", write_to_full_disk)
    with pytest.raises(
        OSError, match=r"cannot be written to .*No space left on device.*; make room there or set anoth"
    ):
        build_corpus(study, store)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    monkeypatch.undo()
    corpus = build_corpus(study, store)
    assert corpus.windows == len(read_resident(corpus.folder).windows) > 0


def test_an_animal_without_a_usable_sample_is_refused_by_name(ray_cluster: Any, tmp_path: Path) -> None:
    data = herd_of_files(tmp_path / "herd", 2)
    rows = table(3000)
    rows[["ax", "ay", "az"]] = np.nan
    rows.to_csv(tmp_path / "herd" / "cow9.csv", index=False)
    with pytest.raises(
        InputError, match="herd: every animal must have usable samples, got none of cow9; remove its rows"
    ):
        build_corpus(small_study(data=data), Store(tmp_path / "store"))


def test_a_copy_that_begins_later_is_known_when_the_corpus_is_built(ray_cluster: Any, tmp_path: Path) -> None:
    data = herd_of_files(tmp_path / "herd", 2, rows=12_000)
    rows = table(12_000, seed=0)
    rows[["ax", "ay", "az"]] = (rows[["ax", "ay", "az"]] * 9.80665).round(3)
    (tmp_path / "copy").mkdir()
    # the first rows, which the check before the start looks at, are left out
    rows.iloc[64 * 80 :].to_csv(tmp_path / "copy" / "zoe.csv", index=False)
    copy = source(tmp_path / "copy", name="copy", unit="m/s^2", columns={"label": None}, species="cattle")
    data["unlabelled"].append(copy.model_dump(exclude_none=True))
    study = small_study(data=data)
    check_data(study.data, study.protocol, 0)
    with pytest.raises(InputError, match="must be there once, got the same content in copy: zoe and herd: cow0"):
        build_corpus(study, Store(tmp_path / "store"))


def test_a_labelled_test_animal_in_the_corpus_is_known_when_it_is_built(ray_cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "goats").mkdir()
    for number, name in enumerate(("ann", "bea", "cat")):
        table(12_000, seed=number).to_csv(tmp_path / "goats" / f"{name}.csv", index=False)
    data = herd_of_files(tmp_path / "herd", 4, rows=12_000)
    for number in range(3):
        (tmp_path / "herd" / f"cow{number}.csv").unlink()
    later = table(12_000, seed=1).iloc[64 * 80 :]
    later.to_csv(tmp_path / "herd" / "zoe.csv", index=False)
    data["labelled"] = source(tmp_path / "goats", name="goats").model_dump(exclude_none=True)
    study, store = small_study(data=data), Store(tmp_path / "store")
    corpus = build_corpus(study, store)
    with pytest.raises(InputError, match=r"test animals must not be in the corpus, got .* goats: bea and herd: zoe"):
        build_labelled(study, store, corpus)
    told = small_study(data=data, protocol={"split": "paper", "transductive": True})
    assert set(build_labelled(told, store, corpus)[0].subjects) == {"ann", "bea", "cat"}
