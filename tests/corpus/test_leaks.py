"""Leaks between what a model learns from and what it is scored on: each one injected, each one refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import made_up_sets
from corpus.made_up import source, table
from corpus.test_checks import data, study

from aar_ray.config import Data, Protocol, TabularSource
from aar_ray.corpus import labelled as labelled_module
from aar_ray.corpus.checks import check_data, labelled_parts, study_names, unlabelled_parts
from aar_ray.corpus.guards import check_sensors
from aar_ray.corpus.labelled import LabelledWindows, normalised_for
from aar_ray.corpus.readers import read
from aar_ray.corpus.recording import InputError
from aar_ray.corpus.sketch import same_recordings, sketch_of
from aar_ray.corpus.splits import Fold
from aar_ray.corpus.stretches import Findings

PAPER = Protocol(split="paper")


@pytest.fixture
def herd(tmp_path: Path) -> Path:
    """Three goats, a file each."""
    (tmp_path / "herd").mkdir()
    for number, name in enumerate(("ann", "bea", "cat")):
        table(600, seed=number).to_csv(tmp_path / "herd" / f"{name}.csv", index=False)
    return tmp_path / "herd"


def other(path: Path, **changes: Any) -> TabularSource:
    return source(path, name="other", **{"columns": {"label": None}, **changes})


# --- the same recording twice ------------------------------------------------------------------------------------


def copied(kind: str, folder: Path) -> TabularSource:
    """Goat ann's recording once more, under another name, written in another way."""
    folder.mkdir()
    rows = table(600, seed=0)
    axes = ["ax", "ay", "az"]
    if kind == "name":
        rows.to_csv(folder / "zoe.csv", index=False)
        return other(folder)
    if kind == "unit":
        rows[axes] = (rows[axes] * 9.80665).round(3)
        rows.to_csv(folder / "zoe.csv", index=False)
        return other(folder, unit="m/s^2")
    if kind == "delimiter":
        rows.to_csv(folder / "zoe.csv.gz", index=False, sep=";", decimal=",")
        return other(folder, delimiter=";", decimal=",")
    if kind == "counts":
        rows[axes] = (rows[axes] * 16384).round().astype(int)
        rows.to_parquet(folder / "zoe.parquet")
        return other(folder / "zoe.parquet", unit="counts", counts_per_g=16384.0)
    assert kind == "columns"
    rows[["az", "what", "ax", "t", "ay"]].rename(columns={"az": "up"}).to_csv(folder / "zoe.csv", index=False)
    return other(folder, columns={"label": None, "z": "up"})


@pytest.mark.parametrize("kind", ["name", "unit", "delimiter", "counts", "columns"])
def test_a_test_animals_recording_in_the_corpus_is_known_by_its_content(herd: Path, tmp_path: Path, kind: str) -> None:
    given = data(source(herd), copied(kind, tmp_path / "copy"))
    with pytest.raises(InputError, match=r"test animals must not be in the corpus, got .* herd: ann and other: zoe; "):
        check_data(given, PAPER, 0)
    check_data(given, Protocol(split="paper", transductive=True), 0)
    # where all goats take turns at validation none is a test animal
    check_data(given, Protocol(), 0)


@pytest.mark.parametrize("kind", ["name", "unit", "delimiter", "counts", "columns"])
def test_one_recording_in_two_unlabelled_sources_is_refused(herd: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "more").mkdir()
    table(600, seed=0).to_csv(tmp_path / "more" / "yew.csv", index=False)
    third = copied(kind, tmp_path / "copy").model_copy(update={"name": "third"})
    twice = data(source(herd / "[bc]*.csv"), other(tmp_path / "more"), third)
    with pytest.raises(InputError, match="must be there once, got the same content in other: yew and third: zoe"):
        check_data(twice, Protocol(), 0)


def test_one_recording_under_two_labelled_animals_is_refused(herd: Path) -> None:
    rows = table(600, seed=0)
    rows["what"] = "Walking"
    rows.to_csv(herd / "dot.csv", index=False)
    with pytest.raises(InputError, match="must be there once, got the same content in herd: ann and herd: dot"):
        check_data(data(source(herd)), Protocol(), 0)


def test_sketches_survive_units_and_rounding_and_tell_recordings_apart() -> None:
    draw = np.random.default_rng(0)
    first, second = (draw.normal((0, 0, 1), 0.1, (6400, 3)) for _ in range(2))
    sketches = {
        "first": sketch_of(first),
        "in metres": sketch_of((first * 9.80665).round(2)),
        "its half": sketch_of(first[:3200]),
        "second": sketch_of(second),
        # an 8-bit sensor at rest says little, and what it says is no sign of one recording
        **{f"rest {n}": sketch_of((draw.normal((0, 0, 1), 0.004, (6400, 3)) * 64).round()) for n in range(4)},
    }
    assert list(same_recordings(sketches)) == [
        ("first", "in metres"),
        ("first", "its half"),
        ("in metres", "its half"),
    ]


# --- one animal under two names ----------------------------------------------------------------------------------


def with_groups(given: Data, *groups: list[str]) -> Data:
    return Data.model_validate({**given.model_dump(exclude_none=True), "same_animal": groups})


