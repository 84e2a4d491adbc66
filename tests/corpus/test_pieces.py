"""A file that is read in pieces of any size gives the windows that it gives as a whole."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from corpus.made_up import source
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_study import small_study

from aar_ray.config import Data
from aar_ray.corpus import tables
from aar_ray.corpus.harvest import harvest
from aar_ray.corpus.parts import parts
from aar_ray.corpus.stretches import Findings

ROWS = 1409
RATES = (10.54, 25.0, 31.25, 100.0)


def rows_of(rate_hz: float) -> pd.DataFrame:
    """Two animals after each other and by turns, a gap, missing values, bouts of all lengths."""
    draw = np.random.default_rng(round(rate_hz))
    rows = pd.DataFrame(draw.normal(0, 0.3, (ROWS, 3)), columns=["ax", "ay", "az"])
    rows["t"] = np.arange(ROWS) / rate_hz
    rows.loc[300:, "t"] += 7
    bouts = np.repeat(np.arange(200), draw.integers(1, 330, 200))[:ROWS]
    rows["what"] = np.array(["walk", "graze", None], dtype=object)[bouts % 3]
    rows["bout"] = np.repeat(["first", "second"], [150, ROWS - 150])
    rows["goat"] = "ann"
    rows.loc[500:599, "goat"] = "bea"
    rows.loc[540:541, "ax"] = np.nan
    return rows


def windows(path: Path, rate_hz: float, step: float, *, timed: bool, labelled: bool, piece: int) -> np.ndarray:
    """Windows with their starts and behaviours, in the order of animal, recording and start."""
    data = Data.model_validate({**small_study().data.model_dump(), "step_seconds": step, "window_seconds": 0.64})
    columns = {"subject": "goat", "segment": "bout", "time": "t" if timed else None}
    given_ = source(path, rate_hz=rate_hz, columns=columns, behaviours={"walk": "walk", "graze": "graze"})
    with patch.object(tables, "PIECE_ROWS", piece):
        found = [
            (name, behaviour or "", *np.round([start, *window.ravel()], 5))
            for part in parts(given_, 0, labelled=labelled)
            for one in harvest(part, data, Findings())
            for name, behaviour, start, window in zip(
                one.recordings, one.behaviours, one.starts, one.windows.astype(np.float64), strict=True
            )
        ]
    return np.array(sorted(found), dtype=object)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    folder = tmp_path_factory.mktemp("files")
    for rate_hz in RATES:
        rows_of(rate_hz).to_parquet(folder / f"{rate_hz:g}.parquet")
    return {rate_hz: folder / f"{rate_hz:g}.parquet" for rate_hz in RATES}


@settings(max_examples=40, deadline=None)
@given(
    rate_hz=st.sampled_from(RATES),
    step=st.sampled_from([0.32, 0.64, 0.8]),
    timed=st.booleans(),
    labelled=st.booleans(),
    piece=st.integers(40, ROWS),
)
@example(rate_hz=31.25, step=0.32, timed=False, labelled=False, piece=3)
@example(rate_hz=100.0, step=0.32, timed=True, labelled=True, piece=7)
def test_pieces_of_any_size_give_the_windows_of_the_whole_file(
    files: dict[float, Path], rate_hz: float, step: float, timed: bool, labelled: bool, piece: int
) -> None:
    how = {"timed": timed, "labelled": labelled}
    whole = windows(files[rate_hz], rate_hz, step, piece=2 * ROWS, **how)
    pieced = windows(files[rate_hz], rate_hz, step, piece=piece, **how)
    assert len(whole) > 2
    assert whole.shape == pieced.shape
    assert (whole[:, :2] == pieced[:, :2]).all()
    assert np.abs((whole[:, 2:] - pieced[:, 2:]).astype(np.float64)).max() < 2e-5
