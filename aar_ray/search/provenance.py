"""Where a study's numbers come from: code, command, machine. Recorded at each start, since a study may move."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aar_ray
from aar_ray.store import MADE_FROM

COUNTED = ("CPU", "GPU", "memory")
"""Of a cluster's resources; its memory is given in GiB."""


def provenance(cluster: Mapping[str, float], nodes: int) -> dict[str, Any]:
    """Commit of the code, whether it was changed since, command, Python, hardware and cluster; plain data.

    Args:
        cluster: its resources, as Ray names them.
        nodes: machines that are alive.
    """
    commit, changed = commit_of_code()
    counted = {name: cluster[name] for name in COUNTED if name in cluster}
    if "memory" in counted:
        counted["memory"] = round(counted["memory"] / 2**30, 1)
    return {
        "commit": commit,
        "changed": changed,
        "command": " ".join([Path(sys.executable).name, *_arguments()]),
        "python": platform.python_version(),
        "hardware": f"{_processor()}, {os.cpu_count()} processors, {platform.system()} {platform.machine()}",
        "cluster": {"nodes": nodes, **counted},
    }


def source_files(artifact: Path) -> list[dict[str, Any]]:
    """Content hashes of the files that a corpus was made from: `name` of the source, `files` as [name, SHA-256].

    Args:
        artifact: the corpus's folder in the store.
    """
    made_from = json.loads((artifact / MADE_FROM).read_text())
    return [{"name": source["name"], "files": source["files"]} for source in made_from["sources"]]


def commit_of_code() -> tuple[str | None, bool | None]:
    """Commit of the repository that holds the package, and whether the package differs from it; None outside of one."""
    folder = Path(aar_ray.__file__).parent
    try:
        head, status = (
            subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "."])
        )
    except (OSError, subprocess.SubprocessError):
        return None, None
    return head.strip(), bool(status.strip())


def _arguments() -> list[str]:
    """The command line, with a module that was run by -m under its own name."""
    module = getattr(sys.modules.get("__main__"), "__spec__", None)
    return sys.argv if module is None else ["-m", module.name.removesuffix(".__main__"), *sys.argv[1:]]


def _processor() -> str:
    """The processor's model where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
