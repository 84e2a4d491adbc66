"""Pre-training: one result for a seed, however often it is interrupted and however many workers share a batch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from training.toy import AXES, LENGTH, WrittenOutAdam, tiny, windows
from training.two_workers import OBJECTIVES, WORKERS, global_views, loss_and_gradients, model_of, one_of_two

from aar_ray.config import Settings, dotted
from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.method.scale import Scale
from aar_ray.method.tfc import Views, draw_views
from aar_ray.seeds import torch_stream
from aar_ray.training import pretrain as pretraining
from aar_ray.training.checkpoint import Checkpoint, pretrain_settings
from aar_ray.training.pretrain import Diverged, build_model, pretrain


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    """Equal bit for bit, seconds aside."""
    assert one.epoch == other.epoch
    assert one.model.keys() == other.model.keys()
    assert all(torch.equal(one.model[name], other.model[name]) for name in one.model)
    states = (one.optimiser["state"], other.optimiser["state"])
    assert states[0].keys() == states[1].keys()
    for weight, state in states[0].items():
        assert all(torch.equal(value, states[1][weight][name]) for name, value in state.items())
    assert [timeless(record) for record in one.history] == [timeless(record) for record in other.history]


def timeless(record: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in record.items() if name not in ("seconds", "waiting_seconds")}


def losses_of(checkpoint: Checkpoint) -> list[float]:
    return [record["loss"] for record in checkpoint.history]


def test_defaults_are_those_of_the_method() -> None:
    expected = {
        "patchtst.patch_length": 8,
        "patchtst.patch_stride": 4,
        "patchtst.model_size": 128,
        "patchtst.layers": 2,
        "patchtst.heads": 8,
        "patchtst.feedforward_size": 256,
        "patchtst.dropout": 0.1,
        "patchtst.normalisation": "layer",
        "patchtst.norm_position": "pre",
        "patchtst.positions": "learned",
        "tfc.contrastive_weight": 0.5,
        "tfc.margin": 0.5,
        "tfc.temperature": 0.2,
        "tfc.contrastive_form": "decoupled",
        "tfc.anchors": "originals",
        "tfc.negatives": "global",
        "tfc.margin_form": "hinge",
        "tfc.distance": "cosine",
        "tfc.time_weight": 1.0,
        "tfc.frequency_weight": 1.0,
        "tfc.alignment_weight": 0.0,
        "tfc.pooling": "mean",
        "tfc.projector_hidden": 256,
        "tfc.projector_size": 128,
        "spectrum.sides": "one",
        "spectrum.scale": "linear",
        "augment.time_families": ["jitter", "scaling", "time_shift", "crop"],
        "augment.jitter_deviation": 0.1,
        "augment.scaling_deviation": 0.15,
        "augment.shift_fraction": 0.5,
        "augment.crop_fraction": 0.5,
        "augment.frequency_families": ["perturbation", "masking"],
        "augment.perturbation_strength": 0.1,
        "augment.perturbed_share": 0.1,
        "augment.masked_share": 0.1,
        "pretrain.batch_size": 256,
        "pretrain.learning_rate": 3e-4,
        "pretrain.beta1": 0.9,
        "pretrain.beta2": 0.99,
        "pretrain.weight_decay": 3e-4,
        "pretrain.precision": "float32",
    }
    given = dotted(Settings())
    assert {name: given[name] for name in expected} == expected


CHANGED: dict[str, Any] = {
    "patchtst.patch_length": 7,
    "patchtst.patch_stride": 2,
    "patchtst.model_size": 22,
    "patchtst.layers": 2,
    "patchtst.heads": 7,
    "patchtst.feedforward_size": 19,
    "patchtst.dropout": 0.0,
    "patchtst.normalisation": "batch",
    "patchtst.norm_position": "post",
    "patchtst.positions": "sincos",
    "tfc.contrastive_weight": 0.7,
    "tfc.margin": 0.05,
    "tfc.temperature": 0.5,
    "tfc.contrastive_form": "nt_xent",
    "tfc.anchors": "both",
    "tfc.margin_form": "linear",
    "tfc.distance": "euclidean",
    "tfc.time_weight": 0.5,
    "tfc.frequency_weight": 0.5,
    "tfc.alignment_weight": 0.3,
    "tfc.pooling": "flatten",
    "tfc.projector_hidden": 23,
    "tfc.projector_size": 5,
    "spectrum.sides": "two",
    "spectrum.scale": "log1p",
    "augment.time_families": ("jitter",),
    "augment.jitter_deviation": 0.5,
    "augment.scaling_deviation": 0.5,
    "augment.shift_fraction": 0.1,
    "augment.crop_fraction": 0.9,
    "augment.rotation_degrees": 90.0,
    "augment.rotation_axis": "z",
    "augment.rotate_first": True,
    "augment.frequency_families": ("masking",),
    "augment.perturbation_strength": 0.9,
    "augment.perturbed_share": 0.5,
    "augment.masked_share": 0.5,
    "pretrain.epochs": 2,
    "pretrain.batch_size": 13,
    "pretrain.learning_rate": 1e-3,
    "pretrain.beta1": 0.5,
    "pretrain.beta2": 0.5,
    "pretrain.weight_decay": 0.3,
    "pretrain.precision": "bfloat16",
}
# a margin under which some terms of eq. 3 are negative, so that the hinge is at work
WITH_HINGE = {"tfc__margin": 0.1}


@pytest.mark.parametrize("name", CHANGED)
def test_every_setting_reaches_the_training(name: str) -> None:
    before = pretrain(windows(37), tiny(**WITH_HINGE), seed=1)
    after = pretrain(windows(37), tiny(**(WITH_HINGE | {name.replace(".", "__"): CHANGED[name]})), seed=1)
    assert losses_of(before) != losses_of(after)
    assert all(map(math.isfinite, losses_of(after)))


def test_the_settings_of_the_key_are_those_that_reach_the_training() -> None:
    # negatives differ under several workers only, a probe looks only, and the scope is below
    elsewhere = {"tfc.negatives", "pretrain.probe_every", "normalise.scope"}
    assert set(pretrain_settings(Settings())) == {*CHANGED, *elsewhere}
    other = tiny(finetune__dropout=0.5, classifier__convolution="none", finetune__learning_rate=0.1)
    assert pretrain_settings(other) == pretrain_settings(tiny())


def test_the_scope_of_the_z_score_reaches_the_training() -> None:
    raw = 0.3 * windows(37) + torch.tensor([0.1, 0.2, -0.9])[:, None]
    statistics = raw.mean(dim=(0, 2)).expand(37, 3), raw.std(dim=(0, 2)).expand(37, 3)
    by_source = pretrain(raw, tiny(), seed=1, scale=Scale("source", *statistics))
    by_window = pretrain(raw, tiny(normalise__scope="window"), seed=1, scale=Scale("window"))
    assert losses_of(by_source) != losses_of(by_window)
    assert [run.applied["normalise.scope"] for run in (by_source, by_window)] == ["source", "window"]
    # with the wrong z-score the settings that come back say so
    assert pretrain(raw, tiny(), seed=1, scale=Scale("window")).applied["normalise.scope"] == "window"
    scored = pretrain(Scale("source", *statistics)(raw), tiny(augment__time_families=("crop",)), seed=1)
    again = pretrain(raw, tiny(augment__time_families=("crop",)), seed=1, scale=Scale("source", *statistics))
    assert_same(again, scored)


def test_a_seed_gives_the_same_run_whatever_was_drawn_before() -> None:
    first = pretrain(windows(37), tiny(), seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        state = torch.get_rng_state()
        assert_same(pretrain(windows(37), tiny(), seed=1), first)
        assert torch.equal(torch.get_rng_state(), state)
    assert losses_of(pretrain(windows(37), tiny(), seed=2)) != losses_of(first)


def test_interrupted_and_continued_equals_uninterrupted() -> None:
    settings = tiny(pretrain__epochs=3)
    stored: list[bytes] = []
    kept: list[Checkpoint] = []

    def keep(checkpoint: Checkpoint) -> None:
        stored.append(checkpoint.to_bytes())
        kept.append(checkpoint)

    whole = pretrain(windows(37), settings, seed=1, on_epoch=keep)
    assert [checkpoint.epoch for checkpoint in kept] == [1, 2, 3]
    for after in (0, 1, 2):
        resumed = Checkpoint.from_bytes(stored[after])
        assert_same(pretrain(windows(37), settings, seed=1, resume=resumed), whole)
        # a checkpoint is not written into by the run that made it, nor by one that went on from it
        assert_same(kept[after], Checkpoint.from_bytes(stored[after]))
        assert_same(resumed, kept[after])


def test_a_longer_run_continues_a_shorter_one() -> None:
    shorter = pretrain(windows(37), tiny(pretrain__epochs=2), seed=1)
    longer = pretrain(windows(37), tiny(pretrain__epochs=4), seed=1, resume=shorter)
    assert_same(longer, pretrain(windows(37), tiny(pretrain__epochs=4), seed=1))


def test_steps_are_adam_with_coupled_weight_decay_on_the_joint_loss() -> None:
    settings = tiny(patchtst__dropout=0.0, pretrain__weight_decay=0.03, pretrain__batch_size=7)
    rows = windows(23)
    model = build_model(settings, AXES, LENGTH, seed=1)
    weights = list(model.parameters())
    adam = WrittenOutAdam(weights, learning_rate=3e-3, beta1=0.9, beta2=0.99, weight_decay=0.03)
    order = torch.randperm(23, generator=torch_stream(1, "shuffle", 0, 1))
    generator = torch_stream(1, "augment", 0, 1)
    totals = []
    for step in range(3):
        chosen = rows[order[7 * step : 7 * step + 7]]
        losses = model(draw_views(chosen, generator, spectrum=settings.spectrum, augment=settings.augment))
        adam.step(torch.autograd.grad(losses.total, weights))
        totals.append(losses.total.item())

    trained = pretrain(rows, settings, seed=1)

    for name, weight in model.named_parameters():
        torch.testing.assert_close(trained.model[name], weight.detach(), rtol=1e-4, atol=1e-5)
    assert losses_of(trained) == [pytest.approx(sum(totals) / 3, rel=1e-5)]


def test_every_epoch_draws_new_views_of_every_window_in_a_new_order(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Views] = []

    def spy(*args: Any, **kwargs: Any) -> Views:
        drawn.append(draw_views(*args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(pretraining, "draw_views", spy)
    rows = windows(33)
    before = rows.clone()
    pretrain(rows, tiny(pretrain__epochs=2), seed=1)
    assert torch.equal(rows, before)
    steps = 3
    epochs = [drawn[:steps], drawn[steps + 1 : 2 * steps + 1]]  # between them the look at the embedding
    seen = [Views(*(torch.cat(parts) for parts in zip(*epoch, strict=True))) for epoch in epochs]
    places = [[int((rows == window).all(dim=(1, 2)).nonzero()) for window in epoch.windows] for epoch in seen]
    assert sorted(places[0]) == sorted(places[1]) == list(range(33))
    assert places[0] != places[1]
    sorted_views = [
        epoch.augmented_windows[torch.tensor(place).argsort()] for epoch, place in zip(seen, places, strict=True)
    ]
    assert not any(torch.equal(one, other) for one, other in zip(*sorted_views, strict=True))
    watched = drawn[steps], drawn[2 * steps + 1]  # the same views every epoch, so that epochs compare
    assert all(torch.equal(one, other) for one, other in zip(*watched, strict=True))


def test_the_loss_falls_on_windows_with_structure() -> None:
    losses = losses_of(pretrain(windows(67), tiny(pretrain__epochs=12, pretrain__batch_size=31), seed=1))
    assert losses[-1] < losses[0] - 0.3


def test_each_epoch_is_recorded_with_losses_and_diagnostics() -> None:
    checkpoint = pretrain(windows(37), tiny(pretrain__epochs=2, tfc__contrastive_weight=0.3), seed=1)
    for number, record in enumerate(checkpoint.history, start=1):
        assert record["epoch"] == number
        assert all(map(math.isfinite, record.values()))
        weighted = 0.3 * (record["loss_time"] + record["loss_frequency"]) + 0.7 * record["loss_consistency"]
        assert record["loss"] == pytest.approx(weighted, rel=1e-5)
        assert 1 <= record["effective_rank_z"] <= 7
        assert 1 <= record["effective_rank_h"] <= 36
        assert -1 <= record["off_diagonal_cosine_z"] <= 1
        assert record["alignment"] > 0 > record["uniformity"]
        assert record["learning_rate"] == 3e-3
        assert record["seconds"] > record["waiting_seconds"] >= 0


def test_the_checkpoint_holds_the_time_encoder() -> None:
    settings = tiny()
    checkpoint = pretrain(windows(37), settings, seed=1)
    encoder = PatchTSTEncoder(LENGTH, **dict(settings.patchtst))
    encoder.load_state_dict(checkpoint.encoder())
    model = build_model(settings, AXES, LENGTH, seed=1)
    model.load_state_dict(checkpoint.model)
    assert torch.equal(encoder.eval()(windows(5)), model.eval().time_encoder(windows(5)))


def test_a_batch_larger_than_the_corpus_takes_all_of_it_and_one_window_is_refused() -> None:
    assert_same(pretrain(windows(5), tiny(pretrain__batch_size=5), seed=1), pretrain(windows(5), tiny(), seed=1))
    with pytest.raises(ValueError, match="at least 2 windows for each worker, got 1"):
        pretrain(windows(1), tiny(), seed=1)


@pytest.mark.parametrize("count", [37, 11], ids=["in a later step", "in the epoch's only step"])
def test_an_absurd_learning_rate_diverges_with_the_way_out(count: int) -> None:
    with pytest.raises(Diverged, match=r"lower pretrain\.learning_rate"):
        pretrain(windows(count), tiny(pretrain__learning_rate=1e30), seed=1)


def test_a_window_with_nan_diverges() -> None:
    rows = windows(37)
    rows[3, 1, 7] = math.nan
    with pytest.raises(Diverged, match="not finite in epoch 1"):
        pretrain(rows, tiny(pretrain__batch_size=37), seed=1)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes of one group computed."""
    folder = tmp_path_factory.mktemp("two_workers")
    torch.multiprocessing.spawn(one_of_two, (str(folder),), nprocs=WORKERS)
    return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(WORKERS)]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_workers_have_the_loss_and_the_gradients_of_one(workers: list[dict[str, Any]], objective: str) -> None:
    model = model_of(objective)
    alone = loss_and_gradients(model, model(global_views()))
    for worker in workers:
        assert worker[objective].keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(worker[objective][name], value, rtol=1e-5, atol=1e-5)


