"""The sealed test through real Ray: no sealed file is opened while a study runs, by whatever process; then once."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_study import SMALL

from aar_ray.config import SimulatedSource, Study
from aar_ray.corpus.simulated import animal_names, simulate
from aar_ray.search.journal import read_events
from aar_ray.study import main
from aar_ray.study_file.loader import save_study

IN_OPEN, IN_NONBLOCK = 0x20, 0o4000

SEALED = "goats-4"


class Opened:
    """Which of some files are opened, by any process of the machine: Linux tells (inotify)."""

    def __init__(self, files: list[Path]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(IN_NONBLOCK)
        assert self._descriptor >= 0, os.strerror(ctypes.get_errno())
        self._watched = {}
        for file in files:
            watch = libc.inotify_add_watch(self._descriptor, os.fsencode(file), IN_OPEN)
            assert watch >= 0, os.strerror(ctypes.get_errno())
            self._watched[watch] = file.stem

    def since(self) -> set[str]:
        """Names of files that were opened since this was asked last."""
        try:
            told = os.read(self._descriptor, 2**20)
        except BlockingIOError:
            return set()
        found, start = set(), 0
        while start < len(told):
            watch, _, _, length = struct.unpack_from("iIII", told, start)
            found.add(self._watched[watch])
            start += struct.calcsize("iIII") + length
        return found

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def herd(tmp_path: Path) -> Path:
    """Five goats as CSV files, one of them to be sealed."""
    folder = tmp_path / "goats"
    folder.mkdir()
    source = SimulatedSource(reader="simulated", name="goats", species="goat", animals=5, minutes_per_animal=4.0)
    for number, name in enumerate(animal_names(source)):
        (recording,) = simulate(source, number, 3, labelled=True)
        assert recording.labels is not None
        table = pd.DataFrame(recording.samples, columns=["x", "y", "z"]).assign(label=recording.labels)
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture
def opened(herd: Path) -> Iterator[Opened]:
    watch = Opened(sorted(herd.glob("*.csv")))
    yield watch
    watch.close()


def sealed_study(herd: Path, folder: Path, **protocol: Any) -> Path:
    source = SimulatedSource(reader="simulated", name="goats", species="goat", animals=1, minutes_per_animal=1.0)
    (recording,) = simulate(source, 0, 3, labelled=True)
    labelled = {
        "name": "goats",
        "reader": "csv",
        "path": str(herd),
        "species": "goat",
        "rate_hz": recording.rate_hz,
        "unit": "g",
        "columns": {"label": "label"},
    }
    study = Study.model_validate(
        {
            **SMALL,
            "name": "sealed",
            "data": {**SMALL["data"], "labelled": labelled},
            "protocol": {"split": "leave_one_subject_out", "sealed": [SEALED], **protocol},
            "budget": {"trials": 2},
            "store": str(folder / "store"),
        }
    )
    save_study(study, folder / "study.yaml")
    return folder / "study.yaml"


def execute(file: Path, *more: str) -> tuple[int, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = main([str(file), "--results", str(file.parent / "results"), *more])
    return status, printed.getvalue()


def test_sealed_files_stay_closed_during_the_study_and_are_scored_once(
    ray_cluster: Any, herd: Path, opened: Opened, tmp_path: Path
) -> None:
    file = sealed_study(herd, tmp_path)
    assert opened.since() == set()

    # too early: nothing is read
    status, printed = execute(file, "--unseal")
    assert status == 1
    assert "is not finished" in printed
    assert SEALED not in opened.since()

    status, printed = execute(file)
    assert status == 0, printed
    # the watch works: every other goat was read, by whichever process
    assert opened.since() == {f"goats-{number}" for number in range(1, 6)} - {SEALED}

    status, printed = execute(file, "--unseal")
    assert status == 0, printed
    assert SEALED in opened.since()
    (event,) = [e for e in read_events(tmp_path / "results" / "sealed" / "journal.jsonl") if e["event"] == "unsealed"]
    names = [score["name"] for score in event["scores"]]
    assert names[0].startswith("winner")
    assert names[1:] == ["trial 0", "scratch, trial 0", "scratch, winner", "random forest"]
    for score in event["scores"]:
        assert set(score["by_animal"]) == {SEALED}
        assert 0 <= score["macro_f1"] <= 1
        # each fold's model looks at every window of the sealed goat
        assert sum(map(sum, score["confusion"])) % score["models"] == 0
    assert len({sum(map(sum, score["confusion"])) / score["models"] for score in event["scores"]}) == 1
    report = (tmp_path / "results" / "sealed" / "report.md").read_text()
    assert "## Sealed test" in report
    assert event["at"][:10] in report

    opened.since()
    for more in (["--unseal"], []):
        status, printed = execute(file, *more)
        assert status == 1
        assert f"were scored on {event['at'][:19]}" in printed
        assert SEALED not in opened.since()


def test_a_study_without_test_animals_has_nothing_to_unseal(herd: Path, tmp_path: Path) -> None:
    file = sealed_study(herd, tmp_path, sealed=[])
    status, printed = execute(file, "--unseal")
    assert status == 1
    assert "protocol.sealed names none" in printed
