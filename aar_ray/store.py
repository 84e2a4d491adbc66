"""Content-addressed artifacts of a study's stages: equal key, equal artifact, made once.

A key is a hash of everything that can change the result: the settings that the stage reads, the keys of the stages
before it, its input files, the seed, and a version of the code that makes it. An artifact is a folder that appears
whole, by one rename, with `made_from.json` beside its files; an interrupted one is never seen. Who makes one holds its
lease meanwhile, so that of all processes and studies that share a store one makes it and the others wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MADE_FROM = "made_from.json"

LOOK_UP_SECONDS = 0.2
"""After which one who waits for a lease tries again."""


def stage_key(stage: str, version: int, made_from: Mapping[str, Any]) -> str:
    """20 hexadecimal digits that name an artifact; `made_from` is plain data whose order does not matter."""
    text = json.dumps({"stage": stage, "version": version, **made_from}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class Lease:
    """The right to make one artifact.

    It is a lock that the kernel keeps for the open file: it ends with `release`, or with the process that holds it,
    however that ends. There is no time after which a slow holder would be taken for a dead one.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor

    def release(self) -> None:
        """Let others have it; a second time does nothing."""
        if self._descriptor >= 0:
            # removed while it is still held: who opened it before finds that it is gone
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


class Store:
    """A folder of artifacts, `root/<stage>/<key>/`."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).resolve()

    def find(self, stage: str, key: str) -> Path | None:
        """The artifact's folder, or None while it has not been published."""
        folder = self.root / stage / key
        return folder if (folder / MADE_FROM).is_file() else None

    def made_from(self, stage: str, key: str) -> dict[str, Any]:
        """What `publish` was told the artifact was made from.

        Raises:
            KeyError: there is no such artifact.
        """
        folder = self.find(stage, key)
        if folder is None:
            raise KeyError(f"no {stage} artifact {key} in {self.root}")
        found: dict[str, Any] = json.loads((folder / MADE_FROM).read_text())
        return found

    def lease(self, stage: str, key: str) -> Lease | None:
        """The right to make an artifact, or None while another has it, in this process or in any other."""
        path = self.root / stage / f".{key}.lease"
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still(path, descriptor):
                    return Lease(path, descriptor)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except BaseException:
                os.close(descriptor)
                raise
            # its holder has ended in between and has taken the file with it
            os.close(descriptor)

    @contextmanager
    def alone(self, stage: str, key: str) -> Iterator[None]:
        """Hold an artifact's lease for the block, after waiting for whoever has it: `find` it then before making it."""
        while (lease := self.lease(stage, key)) is None:
            time.sleep(LOOK_UP_SECONDS)
        try:
            yield
        finally:
            lease.release()

    @contextmanager
    def publish(self, stage: str, key: str, made_from: Mapping[str, Any]) -> Iterator[Path]:
        """Yield an empty folder to write into; it becomes the artifact when the block ends without an error.

        Where another process has published the same key meanwhile, its artifact stays and this one is dropped.
        """
        parent = self.root / stage
        parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=parent))
        scratch.chmod(parent.stat().st_mode)  # mkdtemp's folder is closed to all others
        try:
            yield scratch
            (scratch / MADE_FROM).write_text(json.dumps(made_from, indent=1, sort_keys=True))
            for path in scratch.rglob("*"):
                if path.is_file():
                    with path.open("rb") as written:
                        os.fsync(written.fileno())
            try:
                scratch.rename(parent / key)
            except OSError:
                if self.find(stage, key) is None:
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one that has the name."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
