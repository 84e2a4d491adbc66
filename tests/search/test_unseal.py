"""The sealed test on a store and a journal as a study leaves them, with models of random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import fake_journal as journal
import numpy as np
import pytest
import safetensors.torch
from corpus.made_up import source, table
from kept_study import CONTEXT_SECONDS, KEY, OPEN, SEALED, keep, kept_study, write_model
from small_study import SMALL, small_study

from aar_ray.config import Study, settings_from
from aar_ray.corpus.files import read_labelled
from aar_ray.corpus.labelled import normalised_for
from aar_ray.corpus.parts import parts
from aar_ray.corpus.readers import read
from aar_ray.corpus.splits import Fold
from aar_ray.corpus.stretches import Findings
from aar_ray.method.scores import confusion_matrix
from aar_ray.search.journal import Refused
from aar_ray.search.kept import learned_sketches
from aar_ray.search.unseal import _with_sealed, unseal
from aar_ray.store import Store
from aar_ray.training.classify import probabilities


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return kept_study(tmp_path)


@pytest.fixture
def events(study: Study, tmp_path: Path) -> list[journal.Event]:
    return keep(study, tmp_path)


def emitted(events: list[journal.Event]) -> Any:
    def emit(event: str, **fields: Any) -> journal.Event:
        events.append({"event": event, "at": journal.noon(59), **fields})
        return events[-1]

    return emit


def test_winner_trial_0_scratch_and_forest_are_scored_on_the_sealed_animal_alone(
    study: Study, events: list[journal.Event]
) -> None:
    event = unseal(study, events, emitted(events))
    names = [score["name"] for score in event["scores"]]
    assert names == ["winner (trial 1)", "trial 0", "scratch, winner", "random forest", "random forest, winner"]
    assert event["animals"] == [SEALED]
    for score in event["scores"]:
        assert (set(score["by_animal"]), score["models"]) == ({SEALED}, 4)
        # 5 minutes in windows of 2 s, seen by the classifier of each fold
        assert np.sum(score["confusion"]) == 4 * 150
        assert score["macro_f1"] == score["by_animal"][SEALED]
    # the forests have learnt, weights that were drawn at random have not
    scores = [score["macro_f1"] for score in event["scores"]]
    assert min(scores[3:]) > 0.4 > max(scores[:3])
    assert event["scores"][3]["confusion"] != event["scores"][4]["confusion"]


def test_a_classifier_that_reads_contexts_is_scored_on_all_windows_around_the_sealed_animals_own(
    study: Study, events: list[journal.Event], tmp_path: Path
) -> None:
    for name in OPEN:
        shutil.rmtree(tmp_path / "finetune" / f"1{name}")
        write_model(study, tmp_path / "finetune" / f"1{name}", len(events[0]["classes"]), CONTEXT_SECONDS)
    (winner, *_) = unseal(study, events, emitted(events))["scores"]

    sealed = _with_sealed(study, read_labelled(tmp_path / "labelled" / KEY, events[0]["classes"]), [SEALED], {})
    confusion = np.zeros_like(winner["confusion"])
    for fold in events[0]["folds"]:
        folder = tmp_path / "finetune" / f"1{fold['name']}"
        settings = settings_from(json.loads((folder / "result.json").read_text())["applied"])
        sides = Fold(fold["name"], tuple(fold["train"]), (SEALED,), ())
        train, test = normalised_for(sealed, sides, "source")
        assert set(train.subjects) == set(fold["train"])
        found = probabilities(safetensors.torch.load_file(folder / "model.safetensors"), settings, test)
        confusion += confusion_matrix(test.labels, found.argmax(axis=1), len(sealed.classes))
    assert winner["confusion"] == confusion.tolist()


def test_a_second_time_is_refused_with_date_and_animals(study: Study, events: list[journal.Event]) -> None:
    unseal(study, events, emitted(events))
    with pytest.raises(Refused, match=rf"\({SEALED}\) were scored on 2025-06-01T12:59:00"):
        unseal(study, events, emitted(events))
    assert [event["event"] for event in events].count("unsealed") == 1


def test_an_unfinished_study_and_one_whose_models_are_gone_are_refused(
    study: Study, events: list[journal.Event], tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="this one is not finished"):
        unseal(study, events[:-1], emitted([]))
    (tmp_path / "finetune" / "1goats-2" / "model.safetensors").unlink()
    with pytest.raises(Refused, match=r"lacks winner \(trial 1\), fold goats-2"):
        unseal(study, events, emitted([]))


def test_a_sealed_recording_that_was_in_the_corpus_under_another_name_is_refused(
    events: list[journal.Event], study: Study, tmp_path: Path
) -> None:
    goats, herd = tmp_path / "goats", tmp_path / "herd"
    goats.mkdir()
    herd.mkdir()
    for number, name in enumerate(("ann", "bea", "cat")):
        table(12_000, seed=number).to_csv(goats / f"{name}.csv", index=False)
    copy = table(12_000, seed=2).iloc[64 * 80 :]
    copy[["ax", "ay", "az"]] = (copy[["ax", "ay", "az"]] * 9.80665).round(3)
    copy.to_csv(herd / "zoe.csv", index=False)
    corpus = source(herd, name="herd", unit="m/s^2", columns={"label": None})
    labelled = source(goats, name="goats", behaviours={"Walking": "walking", "Grazing": "grazing"})
    plain = [one.model_dump(exclude_none=True) for one in (corpus, labelled)]
    data = {**SMALL["data"], "unlabelled": plain[:1], "labelled": plain[1]}
    of_files = small_study(
        data=data, store=str(tmp_path), protocol={"split": "leave_one_subject_out", "sealed": ["cat"]}
    )
    opened = read_labelled(tmp_path / "labelled" / KEY, events[0]["classes"])
    findings = Findings()
    for part in parts(corpus, 0):
        list(read(part, findings))
    folder = tmp_path / "corpus" / "c"
    folder.mkdir(parents=True)
    sketches = {"herd": {name: sorted(one) for name, one in findings.sketches.items()}}
    (folder / "sketches.json").write_text(json.dumps(sketches))
    known = learned_sketches(Store(of_files.store), {**events[0], "corpus": {"key": "c"}})
    with pytest.raises(Refused, match=r"test animals must not be in the corpus, got .* goats: cat and herd: zoe"):
        _with_sealed(of_files, opened, ["cat"], known)
    # the same recordings, had the corpus not held one of them
    assert "cat" in set(_with_sealed(of_files, opened, ["cat"], {}).subjects)
