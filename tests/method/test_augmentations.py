"""What each family of augmentations may and may not change."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from aar_ray.method import augmentations
from aar_ray.method.augmentations import (
    augment_spectra,
    augment_windows,
    crop,
    jitter,
    masking,
    perturbation,
    rotation,
    scaling,
    time_shift,
)

AXES, LENGTH, BINS = 3, 47, 23

TIME: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "jitter": lambda x, g: jitter(x, g, deviation=0.3),
    "scaling": lambda x, g: scaling(x, g, deviation=0.3),
    "time_shift": lambda x, g: time_shift(x, g, fraction=0.5),
    "crop": lambda x, g: crop(x, g, shortest=0.5),
    "rotation": lambda x, g: rotation(x, g, degrees=40.0),
}
FREQUENCY: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "perturbation": lambda x, g: perturbation(x, g, strength=0.3, share=0.2),
    "masking": lambda x, g: masking(x, g, share=0.2),
}
FAMILIES = {**TIME, **FREQUENCY}


def generator(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int) -> Tensor:
    """Positive, as spectra are, and not near zero, so that ratios are exact."""
    return 0.5 + torch.rand(shape, generator=generator(9), dtype=torch.float64)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_leaves_its_input_alone_and_repeats_itself_for_an_equal_generator(name: str) -> None:
    windows = draw(11, AXES, LENGTH)
    before = windows.clone()
    first = FAMILIES[name](windows, generator(1))
    assert torch.equal(windows, before)
    assert first.data_ptr() != windows.data_ptr()
    assert torch.equal(FAMILIES[name](windows, generator(1)), first)
    assert not torch.equal(first, windows)


@pytest.mark.parametrize("name", FAMILIES)
def test_strengths_differ_between_windows_and_between_draws(name: str) -> None:
    windows = draw(1, AXES, LENGTH).expand(13, -1, -1).clone()  # 13 equal windows
    rng = generator(1)
    first, second = FAMILIES[name](windows, rng), FAMILIES[name](windows, rng)
    assert len(first.flatten(1).unique(dim=0)) > 6
    assert sum(not torch.equal(a, b) for a, b in zip(first, second, strict=True)) > 6


@pytest.mark.parametrize("name", FAMILIES)
def test_no_window_at_all_is_no_error(name: str) -> None:
    assert FAMILIES[name](torch.empty(0, AXES, LENGTH), generator()).shape == (0, AXES, LENGTH)


def test_jitter_adds_normal_noise_of_the_given_deviation_to_every_sample() -> None:
    windows = draw(211, AXES, LENGTH)
    noise = jitter(windows, generator(), deviation=0.1) - windows
    count = noise.numel()
    assert abs(noise.mean()) < 5 * 0.1 / math.sqrt(count)
    assert abs(noise.std() - 0.1) < 5 * 0.1 / math.sqrt(2 * count)
    assert len(noise.unique()) == count
    assert (noise.abs() > 0.2).double().mean() == pytest.approx(0.0455, abs=0.006)  # normal tails


def test_scaling_multiplies_a_window_by_one_factor_that_the_axes_share() -> None:
    windows = draw(1009, AXES, LENGTH)
    factors = scaling(windows, generator(), deviation=0.15) / windows
    factor = factors[:, :1, :1]
    torch.testing.assert_close(factors, factor.expand_as(factors))  # directions stay
    assert factor.mean() == pytest.approx(1, abs=5 * 0.15 / math.sqrt(1009))
    assert factor.std() == pytest.approx(0.15, abs=5 * 0.15 / math.sqrt(2 * 1009))


def test_time_shift_turns_all_axes_alike_by_at_most_the_fraction_and_by_every_amount() -> None:
    sample = torch.arange(float(AXES * LENGTH)).reshape(1, AXES, LENGTH)
    shifted = time_shift(sample.expand(1009, -1, -1), generator(), fraction=0.25)
    turns = set()
    for window in shifted:
        first = int(window[0, 0])  # the sample that now comes first
        torch.testing.assert_close(window, sample[0].roll(-first, dims=-1), rtol=0, atol=0)
        turns.add(-first if first <= LENGTH // 2 else LENGTH - first)
    assert turns == set(range(-11, 12))  # floor(47 / 4) = 11, either way


def test_crop_of_a_ramp_is_a_ramp_over_the_stretch() -> None:
    start, rise = torch.tensor([-5.0, 0.0, 7.0]), torch.tensor([2.0, -1.0, 0.5])
    ramp = (start[:, None] + rise[:, None] * torch.arange(LENGTH)).double()
    cropped = crop(ramp.expand(1009, -1, -1), generator(), shortest=0.3)
    steps = cropped.diff(dim=-1)
    torch.testing.assert_close(steps, steps[..., :1].expand_as(steps))
    place = (cropped - start[:, None]) / rise[:, None]  # where in the original each sample was taken
    torch.testing.assert_close(place, place[:, :1].expand_as(place))  # the axes share the stretch
    first, last = place[:, 0, 0], place[:, 0, -1]
    end = LENGTH - 1
    assert first.min() >= -1e-9
    assert last.max() <= end + 1e-9
    span = (last - first) / end
    assert 0.3 <= span.min() < 0.31  # down to the shortest, up to everything
    assert 0.99 < span.max() <= 1
    slack = first / (end - (last - first))  # anywhere in what is left
    assert slack.min() < 0.02
    assert slack.max() > 0.98


def test_a_crop_of_everything_is_the_window() -> None:
    windows = draw(7, AXES, LENGTH)
    torch.testing.assert_close(crop(windows, generator(), shortest=1.0), windows)


def test_rotation_keeps_lengths_and_angles_and_turns_by_at_most_the_bound() -> None:
    windows = draw(1009, AXES, LENGTH)
    turned = rotation(windows, generator(), degrees=40.0)
    torch.testing.assert_close(turned.transpose(1, 2) @ turned, windows.transpose(1, 2) @ windows)
    # one rotation a window: its matrix has determinant 1 and trace 1 + 2 cos(angle)
    matrices = rotation(torch.eye(3, dtype=torch.float64).expand(1009, -1, -1), generator(), degrees=40.0)
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(1009, dtype=torch.float64))
    angles = ((matrices.diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2).clamp(-1, 1).acos().rad2deg()
    assert angles.max() <= 40 + 1e-6
    assert angles.max() > 39
    assert angles.mean() == pytest.approx(20, abs=5 * 40 / math.sqrt(12 * 1009))
    # about every direction: the axis of rotation has no preferred side
    axes = torch.stack([matrices[:, 2, 1] - matrices[:, 1, 2], matrices[:, 0, 2] - matrices[:, 2, 0]], dim=1)
    assert axes.sign().mean(dim=0).abs().max() < 5 / math.sqrt(1009)


def test_perturbation_only_adds_to_the_share_of_the_bins_up_to_the_windows_own_maximum() -> None:
    spectra = draw(211, AXES, BINS) * torch.logspace(-3, 3, 211, dtype=torch.float64)[:, None, None]
    added = perturbation(spectra, generator(), strength=0.3, share=0.2) - spectra
    assert ((added != 0).sum(dim=-1) == 5).all()  # round(0.2 * 23)
    assert (added >= 0).all()
    relative = added.amax(dim=(1, 2)) / spectra.amax(dim=(1, 2))
    assert relative.max() <= 0.3
    assert relative.max() > 0.29
    assert relative.min() > 0.1  # of its own maximum, not of the batch's


def test_masking_zeroes_the_share_of_the_bins_and_leaves_the_others() -> None:
    spectra = draw(211, AXES, BINS)
    masked = masking(spectra, generator(), share=0.2)
    zeroed = masked == 0
    assert (zeroed.sum(dim=-1) == 5).all()
    assert torch.equal(masked[~zeroed], spectra[~zeroed])
    assert zeroed.any(dim=0).all()  # every bin of every axis at some time


def test_a_share_below_one_bin_still_takes_one() -> None:
    assert ((masking(draw(7, AXES, BINS), generator(), share=0.01) == 0).sum(dim=-1) == 1).all()


STRENGTHS = {
    "jitter": {"deviation": 0.11},
    "scaling": {"deviation": 0.13},
    "time_shift": {"fraction": 0.17},
    "crop": {"shortest": 0.19},
    "rotation": {"degrees": 23.0, "axis": "y"},
    "perturbation": {"strength": 0.29, "share": 0.31},
    "masking": {"share": 0.37},
}


@pytest.fixture
def families_that_count(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Each family only multiplies by a number of its own, and wants exactly its own strengths."""
    factors = {name: float(number) for number, name in enumerate(STRENGTHS, start=2)}

    def stand_in(name: str) -> Callable[..., Tensor]:
        def family(windows: Tensor, rng: Generator, **strengths: Any) -> Tensor:
            assert strengths == STRENGTHS[name]
            return windows * factors[name]

        return family

    for name in STRENGTHS:
        monkeypatch.setattr(augmentations, name, stand_in(name))
    return factors


