"""Content-addressed artifacts of a study's stages: equal key, equal artifact, made once.

A key is a hash of everything that can change the result: the settings that the stage reads, the keys of the stages
before it, its input files, the seed, and a version of the code that makes it. An artifact is a folder that appears
whole, by one rename, with `made_from.json` beside its files; an interrupted one is never seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MADE_FROM = "made_from.json"


def stage_key(stage: str, version: int, made_from: Mapping[str, Any]) -> str:
    """20 hexadecimal digits that name an artifact; `made_from` is plain data whose order does not matter."""
    text = json.dumps({"stage": stage, "version": version, **made_from}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


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
