"""The cows' protocol: who is held out has no part in what is chosen, and everyone is scored once."""

from __future__ import annotations

from itertools import chain

import pytest

from benchmarks.nested import VALIDATING, choose, grouped, pairs_of

COWS = [f"cow {number}" for number in range(10)]


@pytest.mark.parametrize("seed", range(5))
def test_who_is_held_out_has_no_part_in_the_search_and_is_scored_once(seed: int) -> None:
    pairs = pairs_of(COWS[::-1], seed)
    assert sorted(chain.from_iterable(pair.held_out for pair in pairs)) == COWS
    for pair in pairs:
        searched = {*pair.inner.train, *pair.inner.validation}
        assert searched == set(COWS) - set(pair.held_out)
        assert len(pair.inner.validation) == VALIDATING
        for fold in pair.outer:
            assert len(fold.validation) == 1
            assert fold.validation[0] in pair.held_out
            assert set(fold.train) == set(COWS) - set(fold.validation)
    assert pairs == pairs_of(COWS, seed)
    assert pairs != pairs_of(COWS, seed + 5)


def test_the_best_epoch_of_the_best_setting_is_chosen_and_ties_go_to_fewer_epochs() -> None:
    assert choose([[0.1, 0.4, 0.3], [0.2, 0.5, 0.6], [0.6]]) == (2, 1, 0.6)
    assert choose([[0.1, 0.7, 0.7], [0.7, 0.1]])[:2] == (1, 1)


def test_animals_are_grouped_by_their_choice() -> None:
    assert grouped({"a": 1, "b": 2, "c": 1}) == {1: ["a", "c"], 2: ["b"]}


@pytest.mark.parametrize("count", [6, 9])
def test_too_few_animals_or_an_odd_number_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"an even number of animals, 8 or more, got {count}"):
        pairs_of(COWS[:count], 0)
