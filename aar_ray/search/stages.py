"""The service that makes each stage's artifact once: an actor beside the store, without processors of its own.

Trials ask it for encoders; worker groups take the pre-trains from it. One key is one pre-train, however many trials
wait for it. It alone writes the store, so that only its node needs the disk.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.torch
from torch import Tensor

from aar_ray.config import Settings, settings_from
from aar_ray.store import Store, stage_key
from aar_ray.training import pretrain as pretraining
from aar_ray.training.pretrain import Checkpoint, pretrain_settings

ATTEMPTS = 3
"""Times that a pre-train is handed out before a group that dies with it is taken to be its doing."""


@dataclass(frozen=True)
class PretrainStage:
    """What every pre-train of a study has in common."""

    corpus: str
    """Key of the corpus."""
    normalisation: str
    workers: int
    """Of a group: another number deals the windows out differently."""
    probed: Mapping[str, Any] | None = None
    """Labelled windows by which pre-trains are watched: key of the labelled corpus, and the animals."""

    def key(self, settings: Settings, seed: int, epochs: int | None = None) -> str:
        """Key of the encoder after `epochs`, those of the settings if none are given."""
        values = pretrain_settings(settings)
        if epochs is not None:
            values["pretrain.epochs"] = epochs
        # what no probe looks at does not depend on labels
        probed = self.probed if values["pretrain.probe_every"] else None
        made_from = {**self.__dict__, "probed": probed, "seed": seed, "settings": values}
        return stage_key("pretrain", pretraining.VERSION, made_from)


@dataclass
class Job:
    """One pre-train that has been asked for."""

    key: str
    settings: dict[str, Any]
    seed: int
    epochs: int
    state: Literal["queued", "running", "done", "failed"] = "queued"
    cached: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    applied: dict[str, Any] = field(default_factory=dict)
    resume: bytes | None = None
    reason: str | None = None
    attempts: int = 0
    group: str | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def notify(self) -> None:
        """Wake all who wait for news."""
        self.changed.set()
        self.changed = asyncio.Event()


class Stages:
    """Hands out pre-trains and keeps their results; a Ray actor, all of whose methods are coroutines."""

    def __init__(self, store: str, stage: PretrainStage) -> None:
        self.store, self.stage = Store(store), stage
        self.jobs: dict[str, Job] = {}
        self.queue: deque[Job] = deque()
        self.work = asyncio.Condition()
        self.no_more = False
        self.up = asyncio.Event()
        self.broken: str | None = None

    # --- asked by trials ---

    async def request(self, settings: dict[str, Any], seed: int) -> str:
        """Ask for the encoder of these settings and this seed; returns its key. Asking twice is asking once."""
        resolved = settings_from(settings)
        key = self.stage.key(resolved, seed)
        if key in self.jobs:
            return key
        job = Job(key, settings, seed, resolved.pretrain.epochs)
        self.jobs[key] = job
        if found := self._checkpoint(key):
            job.state, job.cached, job.history, job.applied = "done", True, found.history, found.applied
        elif self.broken:
            job.state, job.reason = "failed", self.broken
        else:
            job.resume = self._earlier(resolved, seed)
            async with self.work:
                self.queue.append(job)
                self.work.notify()
        return key

    async def news(self, key: str, epoch: int) -> dict[str, Any]:
        """Wait until there is more than `epoch` epochs, or an end: records, state, reason, cached, applied."""
        job = self.jobs[key]
        while len(job.history) <= epoch and job.state in ("queued", "running"):
            await job.changed.wait()
        return {
            "records": job.history[epoch:],
            "state": job.state,
            "reason": job.reason,
            "cached": job.cached,
            "applied": job.applied,
        }

    async def encoder(self, key: str) -> dict[str, Tensor]:
        """Weights of E_T."""
        checkpoint = self._checkpoint(key)
        if checkpoint is None:
            raise KeyError(f"no pre-trained encoder {key} in {self.store.root}")
        return checkpoint.encoder()

    async def found(self, key: str) -> dict[str, Any] | None:
        """The result of a fine-tuning that has been done before, or None."""
        folder = self.store.find("finetune", key)
        return None if folder is None else json.loads((folder / "result.json").read_text())

    async def keep(self, key: str, made_from: dict[str, Any], outcome: dict[str, Any]) -> None:
        """Publish a fine-tuning: `result` (plain data), and where there are any `probabilities` and `model`."""
        with self.store.publish("finetune", key, made_from) as folder:
            (folder / "result.json").write_text(json.dumps(outcome["result"]))
            if "model" in outcome:
                safetensors.torch.save_file(outcome["model"], folder / "model.safetensors")
                np.save(folder / "probabilities.npy", outcome["probabilities"])

    # --- asked by worker groups ---

    async def take(self, group: str) -> dict[str, Any] | None:
        """Wait for a pre-train; None when no more will come. A group that has been restarted gets its own back."""
        self.up.set()
        async with self.work:
            for job in self.jobs.values():
                if job.state == "running" and job.group == group:
                    self._put_back(job)
            while not self.queue:
                if self.no_more:
                    return None
                await self.work.wait()
            job = self.queue.popleft()
            job.state, job.group = "running", group
            job.attempts += 1
        return {"key": job.key, "settings": job.settings, "seed": job.seed, "resume": job.resume}

    async def advanced(self, group: str, key: str, data: bytes) -> None:
        """An epoch is done; the last one's checkpoint becomes the artifact."""
        job = self.jobs[key]
        if job.group != group or job.state != "running":
            return
        checkpoint = Checkpoint.from_bytes(data)
        job.history, job.applied, job.resume = checkpoint.history, checkpoint.applied, data
        if checkpoint.epoch < job.epochs:
            self._write_running(key, data)
        else:
            made_from = {**self.stage.__dict__, "seed": job.seed, "settings": job.settings}
            with self.store.publish("pretrain", key, made_from) as folder:
                (folder / "checkpoint.pt").write_bytes(data)
            self._running_file(key).unlink(missing_ok=True)
            job.state, job.resume = "done", None
        job.notify()

    async def failed(self, group: str, key: str, reason: str) -> None:
        """A pre-train cannot be done with its settings."""
        job = self.jobs[key]
        if job.group == group:
            job.state, job.reason = "failed", reason
            job.notify()

    async def group_broke(self, reason: str) -> None:
        """A group will not come back: what waits for an encoder fails, and so does what will."""
        self.broken = reason
        self.up.set()
        for job in self.jobs.values():
            if job.state in ("queued", "running"):
                job.state, job.reason = "failed", reason
                job.notify()
        self.queue.clear()

    # --- asked by the study ---

    async def staffed(self) -> None:
        """Wait until a group is up: tasks that are queued before it would keep its processors from it."""
        await self.up.wait()

    async def drain(self) -> None:
        """No trial will ask for another encoder: groups go home when the queue is empty."""
        async with self.work:
            self.no_more = True
            self.work.notify_all()

    def _put_back(self, job: Job) -> None:
        """Its group died with it and has come back."""
        if job.attempts >= ATTEMPTS:
            job.state, job.reason = "failed", f"its worker group died {ATTEMPTS} times while it ran"
        else:
            job.state = "queued"
            self.queue.appendleft(job)
        job.notify()

    def _checkpoint(self, key: str) -> Checkpoint | None:
        folder = self.store.find("pretrain", key)
        return None if folder is None else Checkpoint.from_bytes((folder / "checkpoint.pt").read_bytes())

    def _earlier(self, settings: Settings, seed: int) -> bytes | None:
        """The furthest checkpoint that this pre-train may go on from: its own, interrupted, or a shorter one's."""
        candidates = []
        for epochs in range(settings.pretrain.epochs, 0, -1):
            key = self.stage.key(settings, seed, epochs)
            if folder := self.store.find("pretrain", key):
                candidates.append((folder / "checkpoint.pt").read_bytes())
                break
        running = self._running_file(self.stage.key(settings, seed))
        if running.is_file():
            candidates.append(running.read_bytes())
        return max(candidates, key=lambda data: Checkpoint.from_bytes(data).epoch, default=None)

    def _running_file(self, key: str) -> Path:
        return self.store.root / "pretrain" / f".{key}.pt"

    def _write_running(self, key: str, data: bytes) -> None:
        path = self._running_file(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".writing")
        scratch.write_bytes(data)
        os.replace(scratch, path)
