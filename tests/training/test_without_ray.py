"""The method and the training loops run without Ray: torch, numpy, pydantic and jaxtyping are all they need."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in %r:
            raise ModuleNotFoundError(f"{name} is kept out", name=name)
sys.meta_path.insert(0, Refuse())
import aar_ray.method.tfc, aar_ray.training.pretrain, aar_ray.training.finetune
"""

KEPT_OUT = {
    "matplotlib",
    "optuna",
    "pandas",
    "pyarrow",
    "ray",
    "rich",
    "ruamel",
    "safetensors",
    "scipy",
    "sklearn",
    "tensorboard",
}


def test_the_training_loops_import_without_ray_and_what_comes_with_it() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM % KEPT_OUT], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
