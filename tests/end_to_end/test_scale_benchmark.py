"""The benchmark of scale, short: a corpus, a worker group that pulls it, and an epoch, without a study around them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from aar_ray.corpus.shards import build_corpus
from aar_ray.store import Store
from benchmarks.corpus import herds, study_of
from benchmarks.scale import one_epoch

WINDOWS = 1500


def test_a_group_pulls_a_corpus_and_trains_for_an_epoch(ray_cluster: Any, tmp_path: Path) -> None:
    corpus = build_corpus(study_of(herds(WINDOWS)), Store(tmp_path / "store"))
    assert corpus.windows >= WINDOWS
    said = one_epoch(corpus, 1, tmp_path)
    assert said["record"]["epoch"] == 1
    assert math.isfinite(said["record"]["loss"])
    assert said["pulled"] > 0
    assert "failed" not in said
