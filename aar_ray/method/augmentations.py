"""Augmented views of windows and spectra: one family a window, strengths drawn anew for each window and step.

The paper names the families (jittering, scaling, time shifting, cropping; spectral perturbation and masking) and no
strengths; the defaults in `config.Augment` are ours. Every function returns a new tensor and draws from the generator
that it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from aar_ray.method.scale import Scale

Windows = Float[Tensor, "batch axes length"]
Family = Callable[[Tensor], Windows]
"""From the numbers of the windows that drew it to their augmented views."""
RotationAxis = Literal["any", "x", "y", "z"]


def augment_windows(
    windows: Windows,
    generator: Generator,
    *,
    time_families: Sequence[str],
    jitter_deviation: float,
    scaling_deviation: float,
    shift_fraction: float,
    crop_fraction: float,
    rotation_degrees: float,
    rotation_axis: RotationAxis = "any",
    rotate_first: bool = False,
    scale: Scale | None = None,
) -> Windows:
    """x^T: for each window one of `time_families`, drawn with equal chances; with `rotate_first` on a turned window.

    Args:
        windows: in g with a `scale`, or else z-scored.
        generator: of every draw.
        scale: their z-score. Only `rotation` sees windows in g, since z-scored axes are of different units: all other
            families change the scored ones. Without it `rotation` turns the windows as they are.

    Returns:
        Scored windows.
    """
    if rotate_first:
        windows = rotation(windows, generator, degrees=rotation_degrees, axis=rotation_axis)
    scored = scale(windows) if scale else windows

    def turned(rows: Tensor) -> Windows:
        raw = rotation(windows[rows], generator, degrees=rotation_degrees, axis=rotation_axis)
        return scale.of(rows)(raw) if scale else raw

    families: dict[str, Family] = {
        "jitter": lambda rows: jitter(scored[rows], generator, deviation=jitter_deviation),
        "scaling": lambda rows: scaling(scored[rows], generator, deviation=scaling_deviation),
        "time_shift": lambda rows: time_shift(scored[rows], generator, fraction=shift_fraction),
        "crop": lambda rows: crop(scored[rows], generator, shortest=crop_fraction),
        "rotation": turned,
    }
    return _one_family_each(scored, generator, [families[name] for name in time_families])


def augment_spectra(
    spectra: Windows,
    generator: Generator,
    *,
    frequency_families: Sequence[str],
    perturbation_strength: float,
    perturbed_share: float,
    masked_share: float,
) -> Windows:
    """x^F: for each spectrum one of `frequency_families`, drawn with equal chances."""
    families: dict[str, Family] = {
        "perturbation": lambda rows: perturbation(
            spectra[rows], generator, strength=perturbation_strength, share=perturbed_share
        ),
        "masking": lambda rows: masking(spectra[rows], generator, share=masked_share),
    }
    return _one_family_each(spectra, generator, [families[name] for name in frequency_families])


def jitter(windows: Windows, generator: Generator, *, deviation: float) -> Windows:
    """Add normal noise of the given standard deviation to every sample."""
    return windows + deviation * _normal(windows.shape, windows, generator)


def scaling(windows: Windows, generator: Generator, *, deviation: float) -> Windows:
    """Multiply a window by one factor from N(1, deviation), the same for its axes: directions stay as they are."""
    return windows * (1 + deviation * _normal((len(windows), 1, 1), windows, generator))


def time_shift(windows: Windows, generator: Generator, *, fraction: float) -> Windows:
    """Turn a window circularly by up to `fraction` of its length, either way, all axes alike."""
    length = windows.shape[-1]
    most = math.floor(fraction * length)
    shift = torch.randint(-most, most + 1, (len(windows), 1), generator=generator, device=windows.device)
    index = (torch.arange(length, device=windows.device) - shift) % length
    return windows.gather(-1, index[:, None].expand_as(windows))


def crop(windows: Windows, generator: Generator, *, shortest: float) -> Windows:
    """Keep a stretch of `shortest` to all of a window and resize it to L by linear interpolation."""
    last = windows.shape[-1] - 1
    span = last * (shortest + (1 - shortest) * _uniform((len(windows), 1), windows, generator))
    start = (last - span) * _uniform((len(windows), 1), windows, generator)
    position = start + span * torch.linspace(0, 1, last + 1, device=windows.device, dtype=windows.dtype)
    left = position.floor().clamp(0, max(last - 1, 0)).long()
    share = (position - left)[:, None]
    left = left[:, None].expand_as(windows)
    return windows.gather(-1, left) * (1 - share) + windows.gather(-1, (left + 1).clamp(max=last)) * share


def rotation(windows: Windows, generator: Generator, *, degrees: float, axis: RotationAxis = "any") -> Windows:
    """Turn a window in g by up to `degrees` either way: a collar that has slipped.

    Not in the paper. Rodrigues' formula, x cos a + (k × x) sin a + k (k·x)(1 - cos a), with k a random direction for
    each window or one of the sensor's axes.
    """
    if axis == "any":
        k = torch.nn.functional.normalize(_normal((len(windows), 3, 1), windows, generator), dim=1)
    else:
        unit = torch.eye(3, device=windows.device, dtype=windows.dtype)["xyz".index(axis)]
        k = unit[:, None].expand(len(windows), 3, 1)
    angle = math.radians(degrees) * (2 * _uniform((len(windows), 1, 1), windows, generator) - 1)
    cross = torch.linalg.cross(k.expand_as(windows), windows, dim=1)
    along = k * (k * windows).sum(dim=1, keepdim=True)
    return windows * angle.cos() + cross * angle.sin() + along * (1 - angle.cos())


def perturbation(spectra: Windows, generator: Generator, *, strength: float, share: float) -> Windows:
    """Add to `share` of each axis' bins up to `strength` times the window's own largest magnitude."""
    largest = spectra.amax(dim=(-1, -2), keepdim=True)
    addition = strength * largest * _uniform(spectra.shape, spectra, generator)
    return torch.where(_some_bins(spectra, generator, share), spectra + addition, spectra)


def masking(spectra: Windows, generator: Generator, *, share: float) -> Windows:
    """Set `share` of each axis' bins to zero."""
    return spectra.masked_fill(_some_bins(spectra, generator, share), 0.0)


def _one_family_each(windows: Windows, generator: Generator, families: Sequence[Family]) -> Windows:
    drawn = torch.randint(len(families), (len(windows),), generator=generator, device=windows.device)
    augmented = torch.empty_like(windows)
    for number, family in enumerate(families):
        rows = (drawn == number).nonzero().squeeze(1)
        augmented[rows] = family(rows)
    return augmented


def _some_bins(spectra: Windows, generator: Generator, share: float) -> Tensor:
    """True at a random `share` of each axis' bins, at least one."""
    count = max(1, round(share * spectra.shape[-1]))
    order = _uniform(spectra.shape, spectra, generator).argsort(dim=-1)
    return torch.zeros_like(spectra, dtype=torch.bool).scatter(-1, order[..., :count], True)


def _normal(shape: Sequence[int], like: Tensor, generator: Generator) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, device=like.device, dtype=like.dtype)


def _uniform(shape: Sequence[int], like: Tensor, generator: Generator) -> Tensor:
    return torch.rand(tuple(shape), generator=generator, device=like.device, dtype=like.dtype)