def families_drawn(augmented: Tensor, windows: Tensor, factors: dict[str, float]) -> dict[str, int]:
    """How many windows each family was drawn for; every window is its own original under one family."""
    factor = (augmented / windows).flatten(1)
    torch.testing.assert_close(factor, factor[:, :1].expand_as(factor))
    counts = {name: int((factor[:, 0] - value).abs().lt(1e-9).sum()) for name, value in factors.items()}
    assert sum(counts.values()) == len(windows)
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("listed", [tuple(TIME), ("jitter", "crop"), ("rotation",), ("time_shift", "scaling", "crop")])
def test_each_window_gets_one_of_the_listed_time_families_with_equal_chances(
    listed: tuple[str, ...], families_that_count: dict[str, float]
) -> None:
    windows = draw(1009, AXES, 5)
    augmented = augment_windows(
        windows,
        generator(),
        time_families=listed,
        jitter_deviation=0.11,
        scaling_deviation=0.13,
        shift_fraction=0.17,
        crop_fraction=0.19,
        rotation_degrees=23.0,
        rotation_axis="y",
    )
    drawn = families_drawn(augmented, windows, families_that_count)
    assert set(drawn) == set(listed)
    assert all(count == pytest.approx(1009 / len(listed), abs=5 * math.sqrt(1009 / 4)) for count in drawn.values())


@pytest.mark.parametrize("listed", [tuple(FREQUENCY), ("masking",), ("perturbation",)])
def test_each_spectrum_gets_one_of_the_listed_frequency_families_with_equal_chances(
    listed: tuple[str, ...], families_that_count: dict[str, float]
) -> None:
    spectra = draw(1009, AXES, 5)
    augmented = augment_spectra(
        spectra,
        generator(),
        frequency_families=listed,
        perturbation_strength=0.29,
        perturbed_share=0.31,
        masked_share=0.37,
    )
    drawn = families_drawn(augmented, spectra, families_that_count)
    assert set(drawn) == set(listed)
    assert all(count == pytest.approx(1009 / len(listed), abs=5 * math.sqrt(1009 / 4)) for count in drawn.values())
