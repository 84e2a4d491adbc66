"""Bad files: a clear error with a way out, or the right recording none the less; nothing is lost silently."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corpus.made_up import recordings, source, table

from aar_ray.config import TabularSource
from aar_ray.corpus import formats, tables
from aar_ray.corpus.checks import check_data
from aar_ray.corpus.parts import parts
from aar_ray.corpus.readers import check_source, read
from aar_ray.corpus.recording import InputError
from aar_ray.corpus.stretches import CLOCK_SET_BACK, GAPS, REPEATED, Findings

AXES = ["ax", "ay", "az"]


def written(rows: pd.DataFrame, path: Path, **how: object) -> Path:
    rows.to_csv(path, index=False, **how)  # type: ignore[call-overload]
    return path


def same(found: TabularSource, rows: pd.DataFrame) -> None:
    (one,), findings = recordings(found)
    assert one.samples == pytest.approx(rows[AXES].to_numpy())
    assert one.labels is not None
    assert list(one.labels) == list(rows["what"])
    assert findings.dropped.plain() == {}


# --- how a file is written ---------------------------------------------------------------------------------------


def test_semicolons_and_decimal_commas_are_read_where_the_study_says_so(tmp_path: Path) -> None:
    path = written(table(), tmp_path / "goat.csv", sep=";", decimal=",")
    with pytest.raises(InputError, match=r"separated by delimiter ',', got the header .*set delimiter: ';'"):
        check_source(source(path))
    with pytest.raises(InputError, match=r"column 'ax' must hold a number, got .* set decimal: ','"):
        check_source(source(path, delimiter=";"))
    same(source(path, delimiter=";", decimal=","), table())


def test_decimal_commas_between_commas_are_not_taken_for_columns(tmp_path: Path) -> None:
    text = "t,ax,ay,az,what\n" + "".join(f"0,{n:02},0,1,0,2,1,0,Walking\n" for n in range(50))
    (tmp_path / "goat.csv").write_text(text)
    with pytest.raises(InputError, match=r"header's 5 columns, got 9; .*a decimal comma"):
        check_source(source(tmp_path / "goat.csv"))


def test_a_byte_order_mark_and_mixed_line_ends_change_nothing(tmp_path: Path) -> None:
    lines = table().to_csv(index=False).splitlines()
    text = "".join(line + ("\n", "\r\n", "\r")[number % 3] for number, line in enumerate(lines))
    (tmp_path / "goat.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    same(source(tmp_path / "goat.csv"), table())


def test_another_encoding_is_refused_and_then_read_by_name(tmp_path: Path) -> None:
    rows = table()
    rows["what"] = rows["what"].replace("Grazing", "Gräsen")
    path = written(rows, tmp_path / "goat.csv", encoding="latin-1")
    with pytest.raises(InputError, match=r"must be UTF-8 text, got .* name its encoding, such as latin-1"):
        check_source(source(path), labelled=True)
    same(source(path, encoding="latin-1"), rows)
    with pytest.raises(InputError, match="encoding must be one that Python knows, got 'klingon'"):
        check_source(source(path, encoding="klingon"))


def test_a_file_whose_name_is_not_utf8_is_refused_by_name(tmp_path: Path) -> None:
    try:
        with open(os.path.join(os.fsencode(tmp_path), b"go\xe4t.csv"), "w") as file:
            file.write(table().to_csv(index=False))
    except OSError:
        pytest.skip("this file system refuses names that are not UTF-8 itself")
    with pytest.raises(InputError, match=r"a file's name must be UTF-8, got b'.*go\\xe4t.csv'; rename it"):
        check_source(source(tmp_path))


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_gzip_file_cut_short_is_refused_wherever_the_cut_is(tmp_path: Path, kept: float) -> None:
    whole = gzip.compress(table(20_000).to_csv(index=False).encode())
    path = tmp_path / "goat.csv.gz"
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match=r"goat.csv.gz: the gzip file is broken or cut short .*copy it again"):
        recordings(source(path))


def test_a_file_that_vanishes_while_it_is_read_is_said(tmp_path: Path) -> None:
    path = written(table(), tmp_path / "goat.csv")
    (part,) = parts(source(path), 0)
    path.unlink()
    with pytest.raises(InputError, match=r"goat.csv: the file is gone; put it back"):
        list(read(part, Findings()))


def test_a_long_file_is_read_in_pieces_that_keep_its_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "PIECE_ROWS", 500)
    monkeypatch.setattr(formats, "BLOCK_BYTES", 1000)
    rows = table(1800)
    for name, how in (("goat.csv", {}), ("goat.parquet", {})):
        rows.to_parquet(tmp_path / name) if name.endswith("t") else written(rows, tmp_path / name, **how)
        found, _ = recordings(source(tmp_path / name))
        assert [len(one.samples) for one in found] == [500, 500, 500, 300]
        assert [one.start_seconds for one in found] == pytest.approx([0, 20, 40, 60])
        assert np.concatenate([one.samples for one in found]) == pytest.approx(rows[AXES].to_numpy())
    # without a time column rows are counted
    found, _ = recordings(source(tmp_path / "goat.csv", columns={"time": None}))
    assert [one.start_seconds for one in found] == pytest.approx([0, 20, 40, 60])


def test_a_cell_that_is_no_number_deep_in_a_long_file_is_found_and_nothing_before_it_comes_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PIECE_ROWS", 500)
    monkeypatch.setattr(formats, "BLOCK_BYTES", 1000)
    rows = table(1800).astype({"ay": object})
    rows.loc[1700, "ay"] = "oops"
    (part,) = parts(source(written(rows, tmp_path / "goat.csv")), 0)
    with pytest.raises(InputError, match=r"goat.csv:1702: column 'ay' must hold a number, got 'oops'"):
        list(read(part, Findings()))
    reading = read(part, Findings())
    assert [next(reading).start_seconds for _ in range(3)] == pytest.approx([0, 20, 40])


# --- time --------------------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_ahead_leaves_a_gap(tmp_path: Path) -> None:
    rows = table(200)
    rows.loc[100:, "t"] += 3600
    found, findings = recordings(source(written(rows, tmp_path / "goat.csv")))
    assert [(one.name, one.start_seconds) for one in found] == [("goat", 0), ("goat", pytest.approx(3604))]
    assert findings.gaps.plain() == {GAPS: {"stretches": 1, "seconds": pytest.approx(3600.04)}}


@pytest.mark.parametrize("back", [3.0, 3.01, 4.0])
def test_a_clock_that_is_set_back_begins_a_recording_and_loses_no_row(tmp_path: Path, back: float) -> None:
    rows = table(200)
    rows.loc[100:, "t"] -= back
    found, findings = recordings(source(written(rows, tmp_path / "goat.csv")))
    assert [(one.name, one.start_seconds, len(one.samples)) for one in found] == [("goat", 0, 100), ("goat~2", 0, 100)]
    assert findings.gaps.stretches == {CLOCK_SET_BACK: 1}
    assert findings.dropped.plain() == {}
    assert np.concatenate([one.samples for one in found]) == pytest.approx(rows[AXES].to_numpy())


def test_stamps_that_repeat_with_other_values_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = table(200)
    rows.loc[50, "t"] = rows.loc[49, "t"]
    found, findings = recordings(source(written(rows, tmp_path / "goat.csv")))
    assert sum(len(one.samples) for one in found) == 199
    assert findings.dropped.stretches == {REPEATED: 1}


def test_a_rate_that_changes_within_a_file_is_refused_with_the_row(tmp_path: Path) -> None:
    rows = pd.concat([table(3000), table(1200, rate_hz=12.5)], ignore_index=True)
    rows.loc[3000:, "t"] += 120
    with pytest.raises(InputError, match=r"the rate must be the same throughout, got 12.5 .* about its row 3073 on"):
        recordings(source(written(rows, tmp_path / "goat.csv")))


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1e3), ("us", 1e6), ("ns", 1e9), ("samples", 25.0)])
def test_time_may_be_counted_in_other_units(tmp_path: Path, unit: str, factor: float) -> None:
    rows = table(100).drop(index=range(40, 60))
    rows["t"] = (rows["t"] * factor).round().astype("int64")
    path = written(rows, tmp_path / "goat.csv")
    with pytest.raises(InputError, match="correct rate_hz or time_unit"):
        recordings(source(path))
    first, second = recordings(source(path, time_unit=unit))[0]
    assert (len(first.samples), len(second.samples), second.start_seconds) == (40, 40, pytest.approx(2.4))


# --- values and labels -------------------------------------------------------------------------------------------


def test_raw_counts_are_refused_as_g_and_read_with_their_scale(tmp_path: Path) -> None:
    rows = table()
    rows[AXES] = (rows[AXES] * 16384).round().astype(int)
    path = written(rows, tmp_path / "goat.csv")
    with pytest.raises(InputError, match=r"below 5 g, got 1.6\d+e\+04 g under unit g; .*counts_per_g"):
        check_source(source(path))
    (one,), _ = recordings(source(path, unit="counts", counts_per_g=16384.0))
    assert np.median(np.linalg.norm(one.samples, axis=1)) == pytest.approx(1.0, abs=0.05)
    for wrong in ({"unit": "counts"}, {"unit": "g", "counts_per_g": 16384.0}):
        with pytest.raises(ValueError, match="counts_per_g belongs to unit counts"):
            source(path, **wrong)


def test_labels_are_matched_whatever_their_case_and_spaces(tmp_path: Path) -> None:
    rows = table()
    rows["what"] = ["Walking", " walking", "WALKING ", "foot  scratch"] * 30
    path = written(rows, tmp_path / "goat.csv")
    (one,), _ = recordings(source(path, behaviours={"walking": "walk", "Foot Scratch": "scratch"}))
    assert one.labels is not None
    assert list(one.labels[:4]) == ["walk", "walk", "walk", "scratch"]
    with pytest.raises(ValueError, match="must list a label once in any case, got walking again"):
        source(path, behaviours={"walking": "walk", "Walking ": "trot"})


def test_labels_that_differ_by_case_alone_are_not_two_behaviours(tmp_path: Path) -> None:
    for number, name in enumerate(("ann", "bea", "cat")):
        rows = table(seed=number)
        rows.loc[:9, "what"] = "WALKING"
        written(rows, tmp_path / f"{name}.csv")
    from corpus.test_checks import data

    from aar_ray.config import Protocol

    with pytest.raises(
        InputError, match="must not differ by case alone, got WALKING, Walking; list under `behaviours`"
    ):
        check_data(data(source(tmp_path)), Protocol(), 0)


def test_an_animal_without_a_usable_sample_is_known_by_name(tmp_path: Path) -> None:
    rows = pd.concat([table(50, seed=1), table(50, seed=2)], ignore_index=True)
    rows["goat"] = ["ann"] * 50 + ["bea"] * 50
    rows.loc[50:, AXES] = np.nan
    _, findings = recordings(source(written(rows, tmp_path / "herd.csv"), columns={"subject": "goat"}))
    assert findings.seconds == {"ann": 2.0, "bea": 0.0}
