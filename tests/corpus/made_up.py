"""Small made-up recordings on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aar_ray.config import TabularSource
from aar_ray.corpus.parts import parts
from aar_ray.corpus.readers import read
from aar_ray.corpus.recording import Recording
from aar_ray.corpus.stretches import Findings


def table(rows: int = 120, rate_hz: float = 25.0, seed: int = 0) -> pd.DataFrame:
    """Rows of one animal: noise around gravity, a time stamp, a label that changes half-way."""
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "t": np.arange(rows) / rate_hz,
            "ax": draw.normal(0, 0.1, rows),
            "ay": draw.normal(0, 0.1, rows),
            "az": draw.normal(1, 0.1, rows),
            "what": ["Walking"] * (rows // 2) + ["Grazing"] * (rows - rows // 2),
        }
    )


def source(path: Path, **changes: Any) -> TabularSource:
    """A source over `table`s."""
    columns = {"x": "ax", "y": "ay", "z": "az", "label": "what", "time": "t"}
    plain: dict[str, Any] = {
        "name": "herd",
        "reader": "parquet" if path.suffix == ".parquet" else "csv",
        "path": str(path),
        "species": "goat",
        "rate_hz": 25.0,
        "unit": "g",
    }
    columns.update(changes.pop("columns", {}))
    return TabularSource.model_validate(
        {**plain, "columns": {name: value for name, value in columns.items() if value}, **changes}
    )


def recordings(given: TabularSource, *, labelled: bool = True, **options: Any) -> tuple[list[Recording], Findings]:
    """All that a source holds."""
    findings = Findings()
    found = [one for part in parts(given, 0, labelled=labelled, **options) for one in read(part, findings)]
    return found, findings
