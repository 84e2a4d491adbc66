"""What all tests share: one small local Ray for the whole run, and one thread for torch."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

# some virtual machines announce AMX and end a program that uses it, as oneDNN does for bfloat16
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")

# read by Ray when it is imported, so set before any test file can import it
os.environ.update(
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
    RAY_AIR_NEW_OUTPUT="0",
    RAY_AUTH_MODE="token",
    RAY_AUTH_TOKEN=secrets.token_hex(16),  # given here, so that Ray writes none into the home folder
    RAY_DATA_DISABLE_PROGRESS_BARS="1",
    RAY_DATA_USE_DATASOURCE_V2="0",
    RAY_TRAIN_HEALTH_CHECK_INTERVAL_S="0.3",
    RAY_USAGE_STATS_ENABLED="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
)

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # two cores are shared with Ray's workers, and sums stay in one order


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """The `ray` module, connected to a local cluster of 2 CPUs and 4 trial slots."""
    import ray

    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # short: a socket's path is limited to 107 bytes
    ray.init(
        num_cpus=2,
        resources={"trial_slot": 4},
        include_dashboard=False,
        configure_logging=True,
        logging_level="error",
        log_to_driver=False,
        object_store_memory=512 * 2**20,
        _temp_dir=folder,
    )
    yield ray
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
