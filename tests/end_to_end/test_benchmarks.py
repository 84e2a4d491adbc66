"""The short form of benchmarks that compare a study with plain code doing the same: equality and counts, no times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from study_command import of

from aar_ray.search.journal import read_events

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TRIALS = 4


@pytest.fixture(scope="module")
def scripts() -> Any:
    """Modules of benchmarks, which import one another as scripts do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import overhead
        import reuse

        yield overhead, reuse


@pytest.fixture(scope="module")
def study(scripts: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A small study by its command and the loop that does the same, as overhead.py measures them."""
    folder = tmp_path_factory.mktemp("both")
    overhead, _ = scripts
    return overhead.measure(folder, TRIALS), folder


def test_a_study_gives_the_scores_of_a_plain_loop_with_one_worker_group(study: tuple[Any, Path]) -> None:
    measured, _ = study
    assert measured.trials == TRIALS
    assert measured.groups == 1
    assert measured.folds >= TRIALS
    # other bundles round otherwise
    assert measured.differs <= 1e-6


def test_a_plain_tuner_gives_the_same_scores_and_makes_encoders_again(scripts: Any, study: tuple[Any, Path]) -> None:
    _, reuse = scripts
    measured, folder = study
    tuner = reuse.plain(folder)
    assert (tuner.pretrains, tuner.encoders) == (TRIALS, measured.encoders)
    assert measured.encoders < TRIALS
    made = list((folder / "store" / "pretrain").glob("*/made_from.json"))
    assert len(made) == measured.encoders
    ended = of(list(read_events(folder / "results" / "tiny" / "journal.jsonl")), "trial_finished")
    complete = {str(event["trial"]): event["macro_f1"] for event in ended if event["state"] == "complete"}
    assert complete
    assert complete == {trial: pytest.approx(tuner.scores[trial], abs=1e-6) for trial in complete}
