"""What the trials of a study share: corpus, labelled windows with their folds, and the actor of the stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from aar_ray.config import Study
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.corpus.reading import Corpus
from aar_ray.corpus.shards import build_corpus, build_labelled
from aar_ray.corpus.splits import Fold, make_folds
from aar_ray.search.artifacts import PretrainStage
from aar_ray.search.folds import Folds
from aar_ray.search.groups import Groups
from aar_ray.search.placement import Placement
from aar_ray.search.processes import on_this_node
from aar_ray.search.stages import Stages
from aar_ray.store import Store
from aar_ray.training.probe import probe_windows


@dataclass(frozen=True)
class Prepared:
    """The data of a study, found in its store or built."""

    study: Study
    placement: Placement
    corpus: Corpus
    labelled: LabelledWindows
    labelled_corpus: Corpus
    folds: tuple[Fold, ...]
    probe: LabelledWindows | None
    """Watches pre-training; None where there are too few animals."""

    @property
    def stage(self) -> PretrainStage:
        """What the study's pre-trains share."""
        animals = sorted(set(self.probe.subjects)) if self.probe else None
        probed = {"labelled": self.labelled_corpus.key, "animals": animals} if animals else None
        return PretrainStage(self.corpus.key, self.placement.workers, probed)

    @contextmanager
    def service(self, store: Store, gigabytes: float | None = None, *, group_comes: bool = False) -> Iterator[Any]:
        """The actor of the stages: where its process dies it begins anew, and calls under way are repeated.

        It ends with the block: copies of its handle in Ray's objects would keep it for as long as its cluster is up.
        """
        actor = on_this_node(ray.remote(Stages), max_restarts=-1, max_task_retries=-1)
        service = actor.remote(str(store.root), self.stage, gigabytes, group_comes=group_comes)
        try:
            yield service
        finally:
            ray.kill(service)

    def tasks(self, service: Any) -> Folds:
        """Fine-tuning on every fold."""
        return Folds(
            folds=self.folds,
            labelled=ray.put(self.labelled),
            labelled_key=self.labelled_corpus.key,
            placement=self.placement,
            stages=service,
        )

    def groups(self, service: Any, scratch: str) -> Groups:
        """The worker groups that pre-train."""
        return Groups(self.placement, self.corpus, self.probe, service, scratch)


def prepare(study: Study, placement: Placement, store: Store, say: Callable[[str], None] = lambda _: None) -> Prepared:
    """Build what is not in the store yet.

    Raises:
        InputError: recordings break a rule.
    """
    corpus = build_corpus(study, store, say)
    labelled, labelled_corpus = build_labelled(study, store, corpus, say)
    subjects = sorted({*map(str, labelled.subjects), *study.protocol.sealed})
    folds = make_folds(subjects, study.protocol, study.seed)
    probe = probe_windows(labelled, folds)
    return Prepared(study, placement, corpus, labelled, labelled_corpus, folds, probe)
