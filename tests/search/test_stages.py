"""The service of stages: each pre-train once, published whole, continued where one was interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, get_args

import pytest
import safetensors.torch
import torch
from full_disk import files_of_at_most

from aar_ray.config import PRETRAIN_SECTIONS, Settings, dotted, settings_from
from aar_ray.search.artifacts import PretrainStage
from aar_ray.search.failures import GivenUp
from aar_ray.search.stages import ATTEMPTS, Stages
from aar_ray.store import Store
from aar_ray.training.checkpoint import Checkpoint, Progress

STAGE = PretrainStage(corpus="c" * 20, workers=1)
OPEN, DONE = "e" * 20, "d" * 20
"""Keys of two fine-tunings."""


def settings(**changes: Any) -> dict[str, Any]:
    """Settings by dotted name, a double underscore for the dot."""
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    return {**dotted(Settings()), "pretrain.epochs": 2, **changed}


def checkpoint(epoch: int, weight: float = 0.5) -> tuple[Progress, dict[str, bytes]]:
    """What a worker tells after an epoch."""
    history = [{"loss": 1.0 / number, "seconds": 1.0} for number in range(1, epoch + 1)]
    model = {"time_encoder.w": torch.tensor(weight), "other.w": torch.tensor(1.0)}
    now = Checkpoint(epoch=epoch, model=model, optimiser={}, history=history)
    return now.progress, now.files()


def run(steps: Coroutine[Any, Any, None]) -> None:
    # what never comes must end a test and not hang it
    asyncio.run(asyncio.wait_for(steps, timeout=30))


def pretrained(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in (folder / "pretrain").glob("*/checkpoint.pt"))


def about(stages: Stages, key: str) -> dict[str, Any]:
    """What a worker says with each report: the pre-train as it took it."""
    return {"key": key, "settings": stages.jobs[key].settings, "seed": stages.jobs[key].seed}


def kill(stages: Stages) -> None:
    """What a kill of its process does: the kernel ends its leases, and nothing else is done."""
    for job in stages.jobs.values():
        if job.lease is not None:
            job.lease.release()


async def train(stages: Stages, key: str, epochs: int, group: str = "a") -> None:
    for epoch in range(1, epochs + 1):
        await stages.advanced(group, about(stages, key), *checkpoint(epoch))


async def make(stages: Stages, wanted: dict[str, Any]) -> str:
    """Ask for an encoder and do all a group does for it."""
    key = await stages.request(wanted, 7)
    assert (await stages.take("a"))["key"] == key
    await train(stages, key, wanted["pretrain.epochs"])
    return key


def test_asking_twice_is_asking_once(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        wanted = settings()
        # as a trial of another fine-tuning, which is no part of the encoder
        keys = {await stages.request(wanted, 7), await stages.request({**wanted, "finetune.dropout": 0.3}, 7)}
        assert len(keys) == 1
        job = await stages.take("a")
        assert job == {"key": keys.pop(), "settings": wanted, "seed": 7, "resume": None}
        await stages.drain()
        assert await stages.take("b") is None

    run(steps())


def test_the_service_keeps_and_finds_encoders_without_torch(tmp_path: Path) -> None:
    # whose import would keep the first fold waiting, and its memory for as long as the study runs
    program = f"""
        import asyncio, sys
        from aar_ray.search.artifacts import PretrainStage
        from aar_ray.search.stages import Stages
        from aar_ray.training.checkpoint import CHECKPOINT, ENCODER, Progress

        async def steps(stage=PretrainStage(corpus="c", workers=1), settings={settings()!r}):
            stages = Stages({str(tmp_path)!r}, stage)
            key = await stages.request(settings, 7)
            for epoch in (1, 2):
                job = job if epoch == 2 else await stages.take("a")
                now = Progress(epoch=epoch, history=[{{"loss": 1.0}}] * epoch)
                await stages.advanced("a", job, now, {{CHECKPOINT: b"everything", ENCODER: b"weights"}})
            again = Stages({str(tmp_path)!r}, stage)
            assert await again.request(settings, 7) == key
            news = await again.news(key, 0)
            assert (news["state"], news["cached"], news["records"]) == ("done", True, [{{"loss": 1.0}}] * 2)
            assert await again.encoder(key) == b"weights"
            longer = await again.request({{**settings, "pretrain.epochs": 3}}, 7)
            job = await again.take("a")
            assert (job["key"], job["resume"]) == (longer, b"everything")

        asyncio.run(steps())
        assert not {{"torch", "scipy", "pandas"}} & sys.modules.keys()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


