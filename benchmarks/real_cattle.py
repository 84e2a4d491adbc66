"""Real animals: does pre-training help, and does the network earn its keep against a random forest?

Pre-trains without labels on people (waist, 50 Hz), white storks (10.54 Hz) and cattle mounts (10 Hz), then fine-tunes
on the four main behaviours of ten grazing cows (10 Hz collars), from pre-trained and from random weights, with all
labels, a tenth and a hundredth of them, and grows a random forest on the same labels; each by a window alone, and with
what is around it. Each has a search of its own for
each pair of cows, on other cows alone (`nested`), the networks with the same budget; each cow is scored once for each
seed.

    python -m benchmarks.real_cattle --data DIR [--seed N] [--seeds N]

DIR holds the four folders named in `SOURCES` and `COWS`. They are not part of this project; without them the benchmark
says so and ends with status 0. What was made once is found again in the store under --results.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from rich.console import Console

from aar_ray.config import Settings, Study, dotted, settings_from
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.corpus.splits import Fold
from aar_ray.method.neighbours import neighbour_mean
from aar_ray.method.scores import confusion_matrix, macro_f1
from aar_ray.search.cluster import cluster
from aar_ray.search.evidence import Scored
from aar_ray.search.folds import Folds
from aar_ray.search.placement import Placement
from aar_ray.search.prepared import Prepared, prepare
from aar_ray.store import Store, stage_key
from aar_ray.training import forest
from aar_ray.training.features import in_context
from aar_ray.training.labels import chosen_labels
from benchmarks.cattle import (
    CONTEXTS,
    COWS,
    FIXED,
    FIXED_SECONDS,
    FOREST,
    LEAVES,
    NEVER,
    SEARCHED,
    SETTINGS,
    SHARES,
    SMOOTH,
    SMOOTHING,
    SOURCES,
    TRIED,
    WEIGHTS,
)
from benchmarks.cattle_tables import by_cow, differences
from benchmarks.nested import Chosen, Pair, choose, grouped, pairs_of, rows

Scores = dict[tuple[int, str], float]
"""By seed and cow."""


@dataclass(frozen=True)
class Found:
    """What a model's searches chose for each cow, and what it then said of the cow's windows."""

    chosen: dict[str, Chosen]
    smoothing: dict[str, float]
    """Seconds."""
    probabilities: dict[tuple[int, str], NDArray[np.float32]]
    """By seed and cow."""

    @classmethod
    def best(cls, found: Sequence[Found]) -> Found:
        """Of some searches, for each cow what scored most on the cows that chose; of equal ones the first."""
        best = {cow: max(found, key=lambda one: one.chosen[cow].score) for cow in found[0].chosen}
        return cls(
            {cow: one.chosen[cow] for cow, one in best.items()},
            {cow: one.smoothing[cow] for cow, one in best.items()},
            {(seed, cow): best[cow].probabilities[seed, cow] for seed, cow in found[0].probabilities},
        )


def main() -> int:
    """Search, train, score, and print the tables."""
    options = _options()
    missing = [one["path"] for one in (*SOURCES, COWS) if not (options.data / one["path"]).exists()]
    if missing:
        print(f"skipped: {options.data} does not hold {', '.join(missing)}")
        return 0
    study, console = _study(options), Console(width=120)
    store = Store(study.store)
    seeds = [options.seed + number for number in range(options.seeds)]
    with cluster(study.resources, None) as placement, _served(study, placement, store, console.print) as prepared:
        bench = Bench(prepared, store, seeds, console.print)
        scored: dict[str, Scores] = {}
        with ThreadPoolExecutor(3) as threads:
            for share in SHARES:
                asked = {
                    (name, context): threads.submit(
                        bench.forest if name == FOREST else bench.network, name, share, context
                    )
                    for name, context in product((*WEIGHTS, FOREST), CONTEXTS)
                }
                for name in (*WEIGHTS, FOREST):
                    found = {context: asked[name, context].result() for context in CONTEXTS}
                    found[SEARCHED] = Found.best(list(found.values()))
                    for context, smoothing in product(found, (NEVER, SMOOTH, FIXED)):
                        scores = bench.scores(found[context], smoothing)
                        scored[f"{name}, {share}{context}{smoothing}"] = scores
                        mean = np.mean(list(scores.values()))
                        console.print(f"{name}, {share}{context}{smoothing}: mean macro-F1 {mean:.3f}")
    cows = sorted({cow for _, cow in next(iter(scored.values()))})
    settings = {
        name: Scored(number, rows(found, seeds, cows), np.zeros(len(seeds), dtype=bool))
        for number, (name, found) in enumerate(scored.items())
    }
    console.print(by_cow(settings, cows), differences(settings))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


def _study(options: argparse.Namespace) -> Study:
    unlabelled, cows = [{**one, "path": str(options.data / one["path"])} for one in SOURCES], dict(COWS)
    cows["path"] = str(options.data / cows["path"])
    return Study.model_validate(
        {
            "name": "real_cattle",
            "seed": options.seed,
            "data": {"unlabelled": unlabelled, "labelled": cows},
            "fixed": SETTINGS,
            "arms": {name: {"finetune.initial_weights": kind} for name, kind in WEIGHTS.items()},
            "store": str(options.results / ".store"),
        }
    )


@dataclass(frozen=True)
class Served:
    """Data, and tasks that find in the store what was made before."""

    prepared: Prepared
    folds: Folds
    stages: Any
    pairs: tuple[Pair, ...]


@contextmanager
def _served(study: Study, placement: Placement, store: Store, say: Callable[[str], None]) -> Iterator[Served]:
    """Corpus, labelled windows, and worker groups that pre-train for as long as the block lasts."""
    say("building the corpus")
    prepared = prepare(study, placement, store, say)
    ended = threading.Event()
    with (
        tempfile.TemporaryDirectory(prefix="aar-") as scratch,
        prepared.service(store) as stages,
        ThreadPoolExecutor(1) as thread,
    ):
        groups = prepared.groups(stages, scratch)
        thread.submit(groups.serve, ended.is_set, ended.is_set)
        groups.wait(say)
        try:
            pairs = pairs_of([fold.name for fold in prepared.folds], study.seed)
            yield Served(prepared, prepared.tasks(stages), stages, pairs)
        finally:
            ended.set()
            ray.get(stages.drain.remote())


@dataclass
class Bench:
    """Searches and scores."""

    served: Served
    store: Store
    seeds: list[int]
    say: Callable[[str], None]

    def network(self, arm: str, share: str, context: str) -> Found:
        """Of an arm, for each cow with the setting that its search chose."""
        given = {"finetune.initial_weights": WEIGHTS[arm], **CONTEXTS[context]}
        tried = [settings_from({**SETTINGS, **SHARES[share], **one, **given}) for one in TRIED]
        inner = [pair.inner for pair in self.served.pairs]
        found = [self._finetuned(settings, self.seeds[0], inner) for settings in tried]
        chosen: dict[str, Chosen] = {}
        seconds: dict[str, float] = {}
        for pair in self.served.pairs:
            results = [one[pair.inner.name] for one in found]
            curves = [[epoch["macro_f1"] for epoch in fold["result"]["epochs"]] for fold in results]
            best = choose(curves)
            chosen |= dict.fromkeys(pair.held_out, best)
            kept = self._probabilities(results[best.place]["key"])
            seconds |= dict.fromkeys(pair.held_out, self._smoothing(kept, pair.inner.validation))
        made: dict[tuple[int, str], NDArray[np.float32]] = {}
        outer = {fold.name: fold for pair in self.served.pairs for fold in pair.outer}
        self.say(f"{arm}, {share}{context}: {_counted(chosen, seconds)}")
        for (place, epochs), cows in grouped({cow: (one.place, one.epochs) for cow, one in chosen.items()}).items():
            values = {**dotted(tried[place]), "finetune.epochs": epochs}
            for seed in self.seeds:
                folds = self._finetuned(settings_from(values), seed, [outer[cow] for cow in cows])
                made |= {(seed, cow): self._probabilities(fold["key"]) for cow, fold in folds.items()}
        return Found(chosen, seconds, made)

    def forest(self, name: str, share: str, context: str) -> Found:
        """Of the random forest on the same labels, for each cow with the leaves that its search chose."""
        labelled, key = self.served.folds.labelled, self.served.folds.labelled_key
        part = SHARES[share].get("finetune.label_share", 1.0)

        def grown(jobs: Sequence[tuple[Fold, int, int]]) -> list[NDArray[np.float32]]:
            given = part, settings_from(CONTEXTS[context]).finetune.context
            return ray.get([_forest.remote(str(self.store.root), key, labelled, *job, *given) for job in jobs])

        inner = {(pair, leaf): (pair.inner, leaf, self.seeds[0]) for pair in self.served.pairs for leaf in LEAVES}
        found = dict(zip(inner, grown(list(inner.values())), strict=True))
        chosen: dict[str, Chosen] = {}
        seconds: dict[str, float] = {}
        for pair in self.served.pairs:
            validation = pair.inner.validation
            best = choose([[self._score(found[pair, leaf], validation, 0.0)] for leaf in LEAVES])
            chosen |= dict.fromkeys(pair.held_out, best)
            kept = found[pair, LEAVES[best.place]]
            seconds |= dict.fromkeys(pair.held_out, self._smoothing(kept, validation))
        self.say(f"{name}, {share}{context}: {_counted(chosen, seconds)}")
        outer = {
            (seed, fold.name): (fold, LEAVES[chosen[fold.name].place], seed)
            for seed in self.seeds
            for pair in self.served.pairs
            for fold in pair.outer
        }
        return Found(chosen, seconds, dict(zip(outer, grown(list(outer.values())), strict=True)))

    def scores(self, found: Found, smoothing: str) -> Scores:
        """Of the held-out cows' probabilities: as they are, smoothed as was chosen, or by the fixed seconds."""
        seconds = {NEVER: dict.fromkeys(found.chosen, 0.0), SMOOTH: found.smoothing}
        span = seconds.get(smoothing) or dict.fromkeys(found.chosen, FIXED_SECONDS)
        return {(seed, cow): self._score(one, (cow,), span[cow]) for (seed, cow), one in found.probabilities.items()}

    def _finetuned(self, settings: Settings, seed: int, folds: Sequence[Fold]) -> dict[str, Any]:
        """`fold_finished` fields by fold."""
        key = None if settings.finetune.initial_weights == "random" else self._encoder(settings, seed)
        tasks = replace(self.served.folds, folds=tuple(folds))
        return {fold["fold"]: fold for fold in tasks.finetuned(settings, key, seed)}

    def _encoder(self, settings: Settings, seed: int) -> str:
        """Key of a pre-trained encoder, when it is there."""
        stages, epoch = self.served.stages, 0
        key: str = ray.get(stages.request.remote(dotted(settings), seed))
        while True:
            news = ray.get(stages.news.remote(key, epoch))
            epoch += len(news["records"])
            if news["state"] == "done":
                return key
            if news["state"] in ("failed", "given up"):
                raise RuntimeError(f"pre-training: {news['reason']}")

    def _probabilities(self, key: str) -> NDArray[np.float32]:
        return np.asarray(np.load(self.store.root / "finetune" / key / "probabilities.npy"))

    def _smoothing(self, probabilities: NDArray[np.float32], cows: Sequence[str]) -> float:
        """Seconds that are best on some cows; of equal ones the least."""
        return max(SMOOTHING, key=lambda seconds: (self._score(probabilities, cows, seconds), -seconds))

    def _score(self, probabilities: NDArray[np.float32], cows: Sequence[str], seconds: float) -> float:
        """Macro-F1 on some cows."""
        own = self.served.prepared.labelled.of(cows)
        predicted = neighbour_mean(probabilities, own.recordings, own.starts, seconds=seconds).argmax(axis=1)
        return macro_f1(confusion_matrix(own.labels, predicted, len(own.classes)))


