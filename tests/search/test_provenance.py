from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import aar_ray
from aar_ray.search import provenance as module
from aar_ray.search.provenance import provenance, source_files
from aar_ray.store import MADE_FROM


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_a_clean_checkout_and_a_changed_one_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.setattr(aar_ray, "__file__", str(package / "__init__.py"))
    head = git(tmp_path, "rev-parse", "HEAD")
    assert [provenance({}, 1)[name] for name in ("commit", "changed")] == [head, False]
    (tmp_path / "notes.txt").write_text("beside the package")
    assert provenance({}, 1)["changed"] is False
    (package / "__init__.py").write_text("x = 1")
    assert provenance({}, 1)["changed"] is True


def test_an_installed_package_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aar_ray, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert [provenance({}, 1)[name] for name in ("commit", "changed")] == [None, None]


def test_machine_and_cluster_are_plain_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["study.py", "a.yaml"])
    monkeypatch.setattr(module.sys.modules["__main__"], "__spec__", None, raising=False)
    found = provenance({"CPU": 4.0, "memory": 2.0 * 2**30, "trial_slot": 4.0}, 3)
    assert found["cluster"] == {"nodes": 3, "CPU": 4.0, "memory": 2.0}
    assert found["command"] == f"{Path(sys.executable).name} study.py a.yaml"
    assert found["python"] == platform.python_version()
    assert f"{os.cpu_count()} processors" in found["hardware"]
    assert json.loads(json.dumps(found)) == found


def test_hashes_of_a_corpus_are_by_source(tmp_path: Path) -> None:
    sources = [{"name": "cows", "settings": [{"rate_hz": 25.0}], "files": [["a", "c0ffee"]], "sealed": []}]
    (tmp_path / MADE_FROM).write_text(json.dumps({"sources": sources}))
    assert source_files(tmp_path) == [{"name": "cows", "files": [["a", "c0ffee"]]}]
