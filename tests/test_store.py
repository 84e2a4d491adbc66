"""Artifacts appear whole or not at all, and once."""

from __future__ import annotations

import math
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aar_ray.store import Store, stage_key

MADE_FROM: dict[str, Any] = {"seed": 3, "settings": {"tfc.margin": 0.5, "tfc.temperature": 0.2}, "corpus": "a1"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_key_depends_on_every_part_and_not_on_their_order() -> None:
    key = stage_key("pretrain", 1, MADE_FROM)
    others = [
        stage_key("finetune", 1, MADE_FROM),
        stage_key("pretrain", 2, MADE_FROM),
        stage_key("pretrain", 1, {**MADE_FROM, "seed": 4}),
        stage_key("pretrain", 1, {**MADE_FROM, "corpus": "a2"}),
        stage_key("pretrain", 1, {**MADE_FROM, "settings": {"tfc.margin": 0.5, "tfc.temperature": 0.21}}),
        stage_key("pretrain", 1, {**MADE_FROM, "more": None}),
        stage_key("pretrain", 1, {name: value for name, value in MADE_FROM.items() if name != "corpus"}),
    ]
    assert len({key, *others}) == 8
    settings = dict(reversed(MADE_FROM["settings"].items()))
    assert stage_key("pretrain", 1, dict(reversed({**MADE_FROM, "settings": settings}.items()))) == key
    assert len(key) == 20
    assert set(key) <= set("0123456789abcdef")


def test_a_key_of_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        stage_key("pretrain", 1, {"margin": math.nan})


def test_a_published_artifact_is_found_with_its_files_and_what_made_it(store: Store) -> None:
    assert store.find("pretrain", "k1") is None
    with store.publish("pretrain", "k1", MADE_FROM) as folder:
        (folder / "parts").mkdir()
        (folder / "parts" / "weights").write_text("17")
        assert store.find("pretrain", "k1") is None  # not before the block ends
    found = store.find("pretrain", "k1")
    assert found is not None
    assert (found / "parts" / "weights").read_text() == "17"
    assert store.made_from("pretrain", "k1") == MADE_FROM
    assert store.find("finetune", "k1") is None
    assert store.find("pretrain", "k2") is None


def test_an_error_inside_the_block_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.publish("pretrain", "k1", MADE_FROM) as folder:
            (folder / "weights").write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert store.find("pretrain", "k1") is None
    assert list((store.root / "pretrain").iterdir()) == []


def test_the_scratch_folder_of_a_killed_process_is_never_found(store: Store) -> None:
    publication = store.publish("pretrain", "k1", MADE_FROM)
    scratch = publication.__enter__()
    (scratch / "weights").write_text("half")
    # a kill would leave the folder just so
    assert scratch.exists()
    assert store.find("pretrain", "k1") is None
    assert store.find("pretrain", scratch.name) is None
    with store.publish("pretrain", "k1", MADE_FROM) as folder:
        assert list(folder.iterdir()) == []
        (folder / "weights").write_text("whole")
    assert (store.root / "pretrain" / "k1" / "weights").read_text() == "whole"
    publication.__exit__(None, None, None)


def test_of_two_that_publish_the_same_key_the_first_stays(store: Store) -> None:
    with store.publish("pretrain", "k1", MADE_FROM) as slow:
        (slow / "weights").write_text("second")
        with store.publish("pretrain", "k1", MADE_FROM) as fast:
            (fast / "weights").write_text("first")
    assert (store.root / "pretrain" / "k1" / "weights").read_text() == "first"
    assert [path.name for path in (store.root / "pretrain").iterdir()] == ["k1"]


def test_a_folder_that_no_publication_made_is_not_overwritten(store: Store) -> None:
    foreign = store.root / "pretrain" / "k1"
    foreign.mkdir(parents=True)
    (foreign / "notes").write_text("mine")
    with pytest.raises(OSError, match="k1"), store.publish("pretrain", "k1", MADE_FROM):
        pass
    assert (foreign / "notes").read_text() == "mine"


def test_what_made_an_unknown_artifact_is_an_error_that_names_it(store: Store) -> None:
    with pytest.raises(KeyError, match="no pretrain artifact k9"):
        store.made_from("pretrain", "k9")


def test_one_at_a_time_has_the_lease(store: Store) -> None:
    lease = store.lease("pretrain", "k1")
    assert lease is not None
    assert store.lease("pretrain", "k1") is None
    assert store.lease("pretrain", "k2") is not None
    lease.release()
    again = store.lease("pretrain", "k1")
    assert again is not None
    # to end what one has no more ends nothing of another's
    lease.release()
    assert store.lease("pretrain", "k1") is None
    again.release()
    assert not (store.root / "pretrain" / ".k1.lease").exists()


HOLD = """
import sys
from aar_ray.store import Store
lease = Store(sys.argv[1]).lease("pretrain", "k1")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lease_ends_with_the_process_that_holds_it_however_that_ends(store: Store) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert store.lease("pretrain", "k1") is None
        holder.kill()
        holder.wait()
    assert store.lease("pretrain", "k1") is not None


def test_who_waits_for_a_lease_gets_it_when_it_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = store.lease("corpus", "k1")
    assert lease is not None
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            lease.release()

    monkeypatch.setattr("aar_ray.store.time.sleep", sleep)
    with store.alone("corpus", "k1"):
        assert len(waited) == 3
        assert store.lease("corpus", "k1") is None
    assert store.lease("corpus", "k1") is not None


def test_an_artifact_is_as_open_to_others_as_the_umask_says(store: Store) -> None:
    before = os.umask(0o027)
    try:
        with store.publish("pretrain", "k1", MADE_FROM) as folder:
            (folder / "parts").mkdir()
            (folder / "parts" / "weights").write_text("17")
    finally:
        os.umask(before)
    artifact = store.root / "pretrain" / "k1"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (artifact, *artifact.rglob("*"))}
    assert modes == {"k1": 0o750, "parts": 0o750, "weights": 0o640, "made_from.json": 0o640}
