"""Readers: units, gaps, repeats, segments, animals; and what is wrong with a file, said with its place."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corpus.made_up import recordings, source, table
from small_study import small_study

from aar_ray.corpus.harvest import harvest
from aar_ray.corpus.parts import fingerprint, parts, subjects_of
from aar_ray.corpus.readers import check_source
from aar_ray.corpus.recording import NOT_FINITE, InputError
from aar_ray.corpus.stretches import REPEATED, Findings


def written(rows: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        rows.to_parquet(path)
    else:
        rows.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["goat.csv", "goat.csv.gz", "goat.parquet"])
def test_formats_hold_the_same_recording(tmp_path: Path, name: str) -> None:
    rows = table()
    (one,), findings = recordings(source(written(rows, tmp_path / name)))
    assert one.samples == pytest.approx(rows[["ax", "ay", "az"]].to_numpy())
    assert one.subject == "goat"
    assert one.labels is not None
    assert list(one.labels) == list(rows["what"])
    assert findings.dropped.plain() == {}


@pytest.mark.parametrize(("unit", "factor"), [("g", 1.0), ("mg", 0.001), ("m/s^2", 1 / 9.80665)])
def test_units_become_g(tmp_path: Path, unit: str, factor: float) -> None:
    rows = table()
    (one,), _ = recordings(source(written(rows, tmp_path / "goat.csv"), unit=unit))
    assert one.samples == pytest.approx(rows[["ax", "ay", "az"]].to_numpy() * factor)


def test_labels_are_mapped_and_unlisted_ones_dropped(tmp_path: Path) -> None:
    (one,), _ = recordings(source(written(table(), tmp_path / "goat.csv"), behaviours={"Walking": "walking"}))
    assert one.labels is not None
    assert set(one.labels) == {"walking", None}


def test_labels_of_unlabelled_sources_are_not_read(tmp_path: Path) -> None:
    (one,), _ = recordings(source(written(table(), tmp_path / "goat.csv")), labelled=False)
    assert one.labels is None


def test_a_gap_in_time_splits_a_recording_and_keeps_its_clock(tmp_path: Path) -> None:
    rows = table(100).drop(index=range(40, 60))
    first, second = recordings(source(written(rows, tmp_path / "goat.csv")))[0]
    assert (len(first.samples), len(second.samples)) == (40, 40)
    assert second.start_seconds == pytest.approx(60 / 25)


def test_windows_know_their_time_by_the_files_clock(tmp_path: Path) -> None:
    rows = table(400).drop(index=range(110, 160))
    rows["t"] += 1000
    rows.loc[300:, "t"] -= 5.01
    given, data = source(written(rows, tmp_path / "goat.csv")), small_study().data
    (found,) = [one for part in parts(given, 0) for one in harvest(part, data, Findings())]
    # each stretch begins with a window, and a clock set back begins a recording
    firsts = [0, 50, 160, 210, 300, 350]
    assert found.times == pytest.approx(rows["t"].loc[firsts].to_numpy())
    assert found.recordings == ["goat"] * 4 + ["goat~2"] * 2
    assert found.starts == pytest.approx([0, 2, 6.4, 8.4, 0, 2])
    untimed = source(tmp_path / "goat.csv", columns={"time": None})
    (found,) = [one for part in parts(untimed, 0) for one in harvest(part, data, Findings())]
    assert np.isnan(found.times).all()


def test_rows_repeated_in_time_are_dropped_and_counted_and_disorder_is_sorted(tmp_path: Path) -> None:
    rows = table(100)
    mixed = pd.concat([rows, rows.iloc[10:20]]).sample(frac=1, random_state=0)
    (one,), findings = recordings(source(written(mixed, tmp_path / "goat.csv")))
    assert one.samples == pytest.approx(rows[["ax", "ay", "az"]].to_numpy())
    assert findings.dropped.seconds[REPEATED] == pytest.approx(10 / 25)


def test_a_segment_ends_a_recording_and_animals_are_apart(tmp_path: Path) -> None:
    rows = pd.concat([table(60, seed=1), table(60, seed=2)], ignore_index=True)
    rows["cow"] = ["ann"] * 60 + ["bea"] * 60
    rows["bout"] = [0] * 20 + [1] * 40 + [0] * 60
    given = source(written(rows, tmp_path / "herd.csv"), columns={"subject": "cow", "segment": "bout", "time": None})
    found, _ = recordings(given)
    assert [(one.subject, len(one.samples)) for one in found] == [("ann", 20), ("ann", 40), ("bea", 60)]
    assert subjects_of(given) == ("ann", "bea")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_stretches_that_are_not_finite_are_dropped_and_counted(tmp_path: Path, value: float) -> None:
    rows = table(100)
    rows.loc[30:34, "ay"] = value
    found, findings = recordings(source(written(rows, tmp_path / "goat.csv")))
    assert [len(one.samples) for one in found] == [30, 65]
    assert findings.dropped.plain() == {NOT_FINITE: {"stretches": 1, "seconds": 0.2}}


def test_a_constant_axis_is_named_and_a_dead_sensor_left_out(tmp_path: Path) -> None:
    rows = table()
    rows["ay"] = 0.5
    _, findings = recordings(source(written(rows, tmp_path / "goat.csv")))
    assert findings.constant_axes == {"goat": ["y"]}
    rows[["ax", "az"]] = 0.5
    found, findings = recordings(source(written(rows, tmp_path / "dead.csv")))
    assert found == []
    assert findings.dropped.stretches == {"constant on all axes": 1}


def test_sealed_animals_are_not_handed_on_and_their_own_files_stay_closed(tmp_path: Path) -> None:
    for name in ("ann", "bea"):
        written(table(), tmp_path / f"{name}.csv")
    (tmp_path / "bea.csv").write_bytes(b"\xff not to be read")
    found, _ = recordings(source(tmp_path), sealed=("bea",))
    assert {one.subject for one in found} == {"ann"}


def test_rows_of_a_sealed_animal_in_a_shared_file_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = pd.concat([table(50, seed=1), table(75, seed=2)], ignore_index=True)
    rows["cow"] = ["ann"] * 50 + ["bea"] * 75
    given = source(written(rows, tmp_path / "herd.csv"), columns={"subject": "cow"})
    found, findings = recordings(given, sealed=("bea",))
    assert {one.subject for one in found} == {"ann"}
    assert findings.dropped.plain() == {"sealed animal": {"stretches": 1, "seconds": 3.0}}


def test_rows_of_one_animal_do_not_go_on_across_another_ones(tmp_path: Path) -> None:
    rows = table(90)
    rows["cow"] = ["ann"] * 30 + ["bea"] * 40 + ["ann"] * 20
    given = source(written(rows, tmp_path / "herd.csv"), columns={"subject": "cow", "time": None})
    found, _ = recordings(given)
    assert [(one.subject, len(one.samples), one.start_seconds) for one in found] == [
        ("ann", 30, 0.0),
        ("ann", 20, pytest.approx(70 / 25)),
        ("bea", 40, 0.0),
    ]


def test_one_recording_under_two_names_is_refused(tmp_path: Path) -> None:
    for name in ("ann", "bea"):
        written(table(), tmp_path / f"{name}.csv")
    with pytest.raises(InputError, match="a recording must be there once"):
        fingerprint(parts(source(tmp_path), 0))


def broken(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


HEADER = b"t,ax,ay,az,what\n"
ROW = b"0.0,1,2,3,Walking\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "the file is empty"),
        ("header.csv", HEADER, "a header and no rows"),
        ("column.csv", b"t,ax,ay,a_z,what\n" + ROW, "columns.z is 'az', nearest are 'a_z'"),
        ("semicolon.csv", HEADER.replace(b",", b";") + ROW.replace(b",", b";"), "looks separated by ';'"),
        (
            "text.csv",
            HEADER + ROW + b"0.04,1,two,3,Walking\n",
            r"text.csv:3: column 'ay' must hold a number, got 'two'",
        ),
        ("comma.csv", HEADER + ROW + b'0.04,"1,5",2,3,Walking\n', r"got '1,5'"),
        ("cut.csv.gz", gzip.compress(HEADER + 99 * ROW)[:-20], "broken or cut short"),
        ("latin.csv", HEADER + "0.0,1,2,3,Gräsen\n".encode("latin-1"), "must be UTF-8"),
        (
            "time.csv",
            HEADER + ROW.replace(b"0.0", b"2024-05-17 11:37:40") + b"noon,1,2,3,Walking\n",
            "must hold seconds or ISO 8601 text, got 'noon'",
        ),
        ("not.parquet", b"PAR1 not", "not a whole Parquet file"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_source(source(broken(tmp_path, name, content)), labelled=True)


def test_a_rate_that_the_time_column_denies_is_refused(tmp_path: Path) -> None:
    path = written(table(rate_hz=50.0), tmp_path / "goat.csv")
    with pytest.raises(InputError, match=r"got rate_hz 25 and 50 samples a second"):
        check_source(source(path))


def test_a_missing_folder_a_folder_without_files_and_a_pattern_without_match_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is nothing at"):
        check_source(source(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"must hold files that end in \.csv"):
        check_source(source(tmp_path))
    with pytest.raises(InputError, match="the pattern must match a file"):
        check_source(source(tmp_path / "*.csv"))
