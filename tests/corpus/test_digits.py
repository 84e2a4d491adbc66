"""The compiled reader of plain numbers gives what Python gives, and gives up on all else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corpus.made_up import recordings, source, table
from hypothesis import given, settings
from hypothesis import strategies as st

from aar_ray.corpus import digits, formats, tables
from aar_ray.corpus.recording import InputError, NotPlain

CELLS = st.one_of(
    st.integers(-(10**15), 10**15).map(str),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: f"{value:.5f}"),
    st.floats(1e-9, 8).map(lambda value: f"{-value:.9g}"),
    st.just(""),
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=30), st.sampled_from(["\n", "\r\n"]), st.booleans()
)
def test_plain_numbers_are_those_of_python(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], end: str, closed: bool
) -> None:
    text = end.join(["a,note,c,d", *(f"{a},cow 7,{c},{d}" for a, c, d in rows)]) + (end if closed else "")
    path = tmp_path_factory.mktemp("digits") / "plain.csv"
    path.write_bytes(digits.MARK + text.encode())
    found = pd.concat([*digits.plain_pieces(path, ["a", "note", "c", "d"], ["a", "c", "d"], ",", ".", 7)])
    expected = [[float(cell or "nan") for cell in cells] for cells in rows]
    assert np.array_equal(found.to_numpy(), np.array(expected), equal_nan=True)


@pytest.mark.parametrize(
    "line", ['1,"x",2,3', "1,x,2", "1,x,2,3,4", "1,x,oops,3", "1,x,-,3", "", "1,x, 2,3", "1,x,1e99,3"]
)
def test_all_else_is_left_to_a_general_reader(tmp_path: Path, line: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,note,c,d\n1,x,2,3\n" + line + "\n4,x,5,6\n")
    with pytest.raises(NotPlain, match="other cells than plain numbers"):
        list(digits.plain_pieces(path, ["a", "note", "c", "d"], ["a", "c", "d"], ",", ".", 7))


def test_long_files_of_numbers_are_read_by_it_and_a_broken_cell_is_still_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table(1800).astype({"ay": object})
    rows.loc[700, "ay"] = "nan"
    path = tmp_path / "goat.csv"
    rows.to_csv(path, index=False)
    plain, _ = recordings(source(path), labelled=False)
    monkeypatch.setattr(formats, "LONG_BYTES", 0)
    monkeypatch.setattr(tables, "PIECE_ROWS", 500)
    monkeypatch.setattr(digits, "BLOCK_BYTES", 1000)
    # the first piece comes from the compiled reader, the others from the next one
    pieced, _ = recordings(source(path), labelled=False)
    together = [np.concatenate([one.samples for one in found]) for found in (plain, pieced)]
    assert together[0] == pytest.approx(together[1])
    rows.loc[1700, "ay"] = "oops"
    rows.to_csv(path, index=False)
    with pytest.raises(InputError, match=r"goat.csv:1702: column 'ay' must hold a number, got 'oops'"):
        recordings(source(path), labelled=False)
