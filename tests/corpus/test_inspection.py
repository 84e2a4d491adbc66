"""What a person sees of a study's recordings: numbers, warnings and a picture."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from corpus import made_up_sets
from corpus.made_up import source, table
from small_study import small_study

from aar_ray.config import Study
from aar_ray.corpus.__main__ import main
from aar_ray.corpus.inspection import Inspected, inspect_study
from aar_ray.study_file.loader import save_study

COWS = {"name": "cows", "reader": "simulated", "species": "cattle", "animals": 1, "minutes_per_animal": 3.0}


def goats(tmp_path: Path) -> Study:
    """Three goats with labels: one in another unit than the study says, one with a gap and a dead axis."""
    (tmp_path / "goats").mkdir()
    for number, name in enumerate(("ann", "bea", "cat")):
        rows = table(3000, seed=number)
        if name == "bea":
            rows[["ax", "ay", "az"]] *= 0.5
        if name == "cat":
            rows.loc[1000:, "t"] += 60
            rows["ax"] = 0.1
            rows.loc[2000:2049, "az"] = np.nan
        rows.to_csv(tmp_path / "goats" / f"{name}.csv", index=False)
    labelled = source(tmp_path / "goats", name="goats").model_dump(exclude_none=True)
    return small_study(data={"unlabelled": [COWS], "labelled": labelled})


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Inspected]:
    return {one.name: one for one in inspect_study(goats(tmp_path))}


def test_numbers_of_each_source(found: dict[str, Inspected]) -> None:
    cows, herd = found["cows"], found["goats"]
    assert (cows.windows, cows.rates, cows.behaviours) == (90, {25.0}, {})
    assert set(herd.seconds) == {"ann", "bea", "cat"}
    assert herd.seconds["ann"] == 120.0
    assert herd.seconds["cat"] == 118.0
    # 60 windows of ann and of bea; cat's stretches of 1000, 500, 500 and 950 samples give 20, 10, 10 and 19
    assert herd.windows == 60 + 60 + 59
    assert herd.behaviours == {"Walking": 90, "Grazing": 89}
    assert herd.gaps.plain() == {"gaps in time": {"stretches": 1, "seconds": pytest.approx(60.04)}}
    assert herd.dropped.seconds["value missing or not finite"] == 2.0


def test_a_wrong_unit_and_a_dead_axis_are_said(found: dict[str, Inspected]) -> None:
    warnings = list(found["goats"].warnings())
    assert len(warnings) == 2
    assert warnings[0].startswith("goats: bea at rest feels 0.5")
    assert "is the unit right" in warnings[0]
    assert warnings[1] == "goats: cat never changes on x"
    assert list(found["cows"].warnings()) == []


def test_what_holds_for_many_animals_is_one_sentence() -> None:
    """A set of bursts, each an animal of its own, would fill the screen and hide what else there is."""
    source = Inspected(
        name="storks", species="stork", seconds=Counter({f"burst {n}": 4.0 for n in range(10)}), windows=10
    )
    source.resting = {f"burst {n}": [(0.0, 1.0 + n / 10)] for n in range(10)}
    source.constant_axes = {f"burst {n}": ["x", "z"] for n in range(3)} | {"burst 9": ["y"]}
    source.seconds["burst 8"] = source.seconds["burst 9"] = 0.0
    gravity, x_and_z, y, empty = source.warnings()
    assert gravity.startswith("storks: 8 animals at rest feel 1.2 to 1.9 g and not about 1 g")
    assert gravity.endswith("(burst 2, burst 3, burst 4, burst 5, burst 6, ...)")
    assert x_and_z == "storks: 3 recordings never change on x, z (burst 0, burst 1, burst 2)"
    assert y == "storks: burst 9 never changes on y"
    assert empty == "storks: 2 animals have no usable sample (burst 8, burst 9)"


def test_the_command_prints_tables_and_writes_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_study(goats(tmp_path), tmp_path / "study.yaml")
    assert main(["inspect", str(tmp_path / "study.yaml")]) == 0
    printed = capsys.readouterr().out
    for told in ("SIMULATED", "goats", "179", "Walking", "50.28%", "gaps in time", "bea at rest"):
        assert told in printed
    picture = tmp_path / "results" / "small" / "recordings.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert str(picture.relative_to(tmp_path)) in printed


def test_a_published_set_that_is_not_there_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"unlabelled": [COWS], "labelled": made_up_sets.published("goats", tmp_path / "none").model_dump()}
    save_study(small_study(data=data), tmp_path / "study.yaml")
    assert main(["inspect", str(tmp_path / "study.yaml")]) == 1
    assert "get the set from https://doi.org/10.17026/dans-xhn-bsfb" in capsys.readouterr().err
