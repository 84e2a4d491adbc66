"""Mistakes of a user: one clear message, exit status 1, before Ray starts, and nothing is lost."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ray
from ruamel.yaml import YAML
from small_study import SMALL

from aar_ray.search.journal import Journal
from aar_ray.study import main
from aar_ray.study_file.loader import load_study, save_study

RATE_HZ = 25.0
GOATS = ("Alma", "Berta", "Cora", "Dora")


def collar(seed: int, seconds: float = 60.0) -> pd.DataFrame:
    """A goat that grazes and rests in turns of ten seconds."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    grazing = time // 10 % 2 == 0
    samples = 0.02 * draw.normal(size=(len(time), 3)) + [0.0, 0.0, 1.0]
    samples[:, 0] += 0.3 * grazing * np.sin(2 * np.pi * 1.7 * time)
    behaviour = np.where(grazing, "grazing", "resting")
    return pd.DataFrame({"time": time, "x": samples[:, 0], "y": samples[:, 1], "z": samples[:, 2], "doing": behaviour})


class Farm:
    """A study of four goats' CSV files that is right until a test spoils it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "farm.yaml"
        self.results = folder / "results"
        self.collars = folder / "collars"
        self.collars.mkdir()
        for number, name in enumerate(GOATS):
            collar(number).to_csv(self.path(name), index=False)
        self.study = deepcopy(SMALL)
        self.study.update(name="farm", store=str(folder / "store"), protocol={"split": "leave_one_subject_out"})
        self.labelled = self.study["data"]["labelled"] = {
            "name": "goats",
            "reader": "csv",
            "path": str(self.collars),
            "species": "goat",
            "rate_hz": RATE_HZ,
            "unit": "g",
            "columns": {"x": "x", "y": "y", "z": "z", "time": "time", "label": "doing"},
        }

    def path(self, goat: str) -> Path:
        return self.collars / f"{goat}.csv"

    def spoil(self, goat: str, row: int, column: str, value: Any) -> None:
        table = pd.read_csv(self.path(goat), dtype=object)
        table.loc[row, column] = value
        table.to_csv(self.path(goat), index=False)

    def command(self, *more: str) -> int:
        YAML().dump(self.study, self.file)
        return main([str(self.file), "--results", str(self.results), *more])

    def contents(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for folder in (self.results, self.folder / "store")
            for path in folder.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(tmp_path)


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", started)


def misspell(farm: Farm) -> None:
    farm.study["fixed"]["patchtst.patch_lenght"] = 8


def wrong_type(farm: Farm) -> None:
    farm.study["budget"] = {"trials": "many"}


def not_a_number(farm: Farm) -> None:
    farm.study["search"]["tfc.margin"] = {"uniform": [0.1, float("nan")]}


def missing_folder(farm: Farm) -> None:
    farm.labelled["path"] = str(farm.folder / "colars")


def empty_folder(farm: Farm) -> None:
    for goat in GOATS:
        farm.path(goat).unlink()


def empty_file(farm: Farm) -> None:
    farm.path("Cora").write_text("")


def header_only(farm: Farm) -> None:
    farm.path("Cora").write_text("time,x,y,z,doing\n")


def missing_column(farm: Farm) -> None:
    pd.read_csv(farm.path("Berta")).drop(columns="z").to_csv(farm.path("Berta"), index=False)


def one_animal(farm: Farm) -> None:
    for goat in GOATS[1:]:
        farm.path(goat).unlink()


def wrong_rate(farm: Farm) -> None:
    farm.labelled["rate_hz"] = 50.0


def no_number(farm: Farm) -> None:
    farm.spoil("Dora", 11, "y", "n/k")


def not_yaml(farm: Farm) -> None:
    farm.study = {"name": "farm: {"}


MISTAKES: dict[Callable[[Farm], None], list[str]] = {
    misspell: ["farm.yaml:", "patchtst.patch_lenght", "patchtst.patch_length"],
    wrong_type: ["farm.yaml:", "budget.trials", "many"],
    not_a_number: ["farm.yaml:", "search.tfc.margin", "nan"],
    missing_folder: ["goats", "colars", "there is nothing at"],
    empty_folder: ["goats", "collars", ".csv"],
    empty_file: ["goats", "Cora.csv", "the file is empty"],
    header_only: ["goats", "Cora.csv", "a header and no rows"],
    missing_column: ["goats", "Berta.csv", "columns.z is 'z'"],
    one_animal: ["goats: ", "got 1"],
    wrong_rate: ["goats", "Alma.csv", "rate_hz 50", "25 samples a second"],
    no_number: ["goats", "Dora.csv:13", "'y' must hold a number, got 'n/k'"],
    not_yaml: ["farm.yaml:"],
}


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_named_before_ray_starts(
    farm: Farm, mistake: Callable[[Farm], None], capsys: pytest.CaptureFixture[str]
) -> None:
    mistake(farm)
    assert farm.command() == 1
    message = capsys.readouterr().err
    for part in MISTAKES[mistake]:
        assert part in message
    assert "Traceback" not in message
    assert farm.contents() == {}


SLOW = ("torch", "pandas", "scipy", "sklearn", "optuna", "ray")
HUNDREDS_OF_GPUS = "resources.pretrain.gpus_per_worker=640"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["resources.cpus=2", "resources.pretrain.cpus_per_worker=64"], "1 worker(s) x 64 CPU = 64 CPU, and this"),
        (
            ["resources.cpus=2", "resources.finetune.cpus=3"],
            "a fine-tuning task asks for 3 CPU, and this machine",
        ),
        (["resources.cpus=2", "resources.pretrain.groups=3", "resources.trial_slots=3"], "3 group(s)"),
        (["resources.cpus=2", HUNDREDS_OF_GPUS], "1 worker(s) with 1 CPU, 640 GPU each"),
        (["budget.trials=many"], "budget.trials"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_slow_is_imported(
    farm: Farm, changes: list[str], message: str
) -> None:
    YAML().dump(farm.study, farm.file)
    arguments = [str(farm.file), "--results", str(farm.results), *(part for one in changes for part in ("--set", one))]
    program = (
        "import sys; from aar_ray.study import main; "
        f"status = main({arguments!r}); print(status, *sorted({SLOW!r} & sys.modules.keys()))"
    ).replace(repr(SLOW), repr(set(SLOW)))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert message in done.stderr
    # Ray is needed to find accelerators, and not started
    assert done.stdout.split() == (["1", "ray"] if HUNDREDS_OF_GPUS in changes else ["1"])
    assert farm.contents() == {}


@pytest.mark.usefixtures("no_ray")
def test_a_missing_study_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "no_such.yaml"), "--results", str(tmp_path / "results")]) == 1
    message = capsys.readouterr().err
    assert "no_such.yaml" in message
    assert "Traceback" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_ray")
def test_mistakes_of_all_files_come_at_once(farm: Farm, capsys: pytest.CaptureFixture[str]) -> None:
    empty_file(farm)
    missing_column(farm)
    assert farm.command() == 1
    message = capsys.readouterr().err
    assert "Cora.csv" in message
    assert "Berta.csv" in message


@pytest.mark.usefixtures("no_ray")
def test_resume_insists_on_an_earlier_run(farm: Farm, capsys: pytest.CaptureFixture[str]) -> None:
    assert farm.command("--resume") == 1
    message = capsys.readouterr().err
    assert "--resume" in message
    assert str(farm.results / "farm") in message
    assert farm.contents() == {}


@pytest.mark.usefixtures("no_ray")
def test_an_address_where_nothing_answers_is_named(
    farm: Farm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as taken:
        # bound and not listening: no other process gets the port, and who calls is refused
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert farm.command("--address", address) == 1
    assert f"--address must be a running Ray cluster's, got {address}" in capsys.readouterr().err


@pytest.fixture
def begun(farm: Farm) -> Farm:
    """A farm with a journal of an earlier run."""
    YAML().dump(farm.study, farm.file)
    folder = farm.results / "farm"
    save_study(load_study(farm.file), folder / "study.yaml")
    journal = Journal(folder / "journal.jsonl")
    journal.append("trial_started", trial=0, settings={"tfc.margin": 0.5}, origin="reference")
    journal.close()
    return farm


def another_seed(study: dict[str, Any]) -> None:
    study["seed"] = 99


def another_space(study: dict[str, Any]) -> None:
    study["search"]["tfc.margin"] = {"uniform": [0.05, 0.5]}


def other_data(study: dict[str, Any]) -> None:
    study["data"]["labelled"]["unit"] = "mg"


def other_setting(study: dict[str, Any]) -> None:
    study["fixed"]["pretrain.epochs"] = 5


OTHERS = {another_seed: "seed", another_space: "search", other_data: "data", other_setting: "fixed"}


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("change", OTHERS, ids=lambda change: change.__name__)
def test_another_study_of_the_same_name_does_not_touch_the_first(
    begun: Farm, change: Callable[[dict[str, Any]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    before = begun.contents()
    change(begun.study)
    assert begun.command() == 1
    message = capsys.readouterr().err
    assert f"with another {OTHERS[change]};" in message
    assert begun.contents() == before


@pytest.mark.usefixtures("no_ray")
def test_two_runs_of_one_study_at_once_are_refused(begun: Farm, capsys: pytest.CaptureFixture[str]) -> None:
    before = begun.contents()
    first = Journal(begun.results / "farm" / "journal.jsonl")
    assert begun.command() == 1
    first.close()
    assert "is being written by another run" in capsys.readouterr().err
    assert begun.contents() == before


@pytest.mark.usefixtures("ray_cluster")
def test_what_only_reading_shows_is_named_with_its_line_and_loses_nothing(
    begun: Farm, capsys: pytest.CaptureFixture[str]
) -> None:
    before = begun.contents()
    begun.spoil("Dora", 1200, "y", "n/k")
    begun.spoil("Berta", 1300, "x", "off")
    assert begun.command() == 1
    errors = capsys.readouterr().err
    assert f"{begun.path('Dora')}:1202: column 'y' must hold a number, got 'n/k'" in errors
    assert f"{begun.path('Berta')}:1302: column 'x' must hold a number, got 'off'" in errors
    assert "Traceback" not in errors
    assert len(errors.splitlines()) == 2
    journal = begun.results / "farm" / "journal.jsonl"
    assert journal.read_bytes() == before["results/farm/journal.jsonl"]
    # the lock is free again
    Journal(journal).close()
    # the corpus that could be built stays, of the broken one nothing
    assert not list((begun.folder / "store").glob("labelled/*/*"))


@pytest.mark.usefixtures("ray_cluster")
def test_a_start_that_fails_leaves_nothing_that_the_next_one_meets(
    farm: Farm, capsys: pytest.CaptureFixture[str]
) -> None:
    # as many as this machine is said to have, and more than the cluster of the test has
    farm.study["resources"].update(cpus=64, pretrain={"cpus_per_worker": 64})
    assert farm.command() == 1
    assert "64 CPU" in capsys.readouterr().err
    assert farm.contents() == {}
    del farm.study["resources"]["pretrain"], farm.study["resources"]["cpus"]
    farm.spoil("Dora", 1200, "y", "n/k")
    assert farm.command() == 1
    assert "Dora.csv:1202" in capsys.readouterr().err
    assert list(farm.results.rglob("*")) == []
