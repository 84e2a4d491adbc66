"""The published sets, each to its facts: files, columns, units, clocks, animals, behaviours, and what is dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corpus import made_up_sets
from corpus.made_up_sets import published

from aar_ray.config import PublishedSource
from aar_ray.corpus.parts import parts, subjects_of
from aar_ray.corpus.published import BEHAVIOURS, SETS
from aar_ray.corpus.readers import behaviours_of, check_source, read
from aar_ray.corpus.recording import NOT_FINITE, InputError, Recording
from aar_ray.corpus.stretches import CLOCK_SET_BACK, Findings
from aar_ray.study_file.loader import load_study


def recordings(
    source: PublishedSource, *, labelled: bool = True, **options: object
) -> tuple[list[Recording], Findings]:
    findings = Findings()
    found = [one for part in parts(source, 0, labelled=labelled, **options) for one in read(part, findings)]  # type: ignore[arg-type]
    return found, findings


def test_every_label_means_a_behaviour_of_the_shared_vocabulary() -> None:
    assert len(set(BEHAVIOURS)) == len(BEHAVIOURS)
    for known in SETS.values():
        assert set(known.behaviours.values()) <= set(BEHAVIOURS)


def test_goats_are_folders_and_their_six_sensors_one_animal(tmp_path: Path) -> None:
    source = published("goats", made_up_sets.goats(tmp_path / "goats"))
    check_source(source, labelled=True)
    assert subjects_of(source) == ("G1", "S2")
    assert behaviours_of(source)[0] == {"standing", "grazing"}
    found, findings = recordings(source)
    assert {one.name for one in found} == {f"{goat}/pos_{sensor}" for goat in ("G1", "S2") for sensor in "ABCDEF"}
    assert {(one.subject, one.rate_hz) for one in found} == {("G1", 100.0), ("S2", 100.0)}
    # m/s^2 in the file, 1 g on the animal; one row of NaN in each of 12 files
    assert np.median(np.linalg.norm(found[0].samples, axis=1)) == pytest.approx(1.0, abs=0.05)
    assert findings.dropped.stretches == {NOT_FINITE: 12}
    labels = {label for one in found if one.labels is not None for label in one.labels}
    assert labels == {"standing", "grazing", None}


def test_a_sealed_goats_files_stay_closed(tmp_path: Path) -> None:
    folder = made_up_sets.goats(tmp_path / "goats")
    for file in (folder / "S2").iterdir():
        file.write_bytes(b"\xff not to be read")
    source = published("goats", folder)
    check_source(source, labelled=True, sealed=["S2"])
    assert {one.subject for one in recordings(source, sealed=["S2"])[0]} == {"G1"}


def test_goats_in_g_are_told_from_goats_in_metres(tmp_path: Path) -> None:
    folder = made_up_sets.goats(tmp_path / "goats", ("G1",))
    for file in (folder / "G1").iterdir():
        table = pd.read_csv(file)
        table[["ax", "ay", "az"]] /= made_up_sets.GRAVITY
        table.to_csv(file, index=False)
    (one, *_), _ = recordings(published("goats", folder))
    assert np.median(np.linalg.norm(one.samples, axis=1)) == pytest.approx(1.0, abs=0.05)


def test_horses_are_named_in_their_files_and_may_come_in_parts(tmp_path: Path) -> None:
    source = published("horses", made_up_sets.horses(tmp_path / "horses"))
    check_source(source, labelled=True)
    assert subjects_of(source) == ("Bacardi", "Viva")
    found, _ = recordings(source)
    # three segments, the middle one without a number
    assert len(found) == 9
    assert {one.name for one in found if one.subject == "Viva"} == {"subject_1_Viva_part_1", "subject_1_Viva_part_2"}
    assert {label for one in found if one.labels is not None for label in one.labels} == {"walking", None}


@pytest.mark.parametrize("version", [1, 2])
def test_cattle_come_in_the_columns_of_either_version(tmp_path: Path, version: int) -> None:
    source = published("cattle", made_up_sets.cattle(tmp_path / "cattle", version))
    check_source(source, labelled=True)
    found, _ = recordings(source)
    assert [(one.subject, one.rate_hz, len(one.samples)) for one in found] == [("cow1", 25, 300), ("cow2", 25, 300)]
    assert found[0].labels is not None
    assert list(found[0].labels[[0, 150, 250]]) == ["standing", None, None]


def test_sheep_are_not_told_apart_and_a_clock_that_begins_again_ends_a_recording(tmp_path: Path) -> None:
    source = published("sheep", made_up_sets.sheep(tmp_path / "sheep"))
    check_source(source)
    found, findings = recordings(source, labelled=False)
    # the second ewe's rows have the first one's stamps and are none the less kept
    assert [(one.start_seconds, len(one.samples)) for one in found] == [(0.0, 500), (0.0, 500)]
    assert len({one.name for one in found}) == 2
    assert findings.gaps.stretches == {CLOCK_SET_BACK: 1}
    assert findings.dropped.plain() == {}
    with pytest.raises(InputError, match="must tell its animals apart, got Sheep_activity_Data"):
        check_source(source, labelled=True)


@pytest.mark.parametrize("reader", sorted(SETS))
def test_a_missing_set_is_named_with_its_doi_licence_place_and_the_path_looked_at(tmp_path: Path, reader: str) -> None:
    with pytest.raises(InputError) as caught:
        check_source(published(reader, tmp_path / "nowhere"))
    message, known = str(caught.value), SETS[reader]
    for told in (known.title, known.doi, known.licence, known.where, str(tmp_path / "nowhere")):
        assert told in message


def test_window_means_are_not_taken_for_a_raw_signal(tmp_path: Path) -> None:
    folder = made_up_sets.cattle(tmp_path / "cattle", version=1)
    table = pd.read_csv(folder / "cow1.csv")
    table[["AccX", "AccY", "AccZ"]] *= 0.02
    table.to_csv(folder / "cow1.csv", index=False)
    with pytest.raises(
        InputError, match=r"cow1.csv: an animal's usual acceleration must be 0.6 to 1.7 g in g, got 0.0"
    ):
        check_source(published("cattle", folder))


def test_other_columns_are_refused_with_those_of_the_set(tmp_path: Path) -> None:
    folder = made_up_sets.horses(tmp_path / "horses")
    file = folder / "subject_7_Bacardi_part_1.csv"
    pd.read_csv(file).drop(columns="Az").to_csv(file, index=False)
    with pytest.raises(InputError, match=r"must have the columns Ax, Ay, Az, segment, label of Horsing Around"):
        check_source(published("horses", folder))


def test_the_papers_study_is_a_study() -> None:
    study = load_study(Path(__file__).parents[2] / "studies" / "goats_576k.yaml")
    assert [source.reader for source in study.sources()] == ["cattle", "sheep", "horses", "goats"]
    assert study.protocol.split == "paper"
    assert not study.simulated
    assert {"tfc.contrastive_weight", "tfc.margin", "patchtst.patch_length", "patchtst.patch_stride"} <= set(
        study.search
    )
