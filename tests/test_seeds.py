"""Named streams: each name its own numbers, whatever else draws."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
import torch

from aar_ray.seeds import drawing_from, stream, stream_seed, torch_stream

NAMES = [
    (0,),
    (1,),
    (0, "shuffle"),
    (0, "augment"),
    (0, "augment", 0, 1),
    (0, "augment", 1, 0),
    (0, "augment", 10),
    (0, "augment", 1, 0, 0),
    (1, "augment", 0, 1),
    (0, "ab", "c"),
    (0, "a", "bc"),
]


def test_every_name_and_its_place_give_another_stream() -> None:
    firsts = [stream(*name).integers(2**63) for name in NAMES]
    torchs = [torch.rand(3, generator=torch_stream(*name), dtype=torch.float64).tolist() for name in NAMES]
    assert len(set(firsts)) == len(NAMES)
    assert all(one != other for one, other in itertools.combinations(torchs, 2))


def test_a_seed_is_the_hash_of_its_names_on_every_machine() -> None:
    digest = hashlib.sha256(b"7\x1fshuffle\x1f3").digest()
    assert stream_seed(7, "shuffle", 3) == int.from_bytes(digest[:8], "little") // 2
    assert all(0 <= stream_seed(*name) < 2**63 for name in NAMES)


def test_streams_neither_read_nor_move_the_global_generators() -> None:
    def draws() -> tuple[list[float], list[float]]:
        return stream(3, "x").random(5).tolist(), torch.rand(5, generator=torch_stream(3, "x")).tolist()

    legacy, state = np.random.get_state(), torch.get_rng_state()
    before = draws()
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.get_state()[2] == legacy[2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        torch.rand(7)
        assert draws() == before


def test_drawing_from_uses_the_named_stream_and_restores_the_global_one() -> None:
    state = torch.get_rng_state()
    with drawing_from(3, "dropout", 1):
        first = torch.rand(5)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, torch.rand(5, generator=torch_stream(3, "dropout", 1)))
    with drawing_from(3, "dropout", 2):
        assert not torch.equal(torch.rand(5), first)


def test_drawing_from_restores_the_global_generator_after_an_error_too() -> None:
    def fail() -> None:
        with drawing_from(3, "dropout"):
            torch.rand(5)
            raise KeyError

    state = torch.get_rng_state()
    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.get_rng_state(), state)