def test_a_gathered_row_gets_the_sum_of_what_all_workers_send_back(workers: list[dict[str, Any]]) -> None:
    sent = torch.arange(30.0).reshape(6, 5)  # by each of the two
    for rank, worker in enumerate(workers):
        gathered, beside = worker["gathered"]
        torch.testing.assert_close(gathered, 2 * sent[3 * rank : 3 * rank + 3])
        torch.testing.assert_close(beside, sent)


def test_two_workers_with_unequal_shards_stay_together(workers: list[dict[str, Any]]) -> None:
    first, second = (Checkpoint(**worker["trained"]) for worker in workers)
    assert all(torch.equal(first.model[name], second.model[name]) for name in first.model)
    assert losses_of(first) == losses_of(second)  # of the one global batch
    assert [worker["epochs reported"] for worker in workers] == [[1, 2], []]  # by the first worker alone
    steps = {int(state["step"]) for worker in workers for state in worker["trained"]["optimiser"]["state"].values()}
    assert steps == {2 * 3}


def test_local_negatives_leave_each_worker_its_own_loss(workers: list[dict[str, Any]]) -> None:
    first, second = (Checkpoint(**worker["local"]) for worker in workers)
    name = "time_encoder.patch_projection.weight"
    assert torch.equal(first.model[name], second.model[name])
    assert losses_of(first) != losses_of(second)
    assert not torch.equal(first.model[name], workers[0]["trained"]["model"][name])


def test_workers_must_divide_the_batch_and_have_two_windows_each(workers: list[dict[str, Any]]) -> None:
    for worker in workers:
        assert worker["odd batch"] == "pretrain.batch_size must be a multiple of the 2 workers, got 11"
        assert worker["one window"] == "pre-training needs at least 2 windows for each worker, got 1"