def test_the_artifact_appears_after_the_last_epoch(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        key = await stages.request(settings(), 7)
        await stages.take("a")
        await stages.advanced("a", about(stages, key), *checkpoint(1))
        assert pretrained(tmp_path) == []
        with pytest.raises(KeyError, match=f"no pre-trained encoder {key}"):
            await stages.encoder(key)
        await stages.advanced("a", about(stages, key), *checkpoint(2, weight=0.25))
        assert pretrained(tmp_path) == [key]
        encoder = safetensors.torch.load(await stages.encoder(key))
        # weights of E_T alone
        assert {name: float(value) for name, value in encoder.items()} == {"w": 0.25}
        assert [path.name for path in (tmp_path / "pretrain").iterdir()] == [key]

    run(steps())


def test_news_come_epoch_by_epoch_to_all_who_wait(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        key = await stages.request(settings(), 7)
        first = [asyncio.create_task(stages.news(key, 0)) for _ in range(2)]
        await stages.take("a")
        await stages.advanced("a", about(stages, key), *checkpoint(1))
        for news in await asyncio.gather(*first):
            assert news["state"] == "running"
            assert [record["loss"] for record in news["records"]] == [1.0]
        second = asyncio.create_task(stages.news(key, 1))
        await stages.advanced("a", about(stages, key), *checkpoint(2))
        assert await second == {
            "records": [{"loss": 0.5, "seconds": 1.0}],
            "state": "done",
            "reason": None,
            "cached": False,
            "applied": {},
        }

    run(steps())


def test_a_later_service_finds_what_an_earlier_one_published(tmp_path: Path) -> None:
    async def steps() -> None:
        key = await make(Stages(str(tmp_path), STAGE), settings())
        later = Stages(str(tmp_path), STAGE)
        assert await later.request(settings(), 7) == key
        news = await later.news(key, 0)
        assert (news["state"], news["cached"], len(news["records"])) == ("done", True, 2)
        await later.drain()
        assert await later.take("a") is None

    run(steps())


def test_a_group_that_comes_back_gets_its_own_pre_train_and_its_last_epoch(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        first, second = await stages.request(settings(), 7), await stages.request(settings(tfc__margin=0.1), 7)
        await stages.take("a")
        await stages.advanced("a", about(stages, first), *checkpoint(1))
        job = await stages.take("a")
        assert job["key"] == first
        assert Checkpoint.from_bytes(job["resume"]).epoch == 1
        # the other group is not disturbed
        assert (await stages.take("b"))["key"] == second

    run(steps())


def test_a_pre_train_that_kills_its_group_again_and_again_fails(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        deadly, other = await stages.request(settings(), 7), await stages.request(settings(tfc__margin=0.1), 7)
        taken = [(await stages.take("a"))["key"] for _ in range(ATTEMPTS + 1)]
        assert taken == [deadly] * ATTEMPTS + [other]
        news = await stages.news(deadly, 0)
        assert news["state"] == "failed"
        assert news["reason"] == f"its worker group died {ATTEMPTS} times while it ran"

    run(steps())


def test_a_group_that_was_given_up_is_not_heard(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        key = await stages.request(settings(), 7)
        await stages.take("a")
        await train(stages, key, 2, group="stale")
        await stages.failed("stale", about(stages, key), "it says so")
        assert pretrained(tmp_path) == []
        assert stages.jobs[key].state == "running"
        assert stages.jobs[key].history == []

    run(steps())


def test_settings_that_cannot_be_trained_fail_with_the_workers_reason(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        key = await stages.request(settings(), 7)
        await stages.take("a")
        await stages.failed("a", about(stages, key), "the loss was not finite")
        news = await stages.news(key, 0)
        assert (news["state"], news["reason"]) == ("failed", "the loss was not finite")
        await stages.drain()
        # the same group goes on, and is not given the failed one again
        assert await stages.take("a") is None

    run(steps())


def test_a_longer_pre_train_goes_on_from_the_longest_shorter_one(tmp_path: Path) -> None:
    async def steps() -> None:
        for epochs in (1, 3):
            await make(Stages(str(tmp_path), STAGE), settings(pretrain__epochs=epochs))
        stages = Stages(str(tmp_path), STAGE)
        await stages.request(settings(pretrain__epochs=5), 7)
        assert Checkpoint.from_bytes((await stages.take("a"))["resume"]).epoch == 3
        # a shorter one cannot start from a longer one, and another setting from none
        await stages.request(settings(pretrain__epochs=2), 7)
        assert Checkpoint.from_bytes((await stages.take("b"))["resume"]).epoch == 1
        await stages.request(settings(pretrain__epochs=5, tfc__margin=0.1), 7)
        assert (await stages.take("c"))["resume"] is None

    run(steps())


def test_an_interrupted_pre_train_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    async def steps() -> None:
        killed = Stages(str(tmp_path), STAGE)
        key = await killed.request(settings(pretrain__epochs=4), 7)
        await killed.take("a")
        await train(killed, key, 3)
        kill(killed)
        stages = Stages(str(tmp_path), STAGE)
        assert await stages.request(settings(pretrain__epochs=4), 7) == key
        job = await stages.take("a")
        assert Checkpoint.from_bytes(job["resume"]).epoch == 3
        await stages.advanced("a", about(stages, key), *checkpoint(4))
        assert [path.name for path in (tmp_path / "pretrain").iterdir()] == [key]

    run(steps())


def test_groups_go_home_only_when_nothing_is_queued(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        idle = asyncio.create_task(stages.take("idle"))
        await asyncio.sleep(0)
        assert not idle.done()
        for margin in (0.1, 0.2):
            await stages.request(settings(tfc__margin=margin), 7)
        await stages.drain()
        assert (await idle)["settings"]["tfc.margin"] == 0.1
        assert (await stages.take("late"))["settings"]["tfc.margin"] == 0.2
        assert await stages.take("third") is None

    run(steps())


def test_the_study_may_wait_for_the_first_group(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        waiting = asyncio.create_task(stages.staffed())
        await asyncio.sleep(0)
        assert not waiting.done()
        group = asyncio.create_task(stages.take("a"))
        await waiting
        await stages.drain()
        assert await group is None

    run(steps())


def test_where_all_encoders_are_found_nothing_waits_for_a_group(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        key = await make(stages, settings())
        again = Stages(str(tmp_path), STAGE, group_comes=True)
        assert await again.request(settings(), 7) == key
        assert await again.claim([OPEN], "trial") == {OPEN: False}
        assert not await again.drain()
        assert await again.claim([OPEN], "trial") == {OPEN: True}
        # one that is at work, and one that has work to come, are needed
        assert await stages.drain()
        third = Stages(str(tmp_path), STAGE)
        await third.request(settings(tfc__margin=0.1), 7)
        assert await third.drain()

    run(steps())


def test_folds_wait_for_a_group_that_is_to_come_and_results_do_not(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE, group_comes=True)
        await stages.keep(DONE, {"fold": 0}, {"result": {"macro_f1": 0.5}})
        assert await stages.claim([OPEN, DONE], "trial") == {OPEN: False, DONE: {"macro_f1": 0.5}}
        group = asyncio.create_task(stages.take("a"))
        await stages.staffed()
        assert (await stages.claim([OPEN], "trial"))[OPEN] is True
        await stages.drain()
        assert await group is None
        # one that nobody expects is not waited for, nor one that cannot come any more
        assert (await Stages(str(tmp_path / "other"), STAGE).claim([OPEN], "trial"))[OPEN] is True
        hopeless = Stages(str(tmp_path / "third"), STAGE, group_comes=True)
        await hopeless.give_up("no group stays up")
        assert (await hopeless.claim([OPEN], "trial"))[OPEN] is True

    run(steps())


def test_another_group_goes_on_with_what_one_had_that_ended_for_good(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        first, second = await stages.request(settings(), 7), await stages.request(settings(tfc__margin=0.1), 7)
        await stages.take("a", "its processors")
        await stages.advanced("a", about(stages, first), *checkpoint(1))
        assert await stages.group_ended("a") == (1, "its processors")
        job = await stages.take("b")
        assert job["key"] == first
        assert Checkpoint.from_bytes(job["resume"]).epoch == 1
        assert (await stages.take("c"))["key"] == second

    run(steps())


def test_what_is_given_up_has_no_end_and_groups_go_home(tmp_path: Path) -> None:
    async def steps() -> None:
        done = await make(Stages(str(tmp_path), STAGE), settings(tfc__margin=0.9))
        stages = Stages(str(tmp_path), STAGE)
        staffed = asyncio.create_task(stages.staffed())
        idle = asyncio.create_task(stages.take("idle"))
        await staffed
        running = await stages.request(settings(), 7)
        assert (await idle)["key"] == running
        queued = await stages.request(settings(tfc__margin=0.1), 7)
        waiting = asyncio.create_task(stages.news(queued, 0))
        await asyncio.sleep(0)
        await stages.give_up("no group stays up")
        late = await stages.request(settings(tfc__margin=0.2), 7)
        for news in (await waiting, await stages.news(running, 0), await stages.news(late, 0)):
            assert (news["state"], news["reason"]) == ("given up", "no group stays up")
        assert await stages.take("idle") is None
        assert await stages.reason_to_give_up() == "no group stays up"
        # what was made before needs no group
        assert await Stages(str(tmp_path), STAGE).request(settings(tfc__margin=0.9), 7) == done
        # the next start is free to make the rest
        again = Stages(str(tmp_path), STAGE)
        assert await again.request(settings(), 7) == running
        assert (await again.take("a"))["key"] == running

    run(steps())


def test_a_call_of_a_group_that_was_killed_while_it_waited_takes_nothing(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        dead = asyncio.create_task(stages.take("a"))
        await asyncio.sleep(0)
        alive = asyncio.create_task(stages.take("a"))
        await asyncio.sleep(0)
        key = await stages.request(settings(), 7)
        assert (await alive)["key"] == key
        assert await dead is None

    run(steps())


def test_a_service_that_begins_anew_goes_on_with_what_its_group_has(tmp_path: Path) -> None:
    async def steps() -> None:
        killed = Stages(str(tmp_path), STAGE)
        key = await killed.request(settings(pretrain__epochs=3), 7)
        job = await killed.take("a")
        await killed.advanced("a", job, *checkpoint(1))
        kill(killed)
        anew = Stages(str(tmp_path), STAGE, group_comes=True)
        assert (await anew.news(key, 1))["state"] == "unknown"
        assert (await anew.claim([OPEN], "trial"))[OPEN] is False
        await anew.request(settings(pretrain__epochs=3), 7)
        news = asyncio.create_task(anew.news(key, 1))
        await anew.advanced("a", job, *checkpoint(2))
        assert [record["loss"] for record in (await news)["records"]] == [0.5]
        # who reports is up
        assert (await anew.claim([OPEN], "trial"))[OPEN] is True
        await anew.advanced("a", job, *checkpoint(3))
        assert pretrained(tmp_path) == [key]

    run(steps())


def test_of_two_studies_on_one_store_one_makes_the_encoder_and_both_have_it(tmp_path: Path) -> None:
    async def steps() -> None:
        one, other = Stages(str(tmp_path), STAGE), Stages(str(tmp_path), STAGE)
        key = await one.request(settings(), 7)
        assert await other.request(settings(), 7) == key
        await one.take("a")
        idle = asyncio.create_task(other.take("b"))
        waiting = asyncio.create_task(other.news(key, 0))
        await asyncio.sleep(0.5)
        assert not idle.done()
        await train(one, key, 2)
        news = await waiting
        assert (news["state"], news["cached"], len(news["records"])) == ("done", True, 2)
        await other.drain()
        assert await idle is None

    run(steps())


def test_another_study_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    async def steps() -> None:
        one, other = Stages(str(tmp_path), STAGE), Stages(str(tmp_path), STAGE)
        key = await one.request(settings(pretrain__epochs=3), 7)
        await other.request(settings(pretrain__epochs=3), 7)
        await one.take("a")
        idle = asyncio.create_task(other.take("b"))
        await train(one, key, 2)
        assert not idle.done()
        kill(one)
        job = await idle
        assert Checkpoint.from_bytes(job["resume"]).epoch == 2

    run(steps())


def test_a_full_disk_gives_the_study_up_and_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        key = await stages.request(settings(), 7)
        await stages.take("a")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            await stages.advanced("a", about(stages, key), *checkpoint(1))
            with pytest.raises(GivenUp, match="No space left on device: the store"):
                await stages.keep("f" * 20, {}, {"result": {"macro_f1": 0.5}})
        assert (await stages.news(key, 0))["state"] == "given up"
        # of what could not be written nothing is seen
        assert Store(tmp_path).find("finetune", "f" * 20) is None
        assert pretrained(tmp_path) == []

    run(steps())


@pytest.mark.parametrize("room", [0, 40, 300, 5000])
def test_a_fine_tuning_that_is_cut_off_anywhere_is_not_seen_and_is_made_again(tmp_path: Path, room: int) -> None:
    """Result, model and probabilities have some 20, 4000 and 8000 bytes."""
    outcome = {
        "result": {"macro_f1": 0.5},
        "model": safetensors.torch.save({"head.weight": torch.ones(10, 100)}),
        "probabilities": torch.ones(500, 4).numpy(),
    }

    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        assert await stages.claim(["f" * 20], "me") == {"f" * 20: True}
        with files_of_at_most(room), pytest.raises(GivenUp, match="File too large: the store"):
            await stages.keep("f" * 20, {}, outcome)
        assert await stages.reason_to_give_up() is not None
        await stages.release(["f" * 20], "me")
        assert list((tmp_path / "finetune").iterdir()) == []
        again = Stages(str(tmp_path), STAGE)
        assert await again.claim(["f" * 20], "me") == {"f" * 20: True}
        await again.keep("f" * 20, {}, outcome)
        assert await again.claim(["f" * 20], "me") == {"f" * 20: {"macro_f1": 0.5}}

    run(steps())


def test_an_epoch_that_is_cut_off_leaves_the_one_before_it(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        key = await stages.request(settings(pretrain__epochs=3), 7)
        await stages.take("a")
        await train(stages, key, 1)
        with files_of_at_most(200):
            await stages.advanced("a", about(stages, key), *checkpoint(2))
        assert (await stages.news(key, 1))["state"] == "given up"
        # the same command goes on
        again = Stages(str(tmp_path), STAGE)
        assert await again.request(settings(pretrain__epochs=3), 7) == key
        assert Checkpoint.from_bytes((await again.take("a"))["resume"]).epoch == 1
        for epoch in (2, 3):
            await again.advanced("a", about(again, key), *checkpoint(epoch))
        assert pretrained(tmp_path) == [key]

    run(steps())


def test_a_disk_without_room_for_a_lease_gives_the_study_up_and_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    async def steps() -> None:
        pre_trains, fine_tunings = Stages(str(tmp_path), STAGE), Stages(str(tmp_path), STAGE)
        key = await pre_trains.request(settings(), 7)
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", full)
            # the group goes home, and does not die of it
            assert await pre_trains.take("a") is None
            with pytest.raises(GivenUp, match=r"No space left on device: .*\.lease"):
                await fine_tunings.claim(["f" * 20], "me")
        news = await pre_trains.news(key, 0)
        assert news["state"] == "given up"
        assert "No space left on device" in news["reason"]

    run(steps())


def test_a_fine_tuning_is_kept_with_its_model(tmp_path: Path) -> None:
    async def steps() -> None:
        stages = Stages(str(tmp_path), STAGE)
        assert await stages.claim(["f" * 20], "me") == {"f" * 20: True}
        outcome = {
            "result": {"macro_f1": 0.5},
            "model": safetensors.torch.save({"head.weight": torch.ones(2, 3)}),
            "probabilities": torch.ones(4, 2).numpy(),
        }
        await stages.keep("f" * 20, {"fold": "goat 1"}, outcome)
        assert await Stages(str(tmp_path), STAGE).claim(["f" * 20], "other") == {"f" * 20: {"macro_f1": 0.5}}
        assert {path.name for path in (tmp_path / "finetune").iterdir()} == {"f" * 20}
        assert {path.name for path in (tmp_path / "finetune" / ("f" * 20)).iterdir()} == {
            "made_from.json",
            "model.safetensors",
            "probabilities.npy",
            "result.json",
        }

    run(steps())


def test_a_fine_tuning_is_done_by_one_of_all_who_want_it(tmp_path: Path) -> None:
    async def steps() -> None:
        stages, other_study = Stages(str(tmp_path), STAGE), Stages(str(tmp_path), STAGE)
        keys = ["e" * 20, "f" * 20]
        assert await stages.claim(keys[:1], "one") == {keys[0]: True}
        assert await stages.claim(keys, "two") == {keys[0]: False, keys[1]: True}
        assert await other_study.claim(keys, "one") == dict.fromkeys(keys, False)
        # a claim is renewed by claiming again, and ends when its claimer leaves off
        assert await stages.claim(keys[:1], "one") == {keys[0]: True}
        await stages.release(keys, "one")
        assert await other_study.claim(keys, "three") == {keys[0]: True, keys[1]: False}

    run(steps())


def other_values(name: str) -> list[Any]:
    """Values to try in place of a setting's own; not all of them are legal."""
    section, field = name.split(".")
    kind = type(getattr(Settings(), section)).model_fields[field].annotation
    value = dotted(Settings())[name]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, list):
        return [value[:1], value[::-1]]
    if isinstance(value, int | float):
        return [value * 2, value / 2, value // 2, value + 1]
    return [*get_args(kind), 32]


@pytest.mark.parametrize("name", dotted(Settings()))
def test_the_key_differs_by_every_pre_train_setting_and_by_no_other(name: str) -> None:
    changed = []
    for value in other_values(name):
        with contextlib.suppress(ValueError):
            changed.append(settings_from({**dotted(Settings()), name: value}))
    changed = [each for each in changed if each != Settings()]
    assert changed, "no other legal value to try"
    for each in changed:
        assert (STAGE.key(each, 7) != STAGE.key(Settings(), 7)) == (name.split(".")[0] in PRETRAIN_SECTIONS)


def test_each_seed_makes_an_encoder_of_its_own() -> None:
    assert STAGE.key(Settings(), 7) != STAGE.key(Settings(), 8)


@pytest.mark.parametrize(
    "change",
    [{"corpus": "d" * 20}, {"workers": 2}, {"probed": {"labelled": "l" * 20}}],
    ids=str,
)
def test_keys_differ_by_what_all_pre_trains_of_a_study_share(change: dict[str, Any]) -> None:
    assert PretrainStage(**{**STAGE.__dict__, **change}).key(Settings(), 7) != STAGE.key(Settings(), 7)


def test_what_no_probe_looks_at_does_not_depend_on_the_labels() -> None:
    unwatched = settings_from({"pretrain.probe_every": 0})
    other = PretrainStage(**{**STAGE.__dict__, "probed": {"labelled": "l" * 20}})
    assert other.key(unwatched, 7) == STAGE.key(unwatched, 7)
