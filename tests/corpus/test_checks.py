"""Before anything starts: animals, behaviours and files that a study cannot use; after it: what folds cannot show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus.made_up import source, table

from aar_ray.config import Data, Protocol, Study, TabularSource
from aar_ray.corpus.checks import check_data, labelled_parts, unlabelled_parts
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.corpus.recording import InputError
from aar_ray.corpus.splits import make_folds, split_warnings

CATTLE = {"name": "cows", "reader": "simulated", "species": "cattle", "animals": 1, "minutes_per_animal": 1.0}


@pytest.fixture
def herd(tmp_path: Path) -> Path:
    """Three goats, a file each."""
    for number, name in enumerate(("ann", "bea", "cat")):
        table(seed=number).to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def data(labelled: TabularSource, *unlabelled: TabularSource) -> Data:
    plain = [one.model_dump(exclude_none=True) for one in unlabelled]
    return Data.model_validate({"unlabelled": [CATTLE, *plain], "labelled": labelled.model_dump(exclude_none=True)})


def study(protocol: Protocol, given: Data) -> Study:
    plain: dict[str, Any] = {"search": {"tfc.margin": {"uniform": [0.1, 1.0]}}, "budget": {"trials": 1}}
    return Study.model_validate(
        {
            "name": "s",
            "data": given.model_dump(exclude_none=True),
            "protocol": protocol.model_dump(exclude_none=True),
            **plain,
        }
    )


def test_a_right_herd_passes(herd: Path) -> None:
    check_data(data(source(herd)), Protocol(), 0)


def test_all_problems_of_all_sources_come_at_once(herd: Path) -> None:
    (herd / "ann.csv").write_text("")
    gone = source(herd / "nowhere", name="more", columns={"label": None})
    with pytest.raises(InputError) as caught:
        check_data(data(source(herd), gone), Protocol(), 0)
    first, second = str(caught.value).splitlines()
    assert first.startswith("more: path must be a file, a folder or a pattern")
    assert second.startswith("herd: ")
    assert second.endswith("ann.csv: the file is empty")


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (Protocol(sealed=("anna",)), r"herd: protocol.sealed must name animals .*'anna'; nearest is 'ann'"),
        (Protocol(sealed=("ann", "bea")), r"at least 2 animals that are not sealed, got 1 of 3 .*seal fewer animals"),
        (Protocol(split="paper", repetitions=4), r"with 4 repetitions needs at least 4 animals"),
    ],
)
def test_animals_that_no_split_can_use_are_refused(herd: Path, protocol: Protocol, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_data(data(source(herd)), protocol, 0)


def test_one_animal_alone_is_refused(herd: Path) -> None:
    with pytest.raises(InputError, match=r"got 1 of 1 \(ann\); add recordings of other animals, or name columns.subj"):
        check_data(data(source(herd / "ann.csv")), Protocol(), 0)


def test_misspelt_behaviours_are_refused_with_the_labels_that_are_there(herd: Path) -> None:
    given = source(herd, behaviours={"walkin": "walking", "grazing": "grazing"})
    with pytest.raises(InputError, match=r"got grazing; its labels are Grazing, Walking, .*lists walkin, g"):
        check_data(data(given), Protocol(), 0)


def test_metres_per_second_squared_called_g_are_refused(herd: Path) -> None:
    rows = table()
    rows[["ax", "ay", "az"]] *= 9.80665
    rows.to_csv(herd / "bea.csv", index=False)
    with pytest.raises(InputError, match=r"bea.csv: .*below 5 g, got 9\.\d+ g under unit g; correct unit"):
        check_data(data(source(herd)), Protocol(), 0)


def test_no_test_animal_can_enter_the_corpus(herd: Path) -> None:
    again = source(herd, name="again", columns={"label": None})
    both = data(source(herd), again)
    with pytest.raises(InputError, match=r"again: test animals of herd must not .*, got ann, bea, cat; remove"):
        check_data(both, Protocol(split="paper"), 0)
    check_data(both, Protocol(split="paper", transductive=True), 0)

    sealed = study(Protocol(sealed=("bea",)), both)
    assert [part.name for part in unlabelled_parts(sealed)] == ["cows-1", "ann", "cat"]
    assert [part.name for part in labelled_parts(sealed)] == ["ann", "cat"]
    told = study(Protocol(sealed=("bea",), transductive=True), both)
    assert [part.name for part in unlabelled_parts(told)] == ["cows-1", "ann", "bea", "cat"]
    assert [part.name for part in labelled_parts(told)] == ["ann", "cat"]


def windows_of(behaviours: dict[str, str]) -> LabelledWindows:
    """One window for each letter, by animal."""
    subjects = np.array([name for name, letters in behaviours.items() for _ in letters], dtype=object)
    letters = "".join(behaviours.values())
    classes = tuple(sorted(set(letters)))
    codes = np.array([classes.index(letter) for letter in letters])
    return LabelledWindows(np.zeros((len(codes), 3, 5), "f4"), codes, classes, subjects, subjects, np.zeros(len(codes)))


def test_folds_say_what_they_cannot_show() -> None:
    labelled = windows_of({"ann": "gw", "bea": "gwt", "cat": "g"})
    assert split_warnings(labelled, make_folds(["ann", "bea", "cat"], Protocol(), 0)) == [
        "behaviour t occurs in one animal only (bea): no fold can both learn and validate it",
        "fold ann: validation lacks t; its score is over the others",
        "fold bea: training lacks t, which validation holds",
        "fold cat: validation holds fewer than 2 behaviours (g)",
        "fold cat: validation lacks t, w; its score is over the others",
    ]


def test_whole_folds_give_no_warning() -> None:
    labelled = windows_of({"ann": "gw", "bea": "wg", "cat": "gw"})
    assert split_warnings(labelled, make_folds(["ann", "bea", "cat"], Protocol(), 0)) == []
