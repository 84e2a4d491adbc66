"""A study from its recordings to its last trial: corpus, worker groups, trials and baselines; each step an event."""

from __future__ import annotations

import importlib.metadata
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import ray
import ray.data
import ray.train
import ray.train.torch
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aar_ray.config import Settings, Study, dotted, settings_from
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.corpus.shards import Corpus, build_corpus, build_labelled, read_corpus
from aar_ray.corpus.splits import Fold, make_folds, split_warnings
from aar_ray.search.agenda import Agenda, runs_of, winner
from aar_ray.search.folds import LOOK_UP_SECONDS, Folds, Stopped, mean_macro_f1
from aar_ray.search.journal import Event, Journal, known_trials
from aar_ray.search.placement import Placement
from aar_ray.search.proposals import Proposal
from aar_ray.search.searcher import Emit, JournalSearcher, Recorder
from aar_ray.search.stages import PretrainStage, Stages
from aar_ray.search.trial import reason_of, run_trial
from aar_ray.store import Store
from aar_ray.training.probe import ProbeWindows, probe_windows
from aar_ray.training.worker import serve_pretraining

Observer = Callable[[Event], None]
Say = Callable[[str], None]

TRIAL_FAILURES = 2
"""Times that a trial whose process died is started again."""

GROUP_FAILURES = 20
"""Times that Ray Train restarts a worker group, spot nodes that go away included."""

PACKAGES = ("aar_ray", "ray", "torch", "optuna", "numpy", "scipy", "scikit-learn")


def run_study(study: Study, placement: Placement, journal: Journal, observe: Observer, say: Say) -> bool:
    """Run a study, or go on with it; returns whether it came to its end (False: it was interrupted).

    Args:
        study: as its file says.
        placement: how its bundles fit the cluster that this process is connected to.
        journal: of the study; what it holds is not done again.
        observe: is told each new event.
        say: is told in words what is being done.
    """
    store = Store(study.store)

    def emit(event: str, **fields: Any) -> Event:
        record = journal.append(event, **fields)
        observe(record)
        return record

    with tempfile.TemporaryDirectory(prefix="aar-") as scratch, _threads() as (threads, stopped):
        say("building the corpus")
        corpus = build_corpus(study, store)
        labelled, labelled_corpus = build_labelled(study, store)
        subjects = sorted({*map(str, labelled.subjects), *study.protocol.sealed})
        fold_list = make_folds(subjects, study.protocol, study.seed)
        emit("study_started", **_beginning(study, corpus, labelled_corpus, labelled, fold_list))
        probe = probe_windows(labelled, fold_list, study.data.normalisation)
        if probe is None:
            say("no linear probe watches pre-training: fewer than two labelled animals are no fold's test animal")
        stages = _on_this_node(ray.remote(Stages)).remote(
            str(store.root),
            PretrainStage(
                corpus.key,
                study.data.normalisation,
                placement.workers,
                probed={"labelled": labelled_corpus.key, "animals": probe.names} if probe else None,
            ),
        )
        folds = Folds(
            folds=fold_list,
            labelled=ray.put(labelled),
            labelled_key=labelled_corpus.key,
            normalisation=study.data.normalisation,
            placement=placement,
            stages=stages,
        )
        groups = None
        if _trials_to_come(study, journal.events):
            say("starting the worker groups")
            groups = threads.submit(
                _watch, _start_groups(study, placement, stages, corpus, probe, scratch), stages, stopped
            )
            ray.get(stages.staffed.remote())
        # these need no encoder and fill the processors while the first one is made
        baselines = {
            "random forest": threads.submit(lambda: list(folds.forest(study.seed, stopped))),
            "scratch, trial 0": threads.submit(_scratch, folds, study.reference(), [study.seed], stopped),
        }
        say("searching")
        stopped_by = _search(study, journal, folds, emit, scratch)
        if stopped_by is None:
            return False
        ray.get(stages.drain.remote())
        say("training the baselines")
        if study.search and (best := _winner(study, journal.events)):
            baselines["scratch, winner"] = threads.submit(_scratch, folds, *best, stopped)
        _record_baselines(baselines, emit)
        if groups is not None:
            groups.result()
        emit("study_finished", stopped_by=stopped_by)
        return True


def _trials_to_come(study: Study, events: Sequence[Event]) -> bool:
    """Whether the budget leaves trials to begin or to end: only they need worker groups."""
    known = known_trials(events)
    return any(trial.state == "running" for trial in known) or isinstance(Agenda(study).next(known), Proposal)


@contextmanager
def _threads() -> Iterator[tuple[ThreadPoolExecutor, Stopped]]:
    """Threads, and what tells them that the study is over: one that asks Ray after its end would end the process."""
    threads, over = ThreadPoolExecutor(), threading.Event()
    try:
        yield threads, over.is_set
    finally:
        over.set()
        threads.shutdown(cancel_futures=True)


