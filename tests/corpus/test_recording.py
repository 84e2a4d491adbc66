from __future__ import annotations

import numpy as np
import pytest

from aar_ray.corpus.recording import Dropped, Recording, finite_pieces


def test_pieces_between_values_that_are_not_finite_keep_their_start_and_labels() -> None:
    samples = np.arange(33, dtype=np.float64).reshape(11, 3)
    samples[3, 1], samples[4, 0], samples[8, 2] = np.nan, np.inf, -np.inf
    labels = np.array(list("aabbccddeef"), dtype=object)
    dropped = Dropped()
    pieces = list(finite_pieces(Recording("s", "goat", "g", "r", 2.0, samples, labels, 100.0), dropped))
    assert [piece.samples[:, 0].tolist() for piece in pieces] == [[0, 3, 6], [15, 18, 21], [27, 30]]
    assert [piece.start_seconds for piece in pieces] == [100.0, 102.5, 104.5]
    assert ["".join(piece.labels) for piece in pieces if piece.labels is not None] == ["aab", "cdd", "ef"]
    assert {piece.name for piece in pieces} == {"r"}
    # two stretches: samples 3 and 4 together, and sample 8
    assert dropped.plain() == {"value missing or not finite": {"stretches": 2, "seconds": 1.5}}


def test_a_finite_recording_is_one_piece() -> None:
    dropped = Dropped()
    recording = Recording("s", "goat", "g", "r", 25.0, np.ones((5, 3)))
    assert list(finite_pieces(recording, dropped)) == [recording]
    assert dropped.plain() == {}


def test_counts_add_up_and_survive_json() -> None:
    first, second = Dropped(), Dropped()
    first.add("gap", 1.5)
    second.add("gap", 2.0, 3)
    second.add("nothing", 0.0, 0)
    first.update(Dropped.of(second.plain()))
    assert first.plain() == {"gap": {"stretches": 4, "seconds": pytest.approx(3.5)}}
