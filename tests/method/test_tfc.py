"""TF-C put together: which view meets which in each loss, where gradients go, awkward numbers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from aar_ray import config
from aar_ray.method.losses import consistency_loss, contrastive_loss
from aar_ray.method.spectrum import magnitude_spectrum
from aar_ray.method.tfc import TFCModel, Views, draw_views

AXES, LENGTH, BATCH = 3, 23, 11

ENCODER = {
    "patch_length": 5,
    "patch_stride": 3,
    "model_size": 14,
    "layers": 1,
    "heads": 2,
    "feedforward_size": 13,
    "dropout": 0.0,
}


def build(*, spectrum: config.Spectrum | None = None, encoder: dict[str, Any] | None = None, **tfc: Any) -> TFCModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return TFCModel(
            AXES,
            LENGTH,
            patchtst=config.PatchTST(**{**ENCODER, **(encoder or {})}),
            tfc=config.TFC(projector_hidden=17, projector_size=7, **tfc),
            spectrum=spectrum or config.Spectrum(),
        )


def draw(batch: int = BATCH, seed: int = 0) -> Tensor:
    return torch.randn(batch, AXES, LENGTH, generator=torch.Generator().manual_seed(seed))


def views_of(windows: Tensor, *, spectrum: config.Spectrum | None = None, **augment: Any) -> Views:
    return draw_views(
        windows,
        torch.Generator().manual_seed(1),
        spectrum=spectrum or config.Spectrum(),
        augment=config.Augment(**augment),
    )


@pytest.mark.parametrize("sides", ["one", "two"])
@pytest.mark.parametrize("scale", ["linear", "log1p"])
def test_the_frequency_view_is_the_augmented_spectrum_of_the_original_window(sides: str, scale: str) -> None:
    windows, spectrum = draw(), config.Spectrum(sides=sides, scale=scale)
    views = views_of(windows, spectrum=spectrum, frequency_families=("masking",), masked_share=0.3)
    expected = magnitude_spectrum(windows, sides=sides, scale=scale)
    assert torch.equal(views.windows, windows)
    assert torch.equal(views.spectra, expected)
    kept = views.augmented_spectra != 0
    assert torch.equal(views.augmented_spectra[kept], expected[kept])  # not those of the augmented windows
    assert not torch.equal(views.augmented_windows, windows)
    assert views.augmented_windows.shape == windows.shape


CHANGED_AUGMENTATIONS = {
    "time_families": ("crop", "rotation"),
    "jitter_deviation": 0.7,
    "scaling_deviation": 0.7,
    "shift_fraction": 0.1,
    "crop_fraction": 0.9,
    "rotation_degrees": 77.0,
    "rotation_axis": "z",
    "rotate_first": True,
    "frequency_families": ("masking",),
    "perturbation_strength": 0.7,
    "perturbed_share": 0.5,
    "masked_share": 0.5,
}


@pytest.mark.parametrize("name", CHANGED_AUGMENTATIONS)
def test_every_augmentation_setting_changes_its_view_and_no_other(name: str) -> None:
    families = {"time_families": ("jitter", "scaling", "time_shift", "crop", "rotation")}
    before = views_of(draw(37), **families)
    after = views_of(draw(37), **{**families, name: CHANGED_AUGMENTATIONS[name]})
    changed = [view for view, a, b in zip(Views._fields, before, after, strict=True) if not torch.equal(a, b)]
    frequency = name in ("frequency_families", "perturbation_strength", "perturbed_share", "masked_share")
    assert ("augmented_spectra" if frequency else "augmented_windows") in changed
    assert set(changed) <= {"augmented_windows", "augmented_spectra"}
    assert set(CHANGED_AUGMENTATIONS) == set(config.Augment.model_fields)


SMALL_MARGIN = {"margin": 0.01}  # so that some terms of eq. 3 are negative and the hinge is at work
TFC_SETTINGS: list[dict[str, Any]] = [
    {},
    {"contrastive_weight": 0.3},
    {"margin": 1.3},
    {"temperature": 1.7},
    {"contrastive_form": "nt_xent"},
    {"anchors": "both"},
    {"margin_form": "linear"},
    {"distance": "euclidean"},
    {"alignment_weight": 0.7},
]


@pytest.mark.parametrize("changes", TFC_SETTINGS, ids=str)
def test_each_loss_compares_the_views_that_its_equation_names(changes: dict[str, Any]) -> None:
    model, views = build(**(SMALL_MARGIN | changes)), views_of(draw())
    tfc = model.tfc
    # without dropout and with layer norm each view may be encoded by itself; batch norm sees a domain's two views
    h_t, h_T, h_f, h_F = (  # noqa: N806
        encoder(view).mean(dim=2).flatten(1)
        for encoder, view in zip([model.time_encoder] * 2 + [model.frequency_encoder] * 2, views, strict=True)
    )
    z_time = model.time_projector(torch.cat([h_t, h_T]))
    z_frequency = model.frequency_projector(torch.cat([h_f, h_F]))
    z_t, z_T, z_f, z_F = z_time[:BATCH], z_time[BATCH:], z_frequency[:BATCH], z_frequency[BATCH:]  # noqa: N806
    contrast = {"temperature": tfc.temperature, "contrastive_form": tfc.contrastive_form, "anchors": tfc.anchors}
    time = contrastive_loss(h_t, h_T, **contrast)
    frequency = contrastive_loss(h_f, h_F, **contrast)
    consistency = consistency_loss(
        z_t, z_T, z_f, z_F, margin=tfc.margin, margin_form=tfc.margin_form, distance=tfc.distance
    )
    align = contrastive_loss(z_t, z_f, temperature=tfc.temperature, contrastive_form="nt_xent", anchors="both")

    losses = model(views)

    torch.testing.assert_close(losses.time, time)
    torch.testing.assert_close(losses.frequency, frequency)
    torch.testing.assert_close(losses.consistency, consistency)
    weight = tfc.contrastive_weight
    total = weight * (time + frequency) + (1 - weight) * consistency + tfc.alignment_weight * align
    torch.testing.assert_close(losses.total, total)


@pytest.mark.parametrize("changes", TFC_SETTINGS[1:], ids=str)
def test_every_setting_of_the_objective_changes_its_value(changes: dict[str, Any]) -> None:
    views = views_of(draw())
    assert abs(build(**(SMALL_MARGIN | changes))(views).total - build(**SMALL_MARGIN)(views).total) > 1e-4


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_joint_loss_reaches_each_term_and_each_network_wherever_its_weight_is(weight: float) -> None:
    model = build(contrastive_weight=weight)
    losses = model(views_of(draw()))
    terms = (losses.time, losses.frequency, losses.consistency)
    passed = torch.autograd.grad(losses.total, terms, retain_graph=True)
    torch.testing.assert_close(torch.stack(passed), torch.tensor([weight, weight, 1 - weight]))

    losses.total.backward()

    def reached(network: torch.nn.Module) -> bool:
        return any(p.grad is not None and p.grad.abs().max() > 1e-6 for p in network.parameters())

    assert reached(model.time_encoder)
    assert reached(model.frequency_encoder)
    assert reached(model.time_projector) == (weight < 1)
    assert reached(model.frequency_projector) == (weight < 1)


def test_the_two_domains_have_encoders_and_projectors_of_their_own() -> None:
    model = build()
    pairs = ((model.time_encoder, model.frequency_encoder), (model.time_projector, model.frequency_projector))
    for one, other in pairs:
        assert not set(map(id, one.parameters())) & set(map(id, other.parameters()))
    assert model.frequency_encoder.patches == (LENGTH // 2 + 1 - 5) // 3 + 2
    assert build(spectrum=config.Spectrum(sides="two")).frequency_encoder.patches == (LENGTH - 5) // 3 + 2


def test_pooling_takes_the_mean_over_patches_with_the_axes_concatenated_or_every_token() -> None:
    windows = draw()
    model = build()
    tokens = model.time_encoder(windows)  # [11, 3, 8, 14]
    mean = model.embed(model.time_encoder, windows)
    assert mean.shape == (BATCH, AXES * 14)
    torch.testing.assert_close(mean[:, 14:28], tokens[:, 1].mean(dim=1))  # the second axis' D values
    flat = build(pooling="flatten")
    every = flat.embed(flat.time_encoder, windows)
    torch.testing.assert_close(every, tokens.reshape(BATCH, -1))
    assert flat(views_of(windows)).total.isfinite()


@pytest.mark.parametrize("normalisation", ["layer", "batch"])
def test_in_evaluation_an_embedding_does_not_depend_on_its_batch(normalisation: str) -> None:
    model = build(encoder={"normalisation": normalisation}).eval()
    windows = draw()
    alone = torch.cat([model.embed(model.time_encoder, windows[i : i + 1]) for i in range(BATCH)])
    torch.testing.assert_close(model.embed(model.time_encoder, windows), alone)
    torch.testing.assert_close(model.time_projector(alone)[:1], model.time_projector(alone[:1]))


def test_permuting_the_batch_keeps_the_loss() -> None:
    model, views = build(alignment_weight=0.3), views_of(draw())
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(model(Views(*(view[order] for view in views))).total, model(views).total)


def test_gathering_the_other_workers_rows_gives_the_loss_of_the_whole_batch() -> None:
    model, views = build(alignment_weight=0.3), views_of(draw(10))
    halves = [Views(*(view[part] for view in views)) for part in (slice(0, 5), slice(5, 10))]
    sent: list[Tensor] = []
    model(halves[1], lambda rows: sent.append(rows) or rows)  # type: ignore[func-returns-value]
    others = iter(sent)
    gathered = model(halves[0], lambda rows: torch.cat([rows, next(others)]))
    torch.testing.assert_close(gathered.total, model(views).total)
    assert abs(model(halves[0]).total - gathered.total) > 1e-3


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["random", "zero", "constant", "huge"])
@pytest.mark.parametrize("batch", [2, 67])
def test_losses_and_gradients_are_finite_for_awkward_windows(batch: int, kind: str, half: bool) -> None:
    windows = {
        "random": draw(batch),
        "zero": torch.zeros(batch, AXES, LENGTH),  # all-zero spectra too
        "constant": torch.ones(batch, AXES, LENGTH),
        "huge": 1e4 * draw(batch),
    }[kind]
    for temperature, distance in itertools.product((0.01, 10.0), ("cosine", "euclidean")):
        model = build(temperature=temperature, distance=distance, alignment_weight=0.3)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            losses = model(views_of(windows))
        losses.total.backward()
        assert losses.total.dtype == torch.float32
        assert losses.total.isfinite()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
