"""Fine-tuning over folds: each fold once, found again by all that it depends on, whatever order folds end in."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray import tune
from training.toy import CLASSES, herd, tiny

from aar_ray.config import dotted
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.corpus.splits import Fold
from aar_ray.search.artifacts import PretrainStage
from aar_ray.search.folds import TASK_FAILURES, Folds, TaskDied, _shared_out, mean_macro_f1
from aar_ray.search.placement import Placement
from aar_ray.search.processes import trials_environment
from aar_ray.search.stages import Stages
from aar_ray.search.trial import run_trial
from aar_ray.store import stage_key
from aar_ray.training import forest
from aar_ray.training.features import in_context

ANIMALS = ("animal 1", "animal 2", "animal 3")
FOLDS = tuple(
    Fold(name=animal, train=tuple(other for other in ANIMALS if other != animal), validation=(animal,), test=())
    for animal in ANIMALS
)
PLACEMENT = Placement(
    groups=1, workers=1, worker_cpus=1, worker_gpus=0, fold_cpus=1, fold_gpus=0, trial_slots=1, fold_tasks=2
)


def three_animals() -> LabelledWindows:
    parts = [herd({0: 9, 1: 6, 2: 4}, seed=number) for number in (1, 2, 3)]
    arrays = ("windows", "labels", "subjects", "recordings", "starts")
    return LabelledWindows(
        classes=CLASSES, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
    )


def test_the_score_of_a_trial_does_not_depend_on_which_fold_ends_first() -> None:
    # their sum as floats depends on the order
    scores = [0.1, 0.2, 0.3, 0.7]
    assert len({sum(order) for order in itertools.permutations(scores)}) > 1
    means = {
        mean_macro_f1([{"result": {"macro_f1": score}} for score in order]) for order in itertools.permutations(scores)
    }
    assert means == {0.325}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def folds(ray_cluster: Any, store: Path) -> Folds:
    stage = PretrainStage(corpus="c" * 20, workers=1)
    return Folds(
        folds=FOLDS,
        labelled=ray_cluster.put(three_animals()),
        labelled_key="l" * 20,
        placement=PLACEMENT,
        stages=ray_cluster.remote(Stages).options(num_cpus=0).remote(str(store), stage),
    )


@pytest.fixture(scope="module")
def first(folds: Folds) -> dict[str, dict[str, Any]]:
    """From random weights, each fold for the first time."""
    return {fold["fold"]: fold for fold in folds.finetuned(tiny(), None, 7)}


def test_every_fold_is_scored_on_its_own_animals(first: dict[str, dict[str, Any]]) -> None:
    assert sorted(first) == list(ANIMALS)
    assert len({fold["key"] for fold in first.values()}) == 3
    for animal, fold in first.items():
        assert fold["validation"] == [animal]
        assert fold["cached"] is False
        # a row of the confusion matrix is what the animal did
        assert np.sum(fold["result"]["confusion"], axis=1).tolist() == [9, 6, 4]


@ray.remote
def told_environment(labelled: Any, folds: Any, seed: int, placement: Placement) -> list[dict[str, Any]]:
    text = ray.get_runtime_context().get_runtime_env_string()
    return [{"result": {"seconds": 0.0, "environment": text}} for _ in folds]


def test_the_same_processes_serve_trials_and_baselines(folds: Folds, tmp_path: Path) -> None:
    def environments(folds: Folds, seed: int) -> set[str]:
        events = folds._each("test", 1, {"seed": seed}, lambda: False, 2, told_environment)
        return {event["result"]["environment"] for event in events}

    def trial(_: dict[str, Any], *, folds: Folds) -> None:
        tune.report({"environments": sorted(environments(folds, 1))})

    found = tune.Tuner(
        tune.with_resources(tune.with_parameters(trial, folds=folds), tune.PlacementGroupFactory([{"trial_slot": 1}])),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    own = replace(folds, environment=trials_environment())
    # Ray keeps a process for tasks of the same text
    assert environments(own, 2) == set(found[0].metrics["environments"])
    assert environments(folds, 3) != environments(own, 4)


def test_folds_are_shared_out_to_as_many_tasks_as_can_run_at_once() -> None:
    assert _shared_out([3, 5, 8, 9, 11], 2) == [[3, 8, 11], [5, 9]]
    assert _shared_out([3, 5], 4) == [[3], [5]]
    assert _shared_out([], 4) == []


def test_a_second_time_every_fold_is_found(folds: Folds, first: dict[str, dict[str, Any]]) -> None:
    again = list(folds.finetuned(tiny(), None, 7))
    assert [fold["fold"] for fold in again] == list(ANIMALS)
    assert [fold["cached"] for fold in again] == [True] * 3
    for fold in again:
        assert fold == {**first[fold["fold"]], "cached": True}


def test_a_fold_comes_to_the_same_whichever_others_are_done(
    folds: Folds, first: dict[str, dict[str, Any]], store: Path
) -> None:
    shutil.rmtree(store / "finetune" / first[ANIMALS[1]]["key"])
    again = {fold["fold"]: fold for fold in folds.finetuned(tiny(), None, 7)}
    assert {animal: fold["cached"] for animal, fold in again.items()} == {
        ANIMALS[0]: True,
        ANIMALS[1]: False,
        ANIMALS[2]: True,
    }
    before, now = first[ANIMALS[1]]["result"], again[ANIMALS[1]]["result"]
    # trained alone the losses would differ by rounding
    assert {**now, "seconds": 0} == {**before, "seconds": 0}


def test_settings_of_pre_training_are_told_by_the_encoder_and_not_once_more(
    folds: Folds, first: dict[str, dict[str, Any]]
) -> None:
    other = folds.finetuned(tiny(tfc__margin=0.1, pretrain__epochs=9), None, 7)
    assert next(other)["cached"] is True


@pytest.mark.parametrize("change", [{"labelled_key": "m" * 20}, {"folds": FOLDS[:1]}], ids=str)
def test_what_folds_depend_on_is_in_their_key(
    folds: Folds, first: dict[str, dict[str, Any]], change: dict[str, Any]
) -> None:
    changed = replace(folds, **{"folds": FOLDS[:1], **change})
    (fold,) = changed.finetuned(tiny(), None, 7)
    same = list(change) == ["folds"]
    assert fold["cached"] is same
    assert (fold["key"] == first[ANIMALS[0]]["key"]) is same


def test_another_seed_is_another_fine_tuning(folds: Folds, first: dict[str, dict[str, Any]]) -> None:
    (fold,) = replace(folds, folds=FOLDS[:1]).finetuned(tiny(), None, 8)
    assert (fold["cached"], fold["seed"]) == (False, 8)
    assert fold["result"]["epochs"] != first[ANIMALS[0]]["result"]["epochs"]


def test_settings_of_fine_tuning_are_in_the_key(folds: Folds, first: dict[str, dict[str, Any]]) -> None:
    (fold,) = replace(folds, folds=FOLDS[:1]).finetuned(tiny(finetune__learning_rate=1e-3), None, 7)
    assert fold["cached"] is False
    assert fold["result"]["applied"]["finetune.learning_rate"] == 1e-3


@ray.remote(max_retries=0)
def _killed(labelled: Any, folds: Any, seed: int, placement: Any, mark: Path, times: int) -> list[dict[str, Any]]:
    """The process of the first few tasks is killed, as by a kernel that is out of memory."""
    deaths = len(list(mark.glob("*")))
    if deaths < times:
        (mark / f"{deaths}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return [{"result": {"macro_f1": 0.5, "seconds": 1.0}} for _ in folds]


@ray.remote(max_retries=0)
def _out_of_memory(labelled: Any, folds: Any, seed: int, placement: Any) -> list[dict[str, Any]]:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has ...")


def test_a_task_whose_process_is_killed_is_started_again(folds: Folds, tmp_path: Path) -> None:
    one = replace(folds, folds=FOLDS[:1])
    (fold,) = one._each("survives", 1, {"seed": 7}, lambda: False, 1, _killed, tmp_path, TASK_FAILURES)
    assert (fold["cached"], fold["result"]["macro_f1"]) == (False, 0.5)


def test_a_task_whose_process_is_killed_again_and_again_ends_its_trial_with_the_reason(
    folds: Folds, tmp_path: Path
) -> None:
    one = replace(folds, folds=FOLDS[:1])
    with pytest.raises(TaskDied, match=f"its dies task died {TASK_FAILURES + 1} times.*memory.*WorkerCrashedError"):
        list(one._each("dies", 1, {"seed": 7}, lambda: False, 1, _killed, tmp_path, 99))
    # no claim is left: another trial may try
    (fold,) = one._each("dies", 1, {"seed": 7}, lambda: False, 1, _killed, tmp_path, 0)
    assert fold["cached"] is False


def test_a_trial_that_runs_out_of_memory_ends_with_that_as_its_reason(
    folds: Folds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finetuned(self: Folds, *_: Any) -> Any:
        return self._each("memory", 1, {"seed": 7}, lambda: False, 1, _out_of_memory)

    reported: list[dict[str, Any]] = []
    monkeypatch.setattr(Folds, "finetuned", finetuned)
    monkeypatch.setattr(tune, "report", reported.append)
    settings = {**dotted(tiny()), "finetune.encoder": "trained", "finetune.initial_weights": "random"}
    run_trial({"trial": 4, "settings": settings, "seed": 7, "rungs": [None], "first_epochs": None}, folds=folds)
    (end,) = (each["journal"] for each in reported)
    assert (end["event"], end["trial"], end["state"]) == ("trial_finished", 4, "failed")
    assert end["reason"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB."


def test_equal_fine_tunings_that_are_wanted_at_once_are_done_once(folds: Folds) -> None:
    with ThreadPoolExecutor(2) as threads:
        wanted = [threads.submit(lambda: list(folds.finetuned(tiny(), None, 9))) for _ in range(2)]
        one, other = ({fold["fold"]: fold for fold in each.result()} for each in wanted)
    assert {name: fold["key"] for name, fold in one.items()} == {name: fold["key"] for name, fold in other.items()}
    for name in one:
        assert one[name]["result"] == other[name]["result"]
        assert sorted([one[name]["cached"], other[name]["cached"]]) == [False, True]


def test_the_forest_is_kept_too(folds: Folds) -> None:
    assert [fold["cached"] for fold in folds.forest(7)] == [False] * 3
    assert [fold["cached"] for fold in folds.forest(7)] == [True] * 3


def test_a_forest_in_another_context_is_another_one_and_no_context_is_the_one_that_was_kept(folds: Folds) -> None:
    plain = {fold["fold"]: fold for fold in folds.forest(7)}
    around = {fold["fold"]: fold for fold in folds.forest(7, tiny(finetune__context_seconds=4.0))}
    assert not {fold["key"] for fold in plain.values()} & {fold["key"] for fold in around.values()}
    # keys of studies that knew of no context stay good
    made_from = {"labelled": "l" * 20, "seed": 7, "fold": asdict(FOLDS[0])}
    assert plain["animal 1"]["key"] == stage_key("random forest", forest.VERSION, made_from)
    # and those of studies that knew of one form alone
    before = {**made_from, "context_seconds": 4.0}
    assert around["animal 1"]["key"] == stage_key("random forest", forest.VERSION, before)
    for fold in FOLDS:
        sides = (in_context(three_animals().of(side), context_seconds=4.0) for side in (fold.train, fold.validation))
        expected = forest.forest_scores(*sides, seed=7)["confusion"]
        assert around[fold.name]["result"]["confusion"] == expected
        assert around[fold.name]["result"]["applied"] == {
            "finetune.context_seconds": 4.0,
            "finetune.context_form": "mean",
        }


def test_an_encoder_that_is_not_there_is_an_error_and_not_random_weights(folds: Folds) -> None:
    with pytest.raises(KeyError, match="no pre-trained encoder"):
        list(folds.finetuned(tiny(), "0" * 20, 7))


def test_a_forest_sees_the_other_form_of_a_context(folds: Folds) -> None:
    settings = tiny(finetune__context_seconds=4.0, finetune__context_form="own_mean_spread")
    found = {fold["fold"]: fold for fold in folds.forest(7, settings)}
    for fold in FOLDS:
        sides = (
            in_context(three_animals().of(side), **settings.finetune.context) for side in (fold.train, fold.validation)
        )
        assert found[fold.name]["result"]["confusion"] == forest.forest_scores(*sides, seed=7)["confusion"]
    mean = {fold["key"] for fold in folds.forest(7, tiny(finetune__context_seconds=4.0))}
    assert not mean & {fold["key"] for fold in found.values()}
