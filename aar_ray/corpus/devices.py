"""Files as loggers write them, through actipy; an extra, since actipy needs Java and has a licence of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aar_ray.config import DeviceSource
from aar_ray.corpus.recording import InputError, Recording

Reader = Callable[[str], tuple[pd.DataFrame, dict[str, Any]]]
"""From a file's path to a table with columns x, y and z in g, indexed by time, and what else is known of it."""


def read_device(
    file: Path, source: DeviceSource, subject: str, name: str, reader: Reader | None = None
) -> Iterator[Recording]:
    """The recording of one device file, at the rate that the device states.

    Neither filtered nor calibrated: every source goes through the same resampler. Values that are missing (a gap, a
    block with a wrong checksum) are left for the caller to drop.

    Args:
        file: a .cwa, .gt3x or .bin file.
        source: of the study file.
        subject: the animal.
        name: of the recording.
        reader: reads the file; actipy if not given.

    Raises:
        InputError: actipy or Java is missing, or the file is not one that they can read.
    """
    if not file.is_file():
        raise InputError(f"{source.name}: {file}: the file is gone; put it back and start again")
    reader = reader or _actipy(source.name)
    try:
        table, about = reader(str(file))
    except Exception as error:  # Java's own errors have no common class
        raise InputError(f"{source.name}: {file}: the device file cannot be read: {error}; copy it again") from error
    if table.empty:
        raise InputError(f"{source.name}: {file}: the device file holds no sample")
    yield Recording(
        source=source.name,
        species=source.species,
        subject=subject,
        name=name,
        rate_hz=float(about["ResampleRate"]),
        samples=table[["x", "y", "z"]].to_numpy(dtype=np.float64),
        began=pd.Timestamp(table.index[0]).timestamp(),
    )


def _actipy(name: str) -> Reader:
    try:
        import actipy
    except ImportError as error:
        raise InputError(
            f"{name}: reader device needs the extra `devices`; pip install 'aar_ray[devices]' "
            "(actipy is free for academic use only: see its licence)"
        ) from error
    if shutil.which("java") is None:
        raise InputError(f"{name}: reader device needs Java (a JRE, 8 or later) on the path, got none; install one")
    return lambda file: actipy.read_device(
        file, lowpass_hz=None, calibrate_gravity=False, detect_nonwear=False, resample_hz="uniform", verbose=False
    )
