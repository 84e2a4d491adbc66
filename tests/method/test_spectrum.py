"""Spectra against the Fourier sum."""

from __future__ import annotations

import cmath
import math

import pytest
import torch

from aar_ray.method.spectrum import magnitude_spectrum, spectrum_bins


def fourier_magnitudes(series: list[float]) -> list[float]:
    """|sum over n of x_n exp(-2 pi i k n / L)| / sqrt(L) for every k."""
    length = len(series)
    return [
        abs(sum(x * cmath.exp(-2j * math.pi * k * n / length) for n, x in enumerate(series))) / math.sqrt(length)
        for k in range(length)
    ]


@pytest.fixture(params=[22, 23], ids=["even", "odd"])
def windows(request: pytest.FixtureRequest) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(2, 3, request.param, generator=generator, dtype=torch.float64)


def test_two_sided_is_the_fourier_sum(windows: torch.Tensor) -> None:
    expected = [[fourier_magnitudes(axis) for axis in window] for window in windows.tolist()]
    torch.testing.assert_close(magnitude_spectrum(windows, sides="two"), torch.tensor(expected, dtype=torch.float64))


def test_one_sided_is_the_first_half_and_the_second_half_mirrors_it(windows: torch.Tensor) -> None:
    one, two = magnitude_spectrum(windows), magnitude_spectrum(windows, sides="two")
    length = windows.shape[-1]
    assert one.shape[-1] == spectrum_bins(length, "one") == length // 2 + 1
    assert two.shape[-1] == spectrum_bins(length, "two") == length
    torch.testing.assert_close(one, two[..., : length // 2 + 1])
    torch.testing.assert_close(two[..., 1:], two[..., 1:].flip(-1))


def test_energy_is_kept_and_a_circular_shift_changes_nothing(windows: torch.Tensor) -> None:
    two = magnitude_spectrum(windows, sides="two")
    torch.testing.assert_close(two.square().sum(dim=-1), windows.square().sum(dim=-1))
    torch.testing.assert_close(magnitude_spectrum(windows.roll(5, dims=-1)), magnitude_spectrum(windows))


@pytest.mark.parametrize("sides", ["one", "two"])
def test_log1p_is_the_logarithm_of_one_plus_the_magnitude(windows: torch.Tensor, sides: str) -> None:
    linear = magnitude_spectrum(windows, sides=sides, scale="linear")
    torch.testing.assert_close(magnitude_spectrum(windows, sides=sides, scale="log1p"), (1 + linear).log())


def test_a_constant_window_has_its_first_bin_only() -> None:
    spectrum = magnitude_spectrum(torch.full((1, 3, 50), -0.7, dtype=torch.float64))
    assert spectrum[0, 0, 0].item() == pytest.approx(0.7 * math.sqrt(50))
    assert spectrum[..., 1:].abs().max() < 1e-12
    assert magnitude_spectrum(torch.zeros(1, 3, 50)).count_nonzero() == 0
