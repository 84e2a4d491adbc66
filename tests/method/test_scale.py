"""The z-score on the way to the model equals the one of the corpus, and a rotation turns what is in g."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aar_ray.config import Augment, Spectrum
from aar_ray.corpus.normalise import statistics_of, zscore, zscore_windows
from aar_ray.method.augmentations import augment_windows
from aar_ray.method.scale import Scale
from aar_ray.method.tfc import draw_views

STRENGTHS: dict[str, Any] = {
    "jitter_deviation": 0.1,
    "scaling_deviation": 0.15,
    "shift_fraction": 0.5,
    "crop_fraction": 0.5,
    "rotation_degrees": 180.0,
}


def in_g(count: int = 7, seed: int = 0) -> Tensor:
    """Windows of unlike axes: gravity on z, most movement on x."""
    draw = torch.randn(count, 3, 11, generator=torch.Generator().manual_seed(seed))
    return draw * torch.tensor([0.5, 0.1, 0.2])[:, None] + torch.tensor([0.1, 0.0, -0.9])[:, None]


def scale_of(windows: Tensor) -> Scale:
    found = statistics_of(windows.numpy())
    mean, deviation = (torch.tensor(part, dtype=torch.float32) for part in (found.mean, found.deviation))
    return Scale("source", mean.expand(len(windows), 3), deviation.expand(len(windows), 3))


def test_windows_of_one_source_are_scored_as_the_labelled_ones_are() -> None:
    windows = in_g()
    expected = zscore(windows.numpy(), statistics_of(windows.numpy()))
    np.testing.assert_array_equal(scale_of(windows)(windows).numpy(), expected)


def test_windows_by_themselves_are_scored_as_the_labelled_ones_are() -> None:
    windows = in_g()
    np.testing.assert_allclose(Scale("window")(windows).numpy(), zscore_windows(windows.numpy()), rtol=1e-6)


def test_each_window_has_the_statistics_of_its_row() -> None:
    windows = in_g(5)
    mean, deviation = in_g(5, seed=1)[:, :, 0], in_g(5, seed=2)[:, :, 0].abs() + 0.5
    rows = torch.tensor([3, 0])
    expected = torch.stack([(windows[row] - mean[row][:, None]) / deviation[row][:, None] for row in rows])
    torch.testing.assert_close(Scale("recording", mean, deviation).of(rows)(windows[rows]), expected)


def test_a_constant_axis_is_scored_0() -> None:
    windows = in_g()
    windows[:, 1] = 0.98
    for scale in (scale_of(windows), Scale("window")):
        scored = scale(windows)
        assert torch.equal(scored[:, 1], torch.zeros(7, 11))
        assert scored.isfinite().all()


def test_an_axis_that_hardly_varies_is_scored_0_whatever_its_mean() -> None:
    windows = in_g()
    windows[:, 1] = 0.98 + 1e-7 * torch.arange(11.0)
    mean, deviation = torch.full((7, 3), 0.9), torch.tensor([0.4, 3e-7, 0.2]).expand(7, 3)
    assert torch.equal(Scale("recording", mean, deviation)(windows)[:, 1], torch.zeros(7, 11))
    assert torch.equal(Scale("window")(windows)[:, 1], torch.zeros(7, 11))


def test_what_is_scored_comes_back_to_g() -> None:
    windows = in_g()
    scale = scale_of(windows)
    torch.testing.assert_close(scale.unscored(scale(windows)), windows, rtol=1e-5, atol=1e-6)


def unscored(scored: Tensor, scale: Scale) -> Tensor:
    assert scale.mean is not None
    assert scale.deviation is not None
    return scored * scale.deviation[..., None] + scale.mean[..., None]


@pytest.mark.parametrize("axis", ["any", "x", "y", "z"])
def test_a_rotation_keeps_lengths_in_g_and_not_of_scored_axes(axis: Any) -> None:
    windows = in_g(31)
    scale = scale_of(windows)
    generator = torch.Generator().manual_seed(1)
    turned = augment_windows(
        windows, generator, time_families=["rotation"], rotation_axis=axis, scale=scale, **STRENGTHS
    )
    raw = unscored(turned, scale)
    torch.testing.assert_close(raw.norm(dim=1), windows.norm(dim=1), rtol=1e-4, atol=1e-5)
    assert (turned.norm(dim=1) - scale(windows).norm(dim=1)).abs().max() > 0.5
    if axis != "any":
        kept = "xyz".index(axis)
        torch.testing.assert_close(raw[:, kept], windows[:, kept], rtol=1e-4, atol=1e-5)
        first, second = (other for other in range(3) if other != kept)
        before, after = (torch.complex(each[:, first], each[:, second]) for each in (windows, raw))
        turn = after * before.conj() / before.abs().square()
        torch.testing.assert_close(turn, turn[:, :1].expand_as(turn), rtol=1e-3, atol=1e-3)  # one a window
        assert turn[:, 0].angle().min() < -1 < 1 < turn[:, 0].angle().max()  # either way


def test_a_turned_window_of_scope_window_is_scored_by_its_own_statistics() -> None:
    generator = torch.Generator().manual_seed(1)
    turned = augment_windows(in_g(), generator, time_families=["rotation"], scale=Scale("window"), **STRENGTHS)
    torch.testing.assert_close(turned.mean(dim=-1), torch.zeros(7, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(turned.std(dim=-1, unbiased=False), torch.ones(7, 3))


def test_with_rotate_first_every_window_is_turned_in_g_and_then_changed() -> None:
    windows = in_g(31)
    scale = scale_of(windows)
    given: dict[str, Any] = {"time_families": ["time_shift"], "rotation_axis": "z", "scale": scale, **STRENGTHS}
    first = augment_windows(windows, torch.Generator().manual_seed(1), rotate_first=True, **given)
    # a circular shift keeps each sample, so lengths and z come back in another order
    raw = unscored(first, scale)
    for before, after in ((windows[:, 2], raw[:, 2]), (windows.norm(dim=1), raw.norm(dim=1))):
        torch.testing.assert_close(after.sort(dim=-1).values, before.sort(dim=-1).values, rtol=1e-4, atol=1e-5)
    unturned = (raw[:, 0].sort(dim=-1).values - windows[:, 0].sort(dim=-1).values).abs().amax(dim=-1)
    assert (unturned > 1e-3).all()


@pytest.mark.parametrize("family", ["jitter", "scaling", "time_shift", "crop"])
def test_all_other_families_change_the_scored_windows(family: str) -> None:
    windows = in_g()
    scale = scale_of(windows)
    one, other = (
        augment_windows(given, torch.Generator().manual_seed(1), time_families=[family], scale=by, **STRENGTHS)
        for given, by in ((windows, scale), (scale(windows), None))
    )
    assert torch.equal(one, other)


def test_views_of_windows_in_g_are_those_of_scored_windows() -> None:
    windows = in_g()
    scale = scale_of(windows)
    settings = {"spectrum": Spectrum(), "augment": Augment()}
    one = draw_views(windows, torch.Generator().manual_seed(1), scale=scale, **settings)
    other = draw_views(scale(windows), torch.Generator().manual_seed(1), **settings)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))
