"""Which labelled windows a pre-train may be watched by, and that watching changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training.toy import AXES, LENGTH, herd, tiny, windows

from aar_ray.config import Protocol, Settings
from aar_ray.corpus.labelled import LabelledWindows, Scope
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
    probe = probe_windows(labelled.of([name for name in ANIMALS if name != "bob"]), folds, "source")
    assert probe is not None
    assert probe.names == ("ann", "cem", "dot", "eve")
    assert probe.animals.bincount().tolist() == [19] * 4


def test_no_animal_that_any_repetition_tests_is_looked_at() -> None:
    labelled = five_animals()
    folds = make_folds(ANIMALS, Protocol(split="paper"), seed=1)
    tested = {fold.test[0] for fold in folds}
    assert len(tested) == 3
    # windows that tell whose they are
    number = np.searchsorted(ANIMALS, labelled.subjects.astype(str)).astype(np.float32)
    labelled = replace(labelled, windows=labelled.windows * 0 + number[:, None, None])
    probe = probe_windows(labelled, folds, "source")
    assert probe is not None
    assert set(probe.names) == set(ANIMALS) - tested
    assert len(probe.windows.unique()) == 2
    four = make_folds(ANIMALS[:4], Protocol(split="paper"), seed=1)
    assert probe_windows(labelled.of(ANIMALS[:4]), four, "source") is None  # one is left, which is no probe


@pytest.mark.parametrize("scope", ["source", "recording", "window"])
def test_windows_are_scored_by_the_studys_scope(scope: Scope) -> None:
    probe = probe_windows(five_animals(), make_folds(ANIMALS, Protocol(), seed=1), scope)
    assert probe is not None
    rows = {"source": [slice(None)], "recording": [slice(0, 19), slice(19, 38)], "window": [slice(0, 1)]}[scope]
    for chosen in rows:
        part = probe.windows[chosen].double()
        torch.testing.assert_close(part.mean(dim=(0, 2)), torch.zeros(3, dtype=torch.float64), atol=1e-5, rtol=0)
        deviation = part.transpose(0, 1).flatten(1).std(dim=1, unbiased=False)
        torch.testing.assert_close(deviation, torch.ones(3, dtype=torch.float64), atol=1e-5, rtol=0)


def test_large_herds_are_looked_at_in_part_with_as_many_windows_of_each_animal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probing, "WINDOWS", 35)
    probe = probe_windows(five_animals(), make_folds(ANIMALS, Protocol(), seed=1), "source")
    assert probe is not None
    assert probe.animals.bincount().tolist() == [7] * 5
    assert probe.labels[:7].tolist() == [0, 0, 0, 1, 1, 2, 2]  # from the recording's first to its last window


def watched(settings: Settings, *, probed: bool) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    probe = probe_windows(five_animals(), make_folds(ANIMALS, Protocol(), seed=1), "source")
    checkpoint = pretrain(windows(37), settings, seed=1, probe=probe if probed else None)
    return checkpoint.history, checkpoint.model


def test_the_probe_never_changes_the_encoder() -> None:
    settings = tiny(pretrain__epochs=3, pretrain__probe_every=1)
    with_probe, model = watched(settings, probed=True)
    without, other = watched(settings, probed=False)
    assert all(torch.equal(model[name], other[name]) for name in model)
    dropped = {"seconds", "probe_macro_f1"}
    kept = [[{k: v for k, v in record.items() if k not in dropped} for record in run] for run in (with_probe, without)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (7, [5]), (0, [])])
def test_it_looks_every_few_epochs_and_at_the_end(every: int, epochs: list[int]) -> None:
    history, _ = watched(tiny(pretrain__epochs=5, pretrain__probe_every=every), probed=True)
    assert [record["epoch"] for record in history if "probe_macro_f1" in record] == epochs


def test_the_score_is_that_of_the_encoder_without_dropout() -> None:
    settings = tiny(pretrain__epochs=1, patchtst__dropout=0.5)
    probe = probe_windows(five_animals(), make_folds(ANIMALS, Protocol(), seed=1), "source")
    assert probe is not None
    checkpoint = pretrain(windows(37), settings, seed=1, probe=probe)
    model = build_model(settings, AXES, LENGTH, seed=1)
    model.load_state_dict(checkpoint.model)
    h = model.eval().embed(model.time_encoder, probe.windows).detach()
    expected = probe_macro_f1(h, probe.labels, probe.animals, classes=3)
    assert checkpoint.history[0]["probe_macro_f1"] == pytest.approx(expected, abs=1e-9)
    assert 1 / 3 < expected < 1
