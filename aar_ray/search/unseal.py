"""The sealed test: once, after the end of a study, its models are scored on animals that no part of it has seen.

Runs without Ray: the sealed recordings are read here, and the models that the study kept are put to work on them; only
a random forest, of which no study keeps a model, is trained again on each fold's training animals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aar_ray.config import Study, settings_from
from aar_ray.corpus.checks import check_contents, labelled_parts
from aar_ray.corpus.files import read_labelled
from aar_ray.corpus.harvest import harvest
from aar_ray.corpus.labelled import LabelledWindows, normalised_for
from aar_ray.corpus.recording import InputError
from aar_ray.corpus.splits import Fold
from aar_ray.corpus.stretches import Findings
from aar_ray.method.scores import confusion_matrix, scores
from aar_ray.search.journal import Event, Refused, refuse_after_unsealing
from aar_ray.search.kept import (
    Model,
    beginning,
    classifier,
    complete_runs,
    folds_of,
    learned_sketches,
    models_of,
    require_kept,
    winning_setting,
)
from aar_ray.search.provenance import commit_of_code
from aar_ray.search.ranking import trial_records
from aar_ray.store import Store
from aar_ray.training.classify import probabilities
from aar_ray.training.features import in_context
from aar_ray.training.forest import forest_scores

Emit = Callable[..., Event]


def unseal(study: Study, events: Sequence[Event], emit: Emit) -> Event:
    """Score winner, trial 0, scratch and random forest on the test animals, and record it; returns the event.

    Nothing sealed is opened before all that is needed is found to be there.

    Args:
        study: as its file says.
        events: of its journal.
        emit: writes an event into the journal.

    Raises:
        Refused: unsealed before, not finished, without test animals, or models are gone from the store.
    """
    store = Store(study.store)
    started = ready(study, events)
    folds = folds_of(started)
    models = _models(events, folds)
    require_kept(store, models, started)
    labelled = read_labelled(store.root / "labelled" / started["labelled"]["key"], started["classes"])
    animals = sorted({animal for fold in folds.values() for animal in fold.test})
    everything = _with_sealed(study, labelled, animals, learned_sketches(store, started))
    scored = [_scored(model, everything, study, store) for model in models]
    commit, changed = commit_of_code()
    return emit("unsealed", commit=commit, changed=changed, animals=animals, scores=scored)


def ready(study: Study, events: Sequence[Event]) -> Event:
    """The start of a finished study that has test animals and that nobody has unsealed.

    Raises:
        Refused: it is none.
    """
    if study.protocol.split == "leave_one_subject_out" and not study.protocol.sealed:
        raise Refused("the study has no test animals: protocol.sealed names none, so there is nothing to unseal")
    refuse_after_unsealing(events)
    kinds = [event["event"] for event in events]
    if "study_finished" not in kinds:
        raise Refused("a study is unsealed after its end, and this one is not finished; run it to its end first")
    return beginning(events)


def _models(events: Sequence[Event], folds: Mapping[str, Fold]) -> list[Model]:
    """Winner and trial 0 with all their seeds, and each baseline."""
    trials = trial_records(events)
    models = []
    for name, number in {"winner": winning_setting(trials).number, "trial 0": 0}.items():
        if keys := models_of(complete_runs(trials, number), folds):
            models.append(Model(f"{name} (trial {number})" if name == "winner" else name, keys))
    baselines = {event["name"]: event for event in events if event["event"] == "baseline_finished"}
    forests = []
    for name, event in baselines.items():
        if name.startswith("scratch"):
            models.append(Model(name, tuple((folds[fold["fold"]], fold["key"]) for fold in event["folds"])))
        else:
            context = settings_from(event["folds"][0]["result"].get("applied", {})).finetune.context
            forests.append(Model(name, tuple((fold, None) for fold in folds.values()), context))
    return [*models, *forests]


def _with_sealed(
    study: Study, labelled: LabelledWindows, animals: Sequence[str], learned: Mapping[str, Mapping[str, set[int]]]
) -> LabelledWindows:
    """The labelled windows with those of the test animals that they leave out, which are read now.

    Args:
        study: as its file says.
        labelled: of the animals that were open.
        animals: all test animals.
        learned: sketches of what the models learned from, see `learned_sketches`.

    Raises:
        Refused: the sealed recordings hold no window, or one of them was in what the models learned from.
    """
    absent = sorted(set(animals) - {str(name) for name in labelled.subjects})
    if not absent:
        return labelled
    # what was open is sealed now, and the other way round
    opened = study.protocol.model_copy(update={"sealed": tuple(sorted({str(name) for name in labelled.subjects}))})
    findings = Findings()
    found = [
        piece
        for part in labelled_parts(study.model_copy(update={"protocol": opened}))
        for piece in harvest(part, study.data, findings)
    ]
    source = study.data.labelled.name
    try:
        # sealed recordings were not read before, so a copy of one in the corpus shows only now
        check_contents(
            study.data, study.protocol, {**learned, source: {**learned.get(source, {}), **findings.sketches}}
        )
    except InputError as error:
        raise Refused(f"the sealed test would be of what was learned from: {error}") from error
    if not found:
        raise Refused(f"the recordings of {', '.join(absent)} hold no window, so there is nothing to score")
    windows = np.concatenate([piece.windows for piece in found])
    columns = {
        name: np.array([value for piece in found for value in getattr(piece, name)], dtype=object)
        for name in ("subjects", "recordings", "behaviours")
    }
    known = np.isin(columns["behaviours"].astype(str), labelled.classes) & np.isin(
        columns["subjects"].astype(str), absent
    )
    codes = np.array([labelled.classes.index(name) for name in columns["behaviours"][known]], dtype=np.int64)
    return LabelledWindows(
        windows=np.concatenate([labelled.windows, windows[known]]),
        labels=np.concatenate([labelled.labels, codes]),
        classes=labelled.classes,
        subjects=np.concatenate([labelled.subjects, columns["subjects"][known]]),
        recordings=np.concatenate([labelled.recordings, columns["recordings"][known]]),
        starts=np.concatenate([labelled.starts, np.concatenate([piece.starts for piece in found])[known]]),
    )


def _scored(model: Model, everything: LabelledWindows, study: Study, store: Store) -> dict[str, Any]:
    """Macro-F1 of each test animal, mean over the model's folds and seeds."""
    by_animal: dict[str, list[float]] = {}
    confusion = np.zeros((len(everything.classes),) * 2, dtype=np.int64)
    for fold, key in model.keys:
        for animal, table in _confusions(fold, key, everything, study, store, model.context):
            by_animal.setdefault(animal, []).append(scores(table, everything.classes)["macro_f1"])
            confusion += table
    means = {animal: float(np.mean(values)) for animal, values in sorted(by_animal.items())}
    return {
        "name": model.name,
        "macro_f1": float(np.mean(list(means.values()))),
        "by_animal": means,
        "models": len(model.keys),
        "confusion": confusion.tolist(),
    }


def _confusions(
    fold: Fold, key: str | None, everything: LabelledWindows, study: Study, store: Store, context: Mapping[str, Any]
) -> Iterator[tuple[str, np.ndarray]]:
    """Confusion matrix of each test animal of a fold, under the classifier of that fold."""
    for animal in fold.test:
        # in place of the validation animals: statistics of the z-score are those of the training animals
        tested = Fold(fold.name, fold.train, (animal,), ())
        if key is None:
            train, test = (in_context(everything.of(side), **context) for side in (fold.train, (animal,)))
            yield animal, np.asarray(forest_scores(train, test, seed=study.seed)["confusion"])
            continue
        weights, settings = classifier(store.root / "finetune" / key)
        _, test = normalised_for(everything, tested, settings.normalise.scope)
        predicted = probabilities(weights, settings, test).argmax(axis=1)
        yield animal, confusion_matrix(test.labels, predicted, len(everything.classes))
