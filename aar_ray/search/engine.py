"""A study from its recordings to its last trial: corpus, worker groups, trials and baselines; each step an event."""

from __future__ import annotations

import importlib.metadata
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import ray
from ray import tune

from aar_ray.config import Settings, Study, dotted, settings_from
from aar_ray.corpus.splits import split_warnings
from aar_ray.search.agenda import Agenda, Promotion, runs_of, winner
from aar_ray.search.budget import HOUR, Accelerators, gpus_of, seconds_spent
from aar_ray.search.cautions import patch_warnings
from aar_ray.search.failures import Failures, GivenUp, reason_of
from aar_ray.search.folds import Folds, Stopped, mean_macro_f1, pooled_scores
from aar_ray.search.garbage import GIGABYTE, collect, remember
from aar_ray.search.journal import Event, Journal, history, known_trials, number_of_folds
from aar_ray.search.placement import Placement
from aar_ray.search.precision import settle_precision
from aar_ray.search.prepared import Prepared, prepare
from aar_ray.search.processes import trials_environment, warm_for_folds
from aar_ray.search.proposals import Proposal
from aar_ray.search.provenance import provenance, source_files
from aar_ray.search.searcher import Emit, JournalSearcher, Recorder
from aar_ray.search.trial import run_trial
from aar_ray.search.warm_start import find_earlier, told_trials, warm_started
from aar_ray.store import Store

SCRATCH = {"finetune.encoder": "trained", "finetune.initial_weights": "random"}
"""Settings that make a baseline of a trial's."""

Observer = Callable[[Event], None]
Say = Callable[[str], None]

TRIAL_FAILURES = 2
"""Times that a trial whose process died is started again."""

PACKAGES = ("aar_ray", "ray", "torch", "optuna", "numpy", "scipy", "scikit-learn")


def run_study(
    study: Study,
    placement: Placement,
    journal: Journal,
    observe: Observer,
    say: Say,
    *,
    retry_failed: bool = False,
) -> bool:
    """Run a study, or go on with it; returns whether it came to its end (False: it was interrupted).

    Args:
        study: as its file says.
        placement: how its bundles fit the cluster that this process is connected to.
        journal: of the study; what it holds is not done again.
        observe: is told each new event.
        say: is told in words what is being done.
        retry_failed: whether trials that failed run again.

    Raises:
        RuntimeError: the study cannot go on: trials fail alike, no worker group stays up, the disk is full.
        OSError: the journal cannot be written.
    """
    study = settle_precision(study, placement, say)
    store = Store(study.store)
    emit = _Writer(journal, observe)
    say("building the corpus")
    prepared = prepare(study, placement, store, say)
    # not before: the corpus waits for processors, and folds do for an encoder
    warm_for_folds(placement)
    remember(store, journal.path)
    emit("study_started", **_beginning(prepared))
    for name, earlier in find_earlier(study, journal.path.parent.parent, journal.events).items():
        emit("warm_started", **warm_started(study, name, earlier, prepared.labelled_corpus.key))
    if retry_failed:
        _retry_failed(journal, emit, say)
    _keep_to_budget(study, store, say)
    if prepared.probe is None:
        say("no linear probe watches pre-training: fewer than two labelled animals are no fold's test animal")
    to_come = _trials_to_come(study, journal.events)
    with (
        tempfile.TemporaryDirectory(prefix="aar-") as scratch,
        prepared.service(store, study.resources.store_gigabytes, group_comes=to_come) as stages,
        _threads() as (threads, stopped),
    ):
        folds = prepared.tasks(stages)
        served, drained = None, threading.Event()
        if to_come:
            say("starting the worker groups")
            groups = prepared.groups(stages, scratch)
            served = threads.submit(groups.serve, stopped, drained.is_set)
            threads.submit(groups.watch, say, stopped)
        # these need no encoder and fill the processors while the first one is made
        own = replace(folds, environment=trials_environment())
        baselines = {
            "random forest": threads.submit(_forest, own, study.reference(), study.seed, stopped),
            "scratch, trial 0": threads.submit(_scratch, own, study.reference(), [study.seed], stopped),
        }
        say("searching")
        try:
            stopped_by = _search(study, journal, folds, emit, drained, scratch)
            if stopped_by is None:
                return False
            _drain(stages, drained)
            say("training the baselines")
            if best := _winner(study, journal.events):
                if study.search:
                    baselines["scratch, winner"] = threads.submit(_scratch, own, *best, stopped)
                if best[0].finetune.context != study.reference().finetune.context:
                    baselines["random forest, winner"] = threads.submit(_forest, own, best[0], study.seed, stopped)
            _record_baselines(baselines, emit)
        except GivenUp as error:
            reason = reason_of(error)
            emit("study_stopped", reason=reason)
            raise RuntimeError(f"{reason}; the same command goes on") from None
        emit("study_finished", stopped_by=stopped_by, groups_started=served.result() if served is not None else 0)
        return True


class _Writer:
    """Writes events into the journal, tells who observes, and keeps the error that Ray Tune would bury in its own."""

    def __init__(self, journal: Journal, observe: Observer) -> None:
        self._journal, self._observe = journal, observe
        self.error: Exception | None = None

    def __call__(self, event: str, **fields: Any) -> Event:
        try:
            record = self._journal.append(event, **fields)
            self._observe(record)
        except Exception as error:
            self.error = self.error or error
            raise
        return record


