"""The service that makes each stage's artifact once: an actor beside the store, without processors of its own.

Trials ask it for encoders; worker groups take the pre-trains from it. One key is one pre-train, however many trials
wait for it, in this study or in another one on the same store. It alone writes the store, so that only its node needs
the disk. It keeps nothing that cannot be asked again: Ray starts it anew where its process dies, repeats the calls that
were under way, and each call brings what it is about.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aar_ray.config import settings_from
from aar_ray.search.artifacts import NO_SPACE, Artifacts, DiskFull, PretrainStage
from aar_ray.search.claims import Claims
from aar_ray.search.failures import GivenUp
from aar_ray.store import LOOK_UP_SECONDS, Lease, Store
from aar_ray.training.checkpoint import CHECKPOINT, Progress

ATTEMPTS = 3
"""Times that a pre-train is handed out without an epoch before the deaths of its group are taken to be its doing."""


class Signal:
    """Wakes all who wait for it, each time that it is given."""

    def __init__(self) -> None:
        self._given = asyncio.Event()

    def give(self) -> None:
        self._given.set()
        self._given = asyncio.Event()

    async def wait(self, seconds: float | None = None) -> None:
        """Until it is given, or for some seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._given.wait(), seconds)


@dataclass
class Job:
    """One pre-train that has been asked for."""

    key: str
    settings: dict[str, Any]
    seed: int
    epochs: int
    state: Literal["queued", "running", "done", "failed", "given up"] = "queued"
    cached: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    applied: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    attempts: int = 0
    group: str | None = None
    lease: Lease | None = None
    """Held while it runs."""
    changed: Signal = field(default_factory=Signal)

    def ends(self, state: Literal["queued", "done", "failed", "given up"], reason: str | None = None) -> None:
        """No group has it any more."""
        self.state, self.reason, self.group = state, reason, None
        if self.lease is not None:
            self.lease.release()
            self.lease = None
        self.changed.give()


