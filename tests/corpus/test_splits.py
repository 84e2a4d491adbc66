"""Splits: by animal, every animal validated once or the paper's repetitions, sealed animals untouched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aar_ray.config import Protocol
from aar_ray.corpus.splits import Fold, make_folds

ANIMALS = st.lists(st.text("abcdefgh", min_size=1, max_size=3), min_size=3, max_size=9, unique=True)


@given(ANIMALS, st.integers(0, 99))
def test_leave_one_out_validates_every_animal_once(animals: list[str], seed: int) -> None:
    folds = make_folds(animals, Protocol(), seed)
    assert sorted(fold.validation for fold in folds) == sorted((animal,) for animal in animals)
    for fold in folds:
        assert {*fold.train, *fold.validation} == set(animals)
        assert not set(fold.train) & set(fold.validation)


@given(ANIMALS, st.integers(0, 99))
def test_the_papers_repetitions(animals: list[str], seed: int) -> None:
    folds = make_folds(animals, Protocol(split="paper"), seed)
    assert len(folds) == 3
    assert len({fold.test for fold in folds}) == len({fold.validation for fold in folds}) == 3
    for fold in folds:
        assert sorted([*fold.train, *fold.validation, *fold.test]) == sorted(animals)
        assert len(fold.test) == len(fold.validation) == 1


def test_repetitions_are_drawn_from_the_seed() -> None:
    animals = [f"goat-{number}" for number in range(5)]
    drawn = {make_folds(animals, Protocol(split="paper"), seed) for seed in range(8)}
    assert len(drawn) > 1
    assert make_folds(animals, Protocol(split="paper"), 3) == make_folds(animals[::-1], Protocol(split="paper"), 3)


def test_sealed_animals_neither_train_nor_validate() -> None:
    folds = make_folds(list("abcde"), Protocol(sealed=("b", "d")), 0)
    assert [fold.validation for fold in folds] == [("a",), ("c",), ("e",)]
    assert all(fold.test == ("b", "d") and not {"b", "d"} & {*fold.train} for fold in folds)


@pytest.mark.parametrize(
    ("animals", "protocol", "message"),
    [
        (["a"], Protocol(), "at least"),
        (["a", "b"], Protocol(split="paper"), "needs at least 3 animals"),
        (["a", "b", "c"], Protocol(split="paper", repetitions=4), "needs at least 4 animals"),
        (["ann", "bea", "cat"], Protocol(sealed=("anne",)), "ann"),
        (["a", "b", "c"], Protocol(sealed=("a", "b")), "at least"),
    ],
)
def test_too_few_or_unknown_animals_are_refused(animals: list[str], protocol: Protocol, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_folds(animals, protocol, 0)


def test_a_fold_with_an_animal_on_two_sides_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"must hold different animals, two of them hold \['b'\]"):
        Fold("f", ("a", "b"), ("b",), ())
