"""Windows that do not fit their device: the same batches, read ahead in bounded memory; and where they go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training.test_pretrain import assert_same
from training.toy import tiny, windows

from aar_ray.training.pretrain import pretrain
from aar_ray.training.shard import AHEAD, WINDOW_EXTRA, Held, Shard, Streamed, place_of

CPU = torch.device("cpu")
ROWS = windows(37)


def on_disk(folder: Path) -> np.ndarray:
    np.save(folder / "windows.npy", ROWS.numpy())
    return np.load(folder / "windows.npy", mmap_mode="r")


def order_of(batches: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    return torch.randperm(37, generator=torch.Generator().manual_seed(seed)).tensor_split(batches)


def test_a_streamed_shard_gives_the_encoder_of_a_held_one(tmp_path: Path) -> None:
    settings = tiny(pretrain__epochs=2)
    held = pretrain(ROWS, settings, seed=1)
    assert_same(pretrain(Streamed(ROWS.numpy(), CPU), settings, seed=1), held)
    assert_same(pretrain(Streamed(on_disk(tmp_path), CPU), settings, seed=1), held)


@pytest.mark.parametrize("shard", [Held(ROWS), Streamed(ROWS.numpy(), CPU)], ids=["held", "streamed"])
def test_an_epoch_sees_every_window_once_in_the_order_given(shard: Shard) -> None:
    order = order_of(9)
    found = list(shard.batches(order))
    assert [rows.tolist() for rows, _ in found] == [rows.tolist() for rows in order]
    assert all(torch.equal(chosen, ROWS[rows]) for rows, chosen in found)
    assert sorted(torch.cat([rows for rows, _ in found]).tolist()) == list(range(37))


class Counted(Streamed):
    """Remembers the most batches that were under way at once."""

    most = 0

    def _first(self, under_way: Any) -> Any:
        self.most = max(self.most, len(under_way))
        return super()._first(under_way)


def test_no_more_is_read_ahead_than_memory_is_meant_for() -> None:
    taken: list[int] = []

    def order() -> Any:
        for number, rows in enumerate(order_of(19)):
            # what is asked for beyond what was taken
            assert number - len(taken) <= AHEAD
            yield rows

    shard = Counted(ROWS.numpy(), CPU)
    for rows, _ in shard.batches(order()):
        taken.append(len(rows))
    assert len(taken) == 19
    assert shard.most == AHEAD + 1


def test_what_cannot_be_read_ends_the_training() -> None:
    class Broken(Streamed):
        def _read(self, rows: Any) -> Any:
            if 11 in rows:
                raise OSError("the disk is gone")
            return super()._read(rows)

    with pytest.raises(OSError, match="the disk is gone"):
        pretrain(Broken(ROWS.numpy(), CPU), tiny(), seed=1)


def test_an_epoch_that_is_left_leaves_no_reader_behind() -> None:
    shard = Streamed(ROWS.numpy(), CPU)
    batches = shard.batches(order_of(9))
    next(batches)
    batches.close()
    assert len(list(shard.batches(order_of(9, seed=1)))) == 9


NEED = 2 * (60_000 + 100 * WINDOW_EXTRA)


@pytest.mark.parametrize(
    ("device_bytes", "memory_bytes", "where"),
    [
        (None, NEED, "device"),
        (None, NEED - 1, "disk"),
        (NEED, 0, "device"),
        (NEED - 1, NEED, "memory"),
        (NEED - 1, NEED - 1, "disk"),
    ],
)
def test_windows_go_to_the_fastest_place_with_room_for_them_twice(
    device_bytes: int | None, memory_bytes: int, where: str
) -> None:
    place = place_of(100, 60_000, device="a device", device_bytes=device_bytes, memory_bytes=memory_bytes)
    assert place.where == where
    said = {"device": "held on a device", "memory": "streamed from memory", "disk": "streamed from disk"}[where]
    assert said in place.reason
    assert "100 windows need 2 x 6.32e-05 GB" in place.reason