@ray.remote(num_cpus=1, max_retries=0)
def _forest(
    store: str,
    labelled_key: str,
    labelled: LabelledWindows,
    fold: Fold,
    smallest_leaf: int,
    seed: int,
    share: float,
    context: dict[str, Any],
) -> NDArray[np.float32]:
    """Probabilities of the validation cows' windows, found in the store where the same forest was grown before."""
    made_from = {
        "labelled": labelled_key,
        "fold": asdict(fold),
        "smallest_leaf": smallest_leaf,
        "seed": seed,
        "share": share,
        **context,
    }
    place, key = Store(store), stage_key("forest", forest.VERSION, made_from)
    if place.find("forest", key) is None:
        train, validation = (in_context(labelled.of(side), **context) for side in (fold.train, fold.validation))
        train = chosen_labels(train, label_share=share, label_animals=None, seed=seed)
        made = forest.forest_probabilities(train, validation, seed=seed, smallest_leaf=smallest_leaf)
        with place.publish("forest", key, made_from) as folder:
            np.save(folder / "probabilities.npy", made)
    return np.asarray(np.load(place.root / "forest" / key / "probabilities.npy"))


def _counted(chosen: Mapping[str, Chosen], seconds: Mapping[str, float]) -> str:
    """How often what was chosen."""
    settings = Counter((one.place, one.epochs) for one in chosen.values())
    spans = Counter(seconds.values())
    return (
        ", ".join(f"setting {place} for {epochs} epochs {count} times" for (place, epochs), count in settings.items())
        + "; smoothed over "
        + ", ".join(f"{span:g} s {count} times" for span, count in spans.items())
    )


if __name__ == "__main__":
    sys.exit(main())
