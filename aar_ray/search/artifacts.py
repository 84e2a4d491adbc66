"""What a study's stages read from the store and write to it: encoders, also half-trained ones, and fine-tunings."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aar_ray.config import Settings
from aar_ray.store import Store, stage_key
from aar_ray.training import checkpoint
from aar_ray.training.checkpoint import CHECKPOINT, ENCODER, Checkpoint, Progress, pretrain_settings

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Of a full disk, a spent quota, and a limit on the size of files."""

PROGRESS = "progress.json"
"""Beside the files of a finished pre-train's checkpoint: read for what no tensor is needed for."""

PUBLISHED_BETWEEN_LOOKS = 100
"""Fine-tunings that are kept between two looks at the store's size."""


class DiskFull(Exception):
    """The store cannot be written, also after everything was removed that no ranking needs."""


@dataclass(frozen=True)
class PretrainStage:
    """What every pre-train of a study has in common."""

    corpus: str
    """Key of the corpus."""
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
        return stage_key("pretrain", checkpoint.VERSION, made_from)


class Artifacts:
    """A study's artifacts in its store.

    Args:
        store: of the artifacts.
        stage: what the study's pre-trains share.
        gigabytes: disk space that the store may take, kept to by removing what no ranking needs; None for all there is.
    """

    def __init__(self, store: Store, stage: PretrainStage, gigabytes: float | None = None) -> None:
        self.store, self.stage, self._gigabytes = store, stage, gigabytes
        self._kept = 0

    def progress(self, key: str) -> Progress | None:
        """Of a finished pre-train, or None."""
        folder = self.store.find("pretrain", key)
        return None if folder is None else Progress(**json.loads((folder / PROGRESS).read_text()))

    def encoder(self, key: str) -> bytes:
        """Weights of a finished pre-train's E_T (safetensors).

        Raises:
            KeyError: there is no such artifact.
        """
        folder = self.store.find("pretrain", key)
        if folder is None:
            raise KeyError(f"no pre-trained encoder {key} in {self.store.root}")
        return (folder / ENCODER).read_bytes()

    def earlier(self, settings: Settings, seed: int) -> bytes | None:
        """The furthest checkpoint that a pre-train may go on from: its own, interrupted, or a shorter one's."""
        candidates = []
        for epochs in range(settings.pretrain.epochs, 0, -1):
            key = self.stage.key(settings, seed, epochs)
            if folder := self.store.find("pretrain", key):
                candidates.append((folder / CHECKPOINT).read_bytes())
                break
        running = self._running_file(self.stage.key(settings, seed))
        if running.is_file():
            candidates.append(running.read_bytes())
        if len(candidates) < 2:
            # nothing to compare, and torch takes a second to import
            return candidates[0] if candidates else None
        return max(candidates, key=lambda data: Checkpoint.from_bytes(data).epoch)

    def keep_running(self, key: str, data: bytes) -> None:
        """Keep the checkpoint of a pre-train that is not at its end.

        Raises:
            DiskFull: it could not be written.
        """
        path = self._running_file(key)

        def write() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch = path.with_suffix(".writing")
            with scratch.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, path)

        self._with_room(write)

    def publish_pretrain(
        self, key: str, settings: Mapping[str, Any], seed: int, progress: Progress, files: Mapping[str, bytes]
    ) -> None:
        """Publish a finished pre-train: the files of its checkpoint, and its progress as plain data beside them.

        Raises:
            DiskFull: it could not be written.
        """

        def write(folder: Path) -> None:
            (folder / PROGRESS).write_text(json.dumps(asdict(progress)))
            for name, data in files.items():
                (folder / name).write_bytes(data)

        self._publish("pretrain", key, {**self.stage.__dict__, "seed": seed, "settings": dict(settings)}, write)
        self._running_file(key).unlink(missing_ok=True)

    def result(self, key: str) -> dict[str, Any] | None:
        """Of a fine-tuning that has been done before, or None."""
        folder = self.store.find("finetune", key)
        return None if folder is None else json.loads((folder / "result.json").read_text())

    def publish_finetuning(self, key: str, made_from: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
        """Publish a fine-tuning: `result` (plain data), and where there are any `probabilities`, `model` (safetensors).

        Raises:
            DiskFull: it could not be written.
        """

        def write(folder: Path) -> None:
            (folder / "result.json").write_text(json.dumps(outcome["result"]))
            if "model" in outcome:
                # through bytes: numpy's own writing does not say by its error that the disk is full
                probabilities = io.BytesIO()
                np.save(probabilities, outcome["probabilities"])
                (folder / "model.safetensors").write_bytes(outcome["model"])
                (folder / "probabilities.npy").write_bytes(probabilities.getvalue())

        self._publish("finetune", key, made_from, write)

    def _publish(self, stage: str, key: str, made_from: Mapping[str, Any], write: Callable[[Path], object]) -> None:
        def publish() -> None:
            with self.store.publish(stage, key, made_from) as folder:
                write(folder)

        self._with_room(publish)
        self._kept += 1
        if self._gigabytes is not None and (stage == "pretrain" or self._kept % PUBLISHED_BETWEEN_LOOKS == 0):
            self._collect(self._gigabytes)

    def _with_room(self, write: Callable[[], None]) -> None:
        """Write; on a full disk once more, after removing what no ranking needs."""
        try:
            write()
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            self._collect(0)
            try:
                write()
            except OSError as again:
                raise DiskFull(f"{again.strerror}: the store {self.store.root} cannot be written") from again

    def _collect(self, gigabytes: float) -> None:
        # whoever holds a handle of the stages' actor imports this module, and needs no journal and no samplers
        from aar_ray.search.garbage import collect

        collect(self.store, gigabytes)

    def _running_file(self, key: str) -> Path:
        return self.store.root / "pretrain" / f".{key}.pt"
