"""Ray Train worker groups of a study: started, watched, and started anew where one ends for good."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.data
import ray.train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.placement_group import remove_placement_group

from aar_ray.corpus.files import window_files
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.corpus.reading import Corpus, read_corpus
from aar_ray.imports import uncollected
from aar_ray.search.failures import reason_of
from aar_ray.search.folds import LOOK_UP_SECONDS, Stopped
from aar_ray.search.placement import Placement
from aar_ray.search.processes import GROUPS_ENVIRONMENT, in_environment, on_this_node

GROUP_FAILURES = 20
"""Times that Ray Train restarts a worker group, spot nodes that go away included."""

REPLACEMENTS = 3
"""Groups in a row that may end for good without an epoch done by any before the study is given up."""

LEAVING_SECONDS = 3.0
"""For an epoch to end where a study leaves off; after them its group is interrupted."""

PLACING_SECONDS = 30.0
"""After which it is said why no worker group runs."""


@dataclass(frozen=True)
class Groups:
    """What the worker groups of a study need."""

    placement: Placement
    corpus: Corpus
    probe: LabelledWindows | None
    """Watches pre-training."""
    stages: Any
    """Handle of the `Stages` actor."""
    scratch: str

    def serve(self, stopped: Stopped, drained: Callable[[], bool]) -> int:
        """Keep the groups up until they have gone home; returns how many were started.

        One that ends otherwise is replaced, and what it had is handed to another. Told from here, since a group whose
        process was killed cannot say so.

        Args:
            stopped: asked now and then whether to leave off.
            drained: whether no encoder will be asked for any more.

        Raises:
            Exception: what kept it from this; those who wait for an encoder are told that the study is given up.
        """
        try:
            return self._serve(stopped, drained)
        except Exception as error:
            # nobody else would tell them, and they would wait for ever
            ray.get(self.stages.give_up.remote(f"the worker groups could not be kept up: {reason_of(error)}"))
            raise

    def _serve(self, stopped: Stopped, drained: Callable[[], bool]) -> int:
        # a worker that has the files and shares the corpus with none reads them; in Ray they would be in memory twice
        reads_files = self.placement.one_node and self.placement.workers == 1
        dataset = None if reads_files else read_corpus(self.corpus)
        running = dict(self._start(dataset) for _ in range(self.placement.groups))
        started, fruitless, epochs, needed = len(running), 0, 0, False
        while running and not stopped():
            ended, _ = ray.wait(list(running), timeout=LOOK_UP_SECONDS)
            if drained():
                # again and again: a service that was killed and began anew has forgotten it, and does not know yet
                # what a group is at
                needed = ray.get(self.stages.drain.remote()) or needed
                if not needed:
                    _interrupt(running)
                    return started
            for task in ended:
                name = running.pop(task)
                try:
                    ray.get(task)
                except ray.exceptions.RayError as error:
                    done, placed = ray.get(self.stages.group_ended.remote(name))
                    if placed is not None:
                        # a controller that was killed has left its workers' processors taken
                        remove_placement_group(placed)
                    fruitless = fruitless + 1 if done == epochs else 0
                    epochs = done
                    if fruitless >= REPLACEMENTS:
                        reason = f"{fruitless} worker groups in a row ended without an epoch: {reason_of(error)}"
                        ray.get(self.stages.give_up.remote(reason))
                        return started
                    running.update([self._start(dataset)])
                    started += 1
        if running:
            self._send_home(list(running))
        return started

    def _send_home(self, running: list[Any]) -> None:
        """The study leaves off: groups would keep their processors for as long as its cluster is up."""
        ray.get(self.stages.give_up.remote("the study was stopped"))
        _, left = ray.wait(running, num_returns=len(running), timeout=LEAVING_SECONDS)
        _interrupt(left)

    def watch(self, say: Callable[[str], None], stopped: Stopped) -> None:
        """Say where the first one keeps its windows; where it takes long to come up, say what it waits for."""
        up, since = self.stages.staffed.remote(), time.monotonic()
        while not ray.wait([up], timeout=LOOK_UP_SECONDS)[0]:
            if stopped():
                return
            if time.monotonic() > since + PLACING_SECONDS:
                since = time.monotonic()
                free, wanted = ray.available_resources(), self.placement
                say(
                    f"waiting for a worker group of {wanted.workers} x ({wanted.worker_cpus:g} CPU, "
                    f"{wanted.worker_gpus:g} GPU): {free.get('CPU', 0):g} CPU, {free.get('GPU', 0):g} GPU are free"
                )
        if kept := ray.get(up):
            say(kept)

    def _start(self, dataset: ray.data.Dataset | None) -> tuple[ray.ObjectRef[None], str]:
        # a name that was used before would make Ray Train go on with the old run
        name = f"group-{uuid.uuid4().hex}"
        task = on_this_node(_run_group, **in_environment(GROUPS_ENVIRONMENT)).remote(
            name,
            self.placement,
            dataset,
            self.stages,
            self.corpus,
            self.probe,
            self.scratch,
        )
        return task, name


def _interrupt(tasks: Iterable[Any]) -> None:
    """End groups by an interrupt, upon which Ray Train gives their processors back: a kill would leave them taken."""
    for task in tasks:
        # what the group's controller is at must come to its end, or it gives back nothing either
        ray.cancel(task, recursive=False)


@ray.remote(num_cpus=0, max_retries=0)
def _run_group(
    name: str,
    placement: Placement,
    dataset: ray.data.Dataset | None,
    stages: Any,
    corpus: Corpus,
    probe: LabelledWindows | None,
    scratch: str,
) -> None:
    resources = {"CPU": placement.worker_cpus}
    if placement.worker_gpus:
        resources["GPU"] = placement.worker_gpus
    trainer = _trainer(placement.workers)(
        _serve,
        train_loop_config={
            "service": stages,
            "group": name,
            "folder": str(corpus.folder),
            "windows": corpus.windows,
            "bytes": sum(file.stat().st_size for file in window_files(corpus.folder)),
            "summary": corpus.summary,
            "probe": probe,
            "threads": int(placement.worker_cpus),
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=placement.workers, use_gpu=bool(placement.worker_gpus), resources_per_worker=resources
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=scratch,
            failure_config=ray.train.FailureConfig(max_failures=GROUP_FAILURES),
        ),
        datasets={} if dataset is None else {"corpus": dataset},
    )
    trainer.fit()


def _trainer(workers: int) -> type[DataParallelTrainer]:
    """Of a group: a single worker has nobody to talk to, and a controller without torch is there two seconds sooner."""
    if workers == 1:
        return _SingleTrainer
    from ray.train.torch import TorchTrainer

    # its types are those of Ray Train before its second version
    return TorchTrainer  # type: ignore[return-value]


class _SingleTrainer(DataParallelTrainer):
    """For a group of one worker, without the processes that it does not need, each of which takes a second to start."""

    def _create_default_callbacks(self) -> list[Any]:
        # processors of a controller that was killed are given back by the study; without a dashboard nobody else can
        needless = {"PlacementGroupCleanerCallback"}
        if not self.datasets:
            needless.add("DatasetsCallback")
        return [one for one in super()._create_default_callbacks() if type(one).__name__ not in needless]


def _serve(config: Mapping[str, Any]) -> None:
    """What each worker does; torch is imported by workers alone."""
    with uncollected():
        from aar_ray.training.worker import serve_pretraining

    serve_pretraining(config)
