"""Small made-up files in the shape of the published sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from aar_ray.config import PublishedSource

GRAVITY = 9.80665


def samples(rows: int, seed: int, unit: float = 1.0) -> np.ndarray:
    """A restless animal of 1 g: [rows, 3]."""
    return unit * np.random.default_rng(seed).normal((0, 0, 1), 0.1, (rows, 3))


def goats(folder: Path, animals: tuple[str, ...] = ("G1", "S2"), rows: int = 1200) -> Path:
    """One folder an animal, six sensors each, m/s^2 at 100 Hz; NaN occurs, and a label that is no behaviour."""
    for number, animal in enumerate(animals):
        (folder / animal).mkdir(parents=True)
        for sensor in range(6):
            values = samples(rows, 10 * number + sensor, GRAVITY)
            values[50] = np.nan
            table = pd.DataFrame(values, columns=["ax", "ay", "az"])
            for name in ("axhg", "ayhg", "azhg", "gx", "gy", "gz", "cx", "cy", "cz"):
                table[name] = 0.0
            table["label"] = np.repeat(["standing", "grazing", "climbing_up"], rows // 3)
            table.to_csv(folder / animal / f"pos_{'ABCDEF'[sensor]}.csv", index=False)
    return folder


def horses(folder: Path, rows: int = 1200) -> Path:
    """Two horses, one of them in two parts, m/s^2 at 100 Hz; a label is missing where nobody looked."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(("subject_1_Viva_part_1", "subject_1_Viva_part_2", "subject_7_Bacardi_part_1")):
        table = pd.DataFrame(samples(rows, 100 + seed, GRAVITY), columns=["Ax", "Ay", "Az"])
        for column in ("Gx", "Gy", "Gz", "Mx", "My", "Mz"):
            table[column] = 0.0
        table["A3D"], table["G3D"], table["M3D"] = 9.8, 0.0, 0.0
        table["label"] = np.repeat(np.array(["walking-rider", None, "unknown"], dtype=object), rows // 3)
        table["segment"] = np.repeat([1.0, np.nan, 2.0], rows // 3)
        table["subject"] = name.split("_")[2]
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


def cattle(folder: Path, version: int = 2, rows: int = 300) -> Path:
    """Two cows in g at 25 Hz, in the columns of either version; ETC is not a behaviour."""
    folder.mkdir(parents=True, exist_ok=True)
    for cow in (1, 2):
        labels = np.repeat(np.array(["RES", "ETC", None], dtype=object), rows // 3)
        if version == 2:
            table = pd.DataFrame(samples(rows, cow), columns=["AccX [g]", "AccY [g]", "AccZ [g]"])
            stamps = 1_591_920_000_000 + 40 * np.arange(rows)
            table.insert(0, "TimeStamp_UNIX", stamps)
            table.insert(1, "TimeStamp_JST", pd.to_datetime(stamps, unit="ms").astype(str))
            table["Label"] = labels
        else:
            table = pd.DataFrame(samples(rows, cow), columns=["AccX", "AccY", "AccZ"])
            table["label"] = labels
        table.to_csv(folder / f"cow{cow}.csv", index=False)
    return folder


def sheep(folder: Path, rows: int = 500) -> Path:
    """One file in g at 12.5 Hz; its clock begins again with each of two ewes, which it does not name."""
    folder.mkdir(parents=True, exist_ok=True)
    ewes = []
    for seed in (1, 2):
        table = pd.DataFrame(samples(rows, 300 + seed), columns=["x", "y", "z"])
        table.insert(0, "nseq", np.arange(rows) / 12.5)
        table["activity"] = np.repeat(["grazing", "active"], rows // 2)
        ewes.append(table)
    pd.concat(ewes).to_csv(folder / "raw_metamotion_grazing_active_inactive.csv", index=False)
    return folder


def published(reader: str, path: Path) -> PublishedSource:
    """The source of a study file."""
    return PublishedSource.model_validate({"name": f"the_{reader}", "reader": reader, "path": str(path)})