def _retry_failed(journal: Journal, emit: _Writer, say: Say) -> None:
    """Have every trial run again that failed."""
    failed = [number for number, trial in enumerate(known_trials(journal.events)) if trial.state == "failed"]
    for number in failed:
        emit("trial_retried", trial=number)
    say(f"{len(failed)} failed trials run again" if failed else "no trial has failed: none runs again")


def _keep_to_budget(study: Study, store: Store, say: Say) -> None:
    """Make the store fit its disk space, and say so where it cannot."""
    gigabytes = study.resources.store_gigabytes
    if gigabytes is None:
        return
    collected = collect(store, gigabytes)
    if collected.left_bytes > gigabytes * GIGABYTE:
        say(f"resources.store_gigabytes is {gigabytes:g}, and more is needed: {collected}")


def _drain(stages: Any, drained: threading.Event) -> None:
    """No encoder will be asked for any more."""
    drained.set()
    ray.get(stages.drain.remote())


def _trials_to_come(study: Study, events: Sequence[Event]) -> bool:
    """Whether the budget leaves trials to begin or to end: only they need worker groups."""
    past = history(events)
    if any(trial.state == "running" for trial in past.trials):
        return True
    hours, most = study.budget.hours, study.budget.accelerator_hours
    if hours is not None and seconds_spent(events) >= HOUR * hours:
        return False
    if most is not None and Accelerators(events).hours >= most:
        return False
    agenda = Agenda(as_begun(study, events), number_of_folds(events), told_trials(events))
    return isinstance(agenda.next(past), Proposal | Promotion)


@contextmanager
def _threads() -> Iterator[tuple[ThreadPoolExecutor, Stopped]]:
    """Threads, and what tells them that the study is over: one that asks Ray after its end would end the process."""
    threads, over = ThreadPoolExecutor(), threading.Event()
    try:
        yield threads, over.is_set
    finally:
        over.set()
        threads.shutdown(cancel_futures=True)


def _beginning(prepared: Prepared) -> dict[str, Any]:
    study, corpus, labelled, folds = prepared.study, prepared.corpus, prepared.labelled, prepared.folds
    labelled_corpus = prepared.labelled_corpus
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
            "files": source_files(corpus.folder),
        },
        "labelled": {
            "key": labelled_corpus.key,
            "windows": len(labelled),
            "summary": labelled_corpus.summary,
            "files": source_files(labelled_corpus.folder),
        },
        "trials": study.planned_trials,
        "trial_slots": study.resources.trial_slots,
        "gpus": gpus_of(prepared.placement),
        "settings": dotted(study.reference()),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
        "provenance": provenance(ray.cluster_resources(), sum(node["Alive"] for node in ray.nodes())),
        "warnings": [*split_warnings(labelled, folds), *patch_warnings(study)],
    }


def _search(
    study: Study, journal: Journal, folds: Folds, emit: _Writer, drained: threading.Event, scratch: str
) -> str | None:
    """Run Ray Tune until no more trials are proposed and all have ended; why it stopped, None if interrupted.

    Raises:
        GivenUp: it cannot go on; trials may be unfinished.
    """
    failures, accelerators = Failures(), Accelerators(journal.events)
    most = study.budget.accelerator_hours

    def watched(event: str, **fields: Any) -> Event:
        record = emit(event, **fields)
        accelerators.observe(record)
        if reason := failures.observe(record):
            searcher.halt(reason)
        if most is not None and accelerators.hours >= most:
            searcher.close(f"budget of {most:g} accelerator-hours")
        return record

    deadline = None
    if study.budget.hours is not None:
        deadline = time.monotonic() + HOUR * study.budget.hours - seconds_spent(journal.events)
    searcher = JournalSearcher(as_begun(study, journal.events), journal.events, watched, deadline)
    recorder = Recorder(searcher, journal.events, watched, lambda: _drain(folds.stages, drained))
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
    # snapshots of Tune's own state are never read; one that begins while another is copied fails, and says so at length
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    try:
        tuner.fit()
    except Exception:
        if emit.error is not None:
            raise emit.error from None
        raise
    if searcher.halted:
        raise GivenUp(searcher.stopped_by)
    unfinished = any(trial.state == "running" for trial in known_trials(journal.events))
    return None if unfinished else searcher.stopped_by


def as_begun(study: Study, events: Sequence[Event]) -> Study:
    """The study with the trial slots of its first start, on which its proposals depend: they stay what they were."""
    slots = next((event.get("trial_slots") for event in events if event["event"] == "study_started"), None)
    if slots is None or slots == study.resources.trial_slots:
        return study
    return study.model_copy(update={"resources": study.resources.model_copy(update={"trial_slots": slots})})


def _scratch(folds: Folds, settings: Settings, seeds: Sequence[int], stopped: Stopped) -> list[dict[str, Any]]:
    """Folds of the same model from random weights with the same seeds; there is no encoder worth freezing then."""
    trained = settings_from({**dotted(settings), **SCRATCH})

    def of_seed(seed: int) -> list[dict[str, Any]]:
        return list(folds.finetuned(trained, None, seed, stopped))

    # all seeds at once: a seed's tasks do not end together, and others have their processors meanwhile
    with ThreadPoolExecutor(len(seeds)) as threads:
        return [fold for of_one in threads.map(of_seed, seeds) for fold in of_one]


def _forest(folds: Folds, settings: Settings, seed: int, stopped: Stopped) -> list[dict[str, Any]]:
    """Folds of the random forest, which sees as much around a window as a network of these settings does."""
    return list(folds.forest(seed, settings, stopped))


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
            pooled=pooled_scores(folds),
            seconds=sum(fold["seconds"] for fold in folds),
            folds=folds,
        )