def test_a_mapped_animal_has_one_name_and_is_kept_out_with_its_other_one(herd: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for number, name in enumerate(("n17", "n18")):
        table(600, seed=10 + number).to_csv(tmp_path / "more" / f"{name}.csv", index=False)
    given = with_groups(data(source(herd), other(tmp_path / "more", species="kid")), ["other/n17", "herd/ann"])
    assert study_names(given, given.unlabelled[1]) == {"n17": "ann"}
    with pytest.raises(InputError, match="other: test animals of herd must not be in the corpus, got n17; remove"):
        check_data(given, PAPER, 0)
    sealed = study(Protocol(sealed=("ann",)), given)
    assert [part.name for part in unlabelled_parts(sealed)] == ["cows-1", "n18"]
    told = study(Protocol(), given)
    subjects = {one.subject for part in unlabelled_parts(told) if part.file for one in read(part, Findings())}
    assert subjects == {"ann", "n18"}


def test_two_names_of_one_labelled_animal_are_on_one_side(herd: Path) -> None:
    given = with_groups(data(source(herd)), ["herd/ann", "herd/cat"])
    subjects = {one.subject for part in labelled_parts(study(Protocol(), given)) for one in read(part, Findings())}
    assert subjects == {"ann", "bea"}
    # two animals are left, which a leave-one-out can use and the paper's three repetitions cannot
    check_data(given, Protocol(), 0)
    with pytest.raises(InputError, match="needs at least 3 animals"):
        check_data(given, PAPER, 0)
    assert labelled_parts(study(Protocol(sealed=("ann",)), given))[0].name == "bea"


def test_a_name_that_two_herds_share_is_two_animals_only_where_the_study_says_so(herd: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    table(600, seed=9).to_csv(tmp_path / "more" / "ann.csv", index=False)
    with pytest.raises(InputError, match=r"test animals of herd must not be in the corpus, got ann; .* a herd of"):
        check_data(data(source(herd), other(tmp_path / "more")), PAPER, 0)
    check_data(data(source(herd), other(tmp_path / "more", herd="next door")), PAPER, 0)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (["herd/ann"], "a group of same_animal must hold two names or more"),
        (["herd/ann", "stable/bea"], r"must list source/animal with a source among cows, herd, got 'stable/bea'"),
        (["herd/ann", "herd/ann"], "must name each animal once, got herd/ann more"),
        (["herd/ann", "herd/anna"], "must name animals that are there, got anna of herd, which holds ann, bea, cat"),
    ],
)
def test_a_wrong_mapping_is_refused(herd: Path, group: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_data(with_groups(data(source(herd)), group), Protocol(), 0)


# --- six sensors of a goat ---------------------------------------------------------------------------------------


def test_the_six_sensors_of_a_goat_are_one_animal_of_the_split(tmp_path: Path) -> None:
    goats = made_up_sets.published("goats", made_up_sets.goats(tmp_path / "goats", ("G1", "G2", "S1")))
    cows = {"name": "cows", "reader": "simulated", "species": "cattle", "animals": 1, "minutes_per_animal": 1.0}
    given = Data.model_validate({"unlabelled": [cows], "labelled": goats.model_dump()})
    check_data(given, PAPER, 0)
    sealed = study(Protocol(sealed=("G2",)), given)
    assert {part.name.split("/")[0] for part in labelled_parts(sealed)} == {"G1", "S1"}


def windows_of(norms: dict[str, np.ndarray], seed: int = 0) -> LabelledWindows:
    """Labelled windows of recordings with these norms [n, 50], each sensor turned in its own way."""
    draw = np.random.default_rng(seed)
    parts = []
    for norm in norms.values():
        direction = draw.normal(size=3)
        parts.append((direction / np.linalg.norm(direction))[None, :, None] * norm[:, None, :])
    count = len(next(iter(norms.values())))
    names = np.array([name for name in norms for _ in range(count)], dtype=object)
    return LabelledWindows(
        windows=np.concatenate(parts).astype(np.float32),
        labels=np.arange(len(names)) % 2,
        classes=("grazing", "walking"),
        subjects=names,
        recordings=np.array([f"{name}/pos" for name in names], dtype=object),
        starts=np.tile(2.0 * np.arange(count), len(norms)),
    )


def test_sensors_of_one_goat_under_two_names_are_known_by_their_movements() -> None:
    draw = np.random.default_rng(1)
    goat, other = (1 + draw.normal(0, 0.1, (40, 50)) for _ in range(2))
    both = {"G1_A": goat, "G1_F": goat + draw.normal(0, 0.05, goat.shape), "S2_A": other}
    with pytest.raises(InputError, match=r"the same moments in G1_A and G1_F: sensors of one animal .* same_animal"):
        check_sensors(windows_of(both))
    check_sensors(windows_of({"G1": goat, "S2": other}))
    # two goats that stand still at the same time share nothing but gravity
    check_sensors(windows_of({"G1": 1 + 0.01 * (goat - 1), "S2": 1 + 0.01 * (goat - 1)}))


# --- windows and statistics --------------------------------------------------------------------------------------


def test_windows_of_one_recording_on_two_sides_are_refused() -> None:
    draw = np.random.default_rng(2)
    given = windows_of({name: draw.normal(1, 0.1, (20, 50)) for name in ("ann", "bea", "cat")})
    overlapping = replace(given, recordings=np.where(given.subjects == "cat", "ann/pos", given.recordings))
    fold = Fold("one", ("ann", "bea"), ("cat",), ())
    normalised_for(given, fold, "source")
    with pytest.raises(ValueError, match=r"fold one: .* got ann/pos in training and validation \(animals ann, cat\)"):
        normalised_for(overlapping, fold, "source")


def test_statistics_of_validation_animals_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    given = windows_of({name: draw.normal(1, 0.1, (20, 50)) for name in ("ann", "bea", "cat")})
    fold = Fold("one", ("ann", "bea"), ("cat",), ())
    # the mistake of standardising before splitting
    monkeypatch.setattr(labelled_module, "_statistics_from", lambda labelled, _: labelled)
    with pytest.raises(ValueError, match=r"must come from its training animals \(ann, bea\), got those of cat too"):
        normalised_for(given, fold, "source")