def _beginning(
    study: Study, corpus: Corpus, labelled_corpus: Corpus, labelled: LabelledWindows, folds: Sequence[Fold]
) -> dict[str, Any]:
    return {
        "name": study.name,
        "seed": study.seed,
        "simulated": study.simulated,
        "search": {name: part.model_dump(mode="json", exclude_none=True) for name, part in study.search.items()},
        "arms": study.arms,
        "classes": list(labelled.classes),
        "folds": [asdict(fold) for fold in folds],
        "corpus": {
            "key": corpus.key,
            "windows": corpus.windows,
            "seconds": corpus.seconds,
            "cached": corpus.cached,
            "summary": corpus.summary,
        },
        "labelled": {"key": labelled_corpus.key, "windows": len(labelled), "summary": labelled_corpus.summary},
        "trials": study.planned_trials,
        "settings": dotted(study.reference()),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
        "warnings": split_warnings(labelled, folds),
    }


def _search(study: Study, journal: Journal, folds: Folds, emit: Emit, scratch: str) -> str | None:
    """Run Ray Tune until no more trials are proposed and all have ended; why it stopped, None if interrupted."""
    deadline = None if study.budget.hours is None else time.monotonic() + 3600 * study.budget.hours
    searcher = JournalSearcher(study, journal.events, emit, deadline)
    recorder = Recorder(searcher, journal.events, emit, lambda: ray.get(folds.stages.drain.remote()))
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(run_trial, folds=folds), tune.PlacementGroupFactory([{"trial_slot": 1}])
        ),
        tune_config=tune.TuneConfig(search_alg=searcher, num_samples=-1, reuse_actors=True),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=scratch,
            verbose=0,
            callbacks=[recorder],
            failure_config=tune.FailureConfig(max_failures=TRIAL_FAILURES),
        ),
    )
    tuner.fit()
    unfinished = any(trial.state == "running" for trial in known_trials(journal.events))
    return None if unfinished else searcher.stopped_by


def _start_groups(
    study: Study, placement: Placement, stages: Any, corpus: Corpus, probe: ProbeWindows | None, scratch: str
) -> list[ray.ObjectRef[None]]:
    """Worker groups, each in a task that ends when the service sends its group home."""
    dataset = read_corpus(corpus)
    return [
        _on_this_node(_run_group).remote(
            f"group-{number}", placement, dataset, stages, corpus.summary, study.data.normalisation, probe, scratch
        )
        for number in range(placement.groups)
    ]


@ray.remote(num_cpus=0, max_retries=0)
def _run_group(
    name: str,
    placement: Placement,
    dataset: ray.data.Dataset,
    stages: Any,
    summary: dict[str, Any],
    normalisation: str,
    probe: ProbeWindows | None,
    scratch: str,
) -> None:
    resources = {"CPU": placement.worker_cpus}
    if placement.worker_gpus:
        resources["GPU"] = placement.worker_gpus
    trainer = ray.train.torch.TorchTrainer(
        serve_pretraining,
        train_loop_config={
            "service": stages,
            "group": name,
            "summary": summary,
            "normalisation": normalisation,
            "probe": probe,
            "threads": int(placement.worker_cpus),
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=placement.workers, use_gpu=bool(placement.worker_gpus), resources_per_worker=resources
        ),
        run_config=ray.train.RunConfig(
            # a name that was used before would make Ray Train go on with the old run
            name=f"{name}-{uuid.uuid4().hex}",
            storage_path=scratch,
            failure_config=ray.train.FailureConfig(max_failures=GROUP_FAILURES),
        ),
        datasets={"corpus": dataset},
    )
    trainer.fit()


def _watch(groups: Sequence[ray.ObjectRef[None]], stages: Any, stopped: Stopped) -> None:
    """Wait until all groups have gone home; those who wait for an encoder are told when one ends otherwise.

    Told from here, since a group whose process was killed cannot say so.
    """
    waiting = list(groups)
    while waiting and not stopped():
        ended, waiting = ray.wait(waiting, timeout=LOOK_UP_SECONDS)
        try:
            ray.get(ended)
        except ray.exceptions.RayError as error:
            ray.get(stages.group_broke.remote(f"a worker group ended: {reason_of(error)}"))


def _scratch(folds: Folds, settings: Settings, seeds: Sequence[int], stopped: Stopped) -> list[dict[str, Any]]:
    """Folds of the same model from random weights with the same seeds; there is no encoder worth freezing then."""
    trained = settings_from({**dotted(settings), "finetune.encoder": "trained"})
    return [fold for seed in seeds for fold in folds.finetuned(trained, None, seed, stopped)]


def _winner(study: Study, events: Sequence[Event]) -> tuple[Settings, list[int]] | None:
    """Settings of the best trial and the seeds that it ran with; None when no trial is complete."""
    known = known_trials(events)
    best = winner(known)
    if best is None:
        return None
    seeds = {event["trial"]: event.get("seed", study.seed) for event in events if event["event"] == "trial_started"}
    settings = settings_from({**dotted(study.reference()), **known[best].settings})
    return settings, [seeds[number] for number in runs_of(known, best)]


def _record_baselines(baselines: Mapping[str, Future[list[dict[str, Any]]]], emit: Emit) -> None:
    for name, running in baselines.items():
        folds = running.result()
        emit(
            "baseline_finished",
            name=name,
            macro_f1=mean_macro_f1(folds),
            seconds=sum(fold["seconds"] for fold in folds),
            folds=folds,
        )


def _on_this_node(remote: Any) -> Any:
    """Schedule where the study runs, which has the disk, without a processor of its own."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return remote.options(num_cpus=0, scheduling_strategy=here)
