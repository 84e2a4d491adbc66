"""Which labelled windows a pre-train may be watched by, and that watching changes nothing."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from training.toy import AXES, LENGTH, herd, tiny, windows

from aar_ray.config import Protocol, Settings
from aar_ray.corpus.labelled import LabelledWindows, normalised
from aar_ray.corpus.normalise import Scope
from aar_ray.corpus.splits import make_folds
from aar_ray.method.diagnostics import probe_macro_f1
from aar_ray.training import probe as probing
from aar_ray.training.pretrain import build_model, pretrain
from aar_ray.training.probe import probe_windows

ANIMALS = ("ann", "bob", "cem", "dot", "eve")


def five_animals() -> LabelledWindows:
    parts = [herd({0: 9, 1: 6, 2: 4}, seed=number) for number in range(5)]
    return LabelledWindows(
        windows=np.concatenate([part.windows for part in parts]) * 0.3 + 0.5,
        labels=np.concatenate([part.labels for part in parts]),
        classes=parts[0].classes,
        subjects=np.repeat(np.array(ANIMALS, dtype=object), 19),
        recordings=np.repeat(np.array(ANIMALS, dtype=object), 19),
        starts=np.tile(2.0 * np.arange(19), 5),
    )


def test_every_open_animal_is_looked_at_under_leave_one_subject_out() -> None:
    labelled = five_animals()
    folds = make_folds(ANIMALS, Protocol(sealed=("bob",)), seed=1)
    probe = probe_windows(labelled.of([name for name in ANIMALS if name != "bob"]), folds)
    assert probe is not None
    assert Counter(probe.subjects) == dict.fromkeys(("ann", "cem", "dot", "eve"), 19)


def test_no_animal_that_any_repetition_tests_is_looked_at() -> None:
    labelled = five_animals()
    folds = make_folds(ANIMALS, Protocol(split="paper"), seed=1)
    tested = {fold.test[0] for fold in folds}
    assert len(tested) == 3
    probe = probe_windows(labelled, folds)
    assert probe is not None
    assert set(probe.subjects) == set(ANIMALS) - tested
    four = make_folds(ANIMALS[:4], Protocol(split="paper"), seed=1)
    assert probe_windows(labelled.of(ANIMALS[:4]), four) is None  # one is left, which is no probe


def test_large_herds_are_looked_at_in_part_with_as_many_windows_of_each_animal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probing, "WINDOWS", 35)
    probe = probe_windows(five_animals(), make_folds(ANIMALS, Protocol(), seed=1))
    assert probe is not None
    assert Counter(probe.subjects) == dict.fromkeys(ANIMALS, 7)
    assert probe.labels[:7].tolist() == [0, 0, 0, 1, 1, 2, 2]  # from the recording's first to its last window


def watched(settings: Settings, *, probed: bool) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    probe = probe_windows(five_animals(), make_folds(ANIMALS, Protocol(), seed=1))
    checkpoint = pretrain(windows(37), settings, seed=1, probe=probe if probed else None)
    return checkpoint.history, checkpoint.model


def test_the_probe_never_changes_the_encoder() -> None:
    settings = tiny(pretrain__epochs=3, pretrain__probe_every=1)
    with_probe, model = watched(settings, probed=True)
    without, other = watched(settings, probed=False)
    assert all(torch.equal(model[name], other[name]) for name in model)
    dropped = {"seconds", "waiting_seconds", "probe_macro_f1"}
    kept = [[{k: v for k, v in record.items() if k not in dropped} for record in run] for run in (with_probe, without)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (7, [5]), (0, [])])
def test_it_looks_every_few_epochs_and_at_the_end(every: int, epochs: list[int]) -> None:
    history, _ = watched(tiny(pretrain__epochs=5, pretrain__probe_every=every), probed=True)
    assert [record["epoch"] for record in history if "probe_macro_f1" in record] == epochs


@pytest.mark.parametrize("scope", ["source", "recording", "window"])
def test_the_score_is_that_of_the_encoder_without_dropout_on_windows_of_the_trials_scope(scope: Scope) -> None:
    settings = tiny(pretrain__epochs=1, patchtst__dropout=0.5, normalise__scope=scope)
    probe = five_animals()
    checkpoint = pretrain(windows(37), settings, seed=1, probe=probe)
    model = build_model(settings, AXES, LENGTH, seed=1)
    model.load_state_dict(checkpoint.model)
    scored = torch.from_numpy(normalised(probe, scope).windows)
    h = model.eval().embed(model.time_encoder, scored).detach()
    animals = torch.arange(5).repeat_interleave(19)
    expected = probe_macro_f1(h, torch.from_numpy(probe.labels), animals, classes=3)
    assert checkpoint.history[0]["probe_macro_f1"] == pytest.approx(expected, abs=1e-9)
    assert 1 / 3 < expected < 1
