"""Device files: what actipy hands over becomes a recording; what is missing is said. No device file is read here."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aar_ray.config import DeviceSource
from aar_ray.corpus import devices
from aar_ray.corpus.devices import read_device
from aar_ray.corpus.parts import parts, subjects_of
from aar_ray.corpus.readers import check_source, read
from aar_ray.corpus.recording import InputError
from aar_ray.corpus.stretches import Findings


def source(path: Path) -> DeviceSource:
    return DeviceSource.model_validate({"name": "loggers", "reader": "device", "path": str(path), "species": "goat"})


def fake_actipy(file: str) -> tuple[pd.DataFrame, dict[str, object]]:
    """What actipy 3.8 returns: x, y, z in g and more, by time; NaN where the device wrote nothing."""
    values = np.random.default_rng(0).normal((0, 0, 1), 0.1, (1000, 3))
    values[400:450] = np.nan
    times = pd.date_range("2024-05-17", periods=1000, freq="10ms", name="time")
    table = pd.DataFrame(values, columns=["x", "y", "z"], index=times)
    table["temperature"] = 20.0
    return table, {"Filename": file, "ResampleRate": 100.0}


def test_a_device_file_becomes_recordings_around_its_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ann.cwa", "bea.gt3x", "cat.bin"):
        (tmp_path / name).write_bytes(b"as the logger wrote it")
    monkeypatch.setattr(devices, "_actipy", lambda _: fake_actipy)
    given = source(tmp_path)
    assert subjects_of(given) == ("ann", "bea", "cat")
    check_source(given)
    found = [one for part in parts(given, 0) for one in read(part, Findings())]
    assert [(one.subject, one.rate_hz, len(one.samples), one.start_seconds) for one in found[:2]] == [
        ("ann", 100.0, 400, 0.0),
        ("ann", 100.0, 550, 4.5),
    ]
    assert {one.began for one in found} == {pd.Timestamp("2024-05-17", tz="UTC").timestamp()}
    assert found[0].samples == pytest.approx(fake_actipy("")[0][["x", "y", "z"]].to_numpy()[:400])


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "actipy", None)
    (tmp_path / "ann.cwa").write_bytes(b"")
    with pytest.raises(InputError, match=r"needs the extra `devices`; pip install 'aar_ray\[devices\]'"):
        list(read_device(tmp_path / "ann.cwa", source(tmp_path), "ann", "ann"))


def test_a_file_that_the_reader_refuses_and_one_without_samples_are_said(tmp_path: Path) -> None:
    def refuses(file: str) -> tuple[pd.DataFrame, dict[str, object]]:
        raise RuntimeError("java.io.EOFException")

    (tmp_path / "ann.cwa").write_bytes(b"cut")
    with pytest.raises(
        InputError, match=r"ann.cwa: the device file cannot be read: java.io.EOFException; copy it again"
    ):
        list(read_device(tmp_path / "ann.cwa", source(tmp_path), "ann", "ann", refuses))
    empty: tuple[pd.DataFrame, dict[str, object]] = (pd.DataFrame(), {})
    with pytest.raises(InputError, match="holds no sample"):
        list(read_device(tmp_path / "ann.cwa", source(tmp_path), "ann", "ann", lambda _: empty))


def test_device_files_hold_no_labels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must have labels, got device files"):
        check_source(source(tmp_path), labelled=True)


@pytest.mark.skipif(importlib.util.find_spec("actipy") is None, reason="the extra `devices` is not installed")
def test_actipy_refuses_what_is_no_device_file_and_takes_the_options_given(tmp_path: Path) -> None:
    (tmp_path / "ann.cwa").write_bytes(b"not a logger's")
    with pytest.raises(InputError, match=r"needs Java|cannot be read|holds no sample"):
        list(read_device(tmp_path / "ann.cwa", source(tmp_path), "ann", "ann"))