class Stages:
    """Hands out pre-trains and keeps their results; a Ray actor, all of whose methods are coroutines.

    Args:
        store: folder of the artifacts.
        stage: what the study's pre-trains share.
        gigabytes: disk space that the store may take, kept to by removing what no ranking needs; None for all there is.
        group_comes: whether a worker group is about to be started: what is not pre-training waits for it.
    """

    def __init__(
        self, store: str, stage: PretrainStage, gigabytes: float | None = None, *, group_comes: bool = False
    ) -> None:
        self.store, self.stage = Store(store), stage
        self.artifacts = Artifacts(self.store, stage, gigabytes)
        self.claims = Claims(self.store, "finetune")
        self.jobs: dict[str, Job] = {}
        self.queue: deque[Job] = deque()
        self.work = Signal()
        self.turns: dict[str, int] = {}
        self.placed: dict[str, Any] = {}
        self.no_more = False
        self.up = asyncio.Event()
        self.group_comes = group_comes
        self.needless = False
        self.kept: str | None = None
        self.gave_up: str | None = None
        self.epochs_done = 0

    # --- asked by trials ---

    async def request(self, settings: dict[str, Any], seed: int) -> str:
        """Ask for the encoder of these settings and this seed; returns its key. Asking twice is asking once."""
        resolved = settings_from(settings)
        key = self.stage.key(resolved, seed)
        if key not in self.jobs:
            job = self.jobs[key] = Job(key, settings, seed, resolved.pretrain.epochs)
            if self.gave_up:
                job.ends("given up", self.gave_up)
            elif not self._is_there(job):
                self.queue.append(job)
                self.work.give()
        return key

    async def news(self, key: str, epoch: int) -> dict[str, Any]:
        """Wait until there is more than `epoch` epochs, or an end: records, state, reason, cached, applied.

        The state is `unknown` where this process was not asked for the encoder: one before it was.
        """
        if key not in self.jobs:
            return {"records": [], "state": "unknown", "reason": None, "cached": False, "applied": {}}
        job = self.jobs[key]
        while len(job.history) <= epoch and job.state in ("queued", "running"):
            await job.changed.wait(LOOK_UP_SECONDS if job.state == "queued" else None)
            self.claims.drop_stale()
            # another study may have made it meanwhile
            if job.state == "queued" and self._is_there(job):
                self.queue.remove(job)
        return {
            "records": job.history[epoch:],
            "state": job.state,
            "reason": job.reason,
            "cached": job.cached,
            "applied": job.applied,
        }

    async def encoder(self, key: str) -> bytes:
        """Weights of E_T (safetensors)."""
        return self.artifacts.encoder(key)

    async def claim(self, keys: Sequence[str], claimer: str) -> dict[str, dict[str, Any] | bool]:
        """Of each fine-tuning the result where it is done, else whether the claimer is the one to do it.

        To be called again and again while it is being done: a claim that is not renewed is free for others. Before the
        first worker group is up nobody is to do anything: tasks that are queued then would keep its processors from it.

        Raises:
            GivenUp: the disk is full.
        """
        self.claims.drop_stale()
        begins = self.up.is_set() or not self.group_comes
        states: dict[str, dict[str, Any] | bool] = {}
        for key in keys:
            with self._disk():
                states[key] = self.artifacts.result(key) or (begins and self.claims.claim(key, claimer))
            if states[key] is True and (result := self.artifacts.result(key)):
                # published between the two looks
                self.claims.release(key)
                states[key] = result
        return states

    async def release(self, keys: Sequence[str], claimer: str) -> None:
        """The claimer does not do them any more."""
        for key in keys:
            self.claims.release(key, claimer)

    async def keep(self, key: str, made_from: dict[str, Any], outcome: dict[str, Any]) -> None:
        """Publish a fine-tuning: `result` (plain data), and where there are any `probabilities` and `model`.

        Raises:
            GivenUp: the disk is full.
        """
        with self._disk():
            self.artifacts.publish_finetuning(key, made_from, outcome)
        self.claims.release(key)

    # --- asked by worker groups ---

    async def keeps(self, text: str) -> None:
        """Where a group keeps its windows, and why there."""
        self.kept = text

    async def take(self, group: str, placed: Any = None) -> dict[str, Any] | None:
        """Wait for a pre-train; None when no more will come. A group that has been restarted gets its own back.

        Args:
            group: that is free.
            placed: Ray's placement group of its workers, which outlives a controller that is killed.
        """
        self.up.set()
        self.placed[group] = placed
        turn = self.turns[group] = self.turns.get(group, 0) + 1
        self._take_back(group)
        while self.turns[group] == turn and not self.gave_up:
            job = None
            with contextlib.suppress(GivenUp), self._disk():
                job = self._next_free()
            if job is not None:
                job.state, job.group = "running", group
                job.attempts += 1
                resume = self.artifacts.earlier(settings_from(job.settings), job.seed)
                return {"key": job.key, "settings": job.settings, "seed": job.seed, "resume": resume}
            if self.gave_up or (self.no_more and not self.queue):
                return None
            # what is queued and not free is being made by another study
            await self.work.wait(LOOK_UP_SECONDS if self.queue else None)
        # the group was killed while it waited, and has asked again since
        return None

    async def advanced(
        self, group: str, job: Mapping[str, Any], progress: Progress, files: Mapping[str, bytes]
    ) -> bool:
        """An epoch of a pre-train that the group took is done; the last one's checkpoint becomes the artifact.

        Args:
            group: that took it.
            job: as `take` gave it.
            progress: how far it is.
            files: of the checkpoint, which are not opened here: to read tensors takes longer than all the rest.

        Returns:
            Whether more of it are wanted of this group.
        """
        self.up.set()
        known = await self._running(group, job)
        if known is None:
            return False
        with contextlib.suppress(GivenUp), self._disk():
            if progress.epoch < known.epochs:
                self.artifacts.keep_running(known.key, files[CHECKPOINT])
            else:
                self.artifacts.publish_pretrain(known.key, known.settings, known.seed, progress, files)
            self.epochs_done += 1
            known.attempts = 1
            known.history, known.applied = progress.history, progress.applied
            if progress.epoch < known.epochs:
                known.changed.give()
            else:
                known.ends("done")
        return known.state == "running"

    async def failed(self, group: str, job: Mapping[str, Any], reason: str, *, again: bool = False) -> None:
        """A pre-train cannot be done with its settings.

        Args:
            group: that took it.
            job: as `take` gave it.
            reason: in one line.
            again: whether the group dies of it, as it must where its workers may have failed one by one: the pre-train
                is then tried again a few times.
        """
        if known := await self._running(group, job):
            if again:
                known.reason = reason
            else:
                known.ends("failed", reason)

    # --- asked by the study ---

    async def staffed(self) -> str | None:
        """Wait until a group is up; returns where it keeps its windows, if it has said so."""
        await self.up.wait()
        return self.kept

    async def drain(self) -> bool:
        """No trial will ask for another encoder: groups go home when the queue is empty.

        Returns whether there is need of groups: none where all encoders were found before one came up, and then nothing
        waits for one any more.
        """
        self.no_more = True
        self.work.give()
        if not self.queue and not self.up.is_set():
            self.needless = True
            self.up.set()
        return not self.needless

    async def group_ended(self, group: str) -> tuple[int, Any]:
        """A group will not come back: what it had is for another one.

        Returns the epochs done so far by all, and the placement group of its workers if it has told of one.
        """
        self.turns[group] = self.turns.get(group, 0) + 1
        for job in self.jobs.values():
            if job.state == "running" and job.group == group:
                # a pre-train kills workers, which Ray Train starts again, and not the group that watches them
                job.attempts = max(1, job.attempts - 1)
        self._take_back(group)
        return self.epochs_done, self.placed.pop(group, None)

    async def give_up(self, reason: str) -> None:
        """The study cannot go on: what waits for an encoder is told so, and so is what will."""
        self._give_up(reason)

    async def reason_to_give_up(self) -> str | None:
        """Why the study cannot go on; None while it can."""
        return self.gave_up

    # --- pre-trains ---

    def _next_free(self) -> Job | None:
        """The first pre-train in the queue that no other study makes; it is ours then."""
        for job in list(self.queue):
            if self._is_there(job):
                self.queue.remove(job)
            elif lease := self.store.lease("pretrain", job.key):
                self.queue.remove(job)
                job.lease = lease
                if not self._is_there(job):
                    return job
        return None

    async def _running(self, group: str, job: Mapping[str, Any]) -> Job | None:
        """The pre-train that a group reports of; None where the group does not have it any more.

        One that this process does not know was handed out by one before it.
        """
        if job["key"] not in self.jobs:
            await self.request(job["settings"], job["seed"])
        known = self.jobs[job["key"]]
        if known.state == "queued" and not known.attempts and (lease := self.store.lease("pretrain", known.key)):
            self.queue.remove(known)
            known.state, known.group, known.lease, known.attempts = "running", group, lease, 1
        return known if known.state == "running" and known.group == group else None

    def _take_back(self, group: str) -> None:
        """The group died with what it had."""
        for job in self.jobs.values():
            if job.state == "running" and job.group == group:
                if job.attempts >= ATTEMPTS:
                    cause = f": {job.reason}" if job.reason else ""
                    job.ends("failed", f"its worker group died {ATTEMPTS} times while it ran{cause}")
                else:
                    job.ends("queued", job.reason)
                    self.queue.appendleft(job)
                    self.work.give()

    def _is_there(self, job: Job) -> bool:
        """Whether the artifact is in the store; the job is done then."""
        found = self.artifacts.progress(job.key)
        if found is None:
            return False
        job.cached, job.history, job.applied = True, found.history, found.applied
        job.ends("done")
        return True

    def _give_up(self, reason: str) -> None:
        self.gave_up = self.gave_up or reason
        self.up.set()
        self.queue.clear()
        for job in self.jobs.values():
            if job.state in ("queued", "running"):
                job.ends("given up", self.gave_up)
        self.work.give()

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """A full disk is nobody's doing: the study stops, and goes on when there is room."""
        try:
            yield
        except (DiskFull, OSError) as error:
            if isinstance(error, OSError) and error.errno not in NO_SPACE:
                raise
            reason = str(error) if isinstance(error, DiskFull) else f"{error.strerror}: {error.filename}"
            self._give_up(reason)
            raise GivenUp(reason) from None
