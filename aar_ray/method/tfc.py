"""TF-C: two encoders, two projectors, one joint loss (paper, figure 1, stage 1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from aar_ray import config
from aar_ray.method.augmentations import augment_spectra, augment_windows
from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.method.layers import Linear
from aar_ray.method.losses import Losses, consistency_loss, contrastive_loss, joint_loss
from aar_ray.method.scale import Scale
from aar_ray.method.spectrum import magnitude_spectrum, spectrum_bins

Embeddings = Float[Tensor, "batch size"]
Projections = Float[Tensor, "batch projected"]
Gather = Callable[[Tensor], Tensor]


class Views(NamedTuple):
    """x^t, x^T, x^f and x^F of the same windows, row by row."""

    windows: Float[Tensor, "batch axes length"]
    augmented_windows: Float[Tensor, "batch axes length"]
    spectra: Float[Tensor, "batch axes bins"]
    augmented_spectra: Float[Tensor, "batch axes bins"]


def draw_views(
    windows: Float[Tensor, "batch axes length"],
    generator: Generator,
    *,
    spectrum: config.Spectrum,
    augment: config.Augment,
    scale: Scale | None = None,
) -> Views:
    """The four views of a batch; x^F is the augmented spectrum of the original window.

    Args:
        windows: in g with a `scale`, which is their z-score, or else z-scored.
        generator: of every draw.
        spectrum, augment: those sections of the settings.
    """
    scored = scale(windows) if scale else windows
    spectra = magnitude_spectrum(scored, **dict(spectrum))
    return Views(
        scored,
        augment_windows(
            windows,
            generator,
            time_families=augment.time_families,
            jitter_deviation=augment.jitter_deviation,
            scaling_deviation=augment.scaling_deviation,
            shift_fraction=augment.shift_fraction,
            crop_fraction=augment.crop_fraction,
            rotation_degrees=augment.rotation_degrees,
            rotation_axis=augment.rotation_axis,
            rotate_first=augment.rotate_first,
            scale=scale,
        ),
        spectra,
        augment_spectra(
            spectra,
            generator,
            frequency_families=augment.frequency_families,
            perturbation_strength=augment.perturbation_strength,
            perturbed_share=augment.perturbed_share,
            masked_share=augment.masked_share,
        ),
    )


class TFCModel(nn.Module):
    """E_T, E_F, R_T and R_F; a forward pass gives the joint loss of a batch of views."""

    def __init__(
        self, axes: int, window_length: int, *, patchtst: config.PatchTST, tfc: config.TFC, spectrum: config.Spectrum
    ) -> None:
        super().__init__()
        self.tfc = tfc
        self.time_encoder = PatchTSTEncoder(window_length, **dict(patchtst))
        self.frequency_encoder = PatchTSTEncoder(spectrum_bins(window_length, spectrum.sides), **dict(patchtst))
        self.time_projector = self._projector(axes, self.time_encoder)
        self.frequency_projector = self._projector(axes, self.frequency_encoder)

    def _projector(self, axes: int, encoder: PatchTSTEncoder) -> nn.Module:
        """R_T or R_F: as in TF-C, one hidden layer with batch norm and ReLU."""
        tokens = 1 if self.tfc.pooling == "mean" else encoder.patches
        return nn.Sequential(
            Linear(axes * tokens * encoder.model_size, self.tfc.projector_hidden),
            nn.BatchNorm1d(self.tfc.projector_hidden),
            nn.ReLU(),
            Linear(self.tfc.projector_hidden, self.tfc.projector_size),
        )

    def embed(
        self, encoder: PatchTSTEncoder, series: Float[Tensor, "batch axes length"]
    ) -> Float[Tensor, "batch size"]:
        """h: the mean over patches with the axes concatenated (A·D), or every token."""
        tokens = encoder(series)
        return (tokens.mean(dim=2) if self.tfc.pooling == "mean" else tokens).flatten(1)

    def forward(self, views: Views, gather: Gather | None = None) -> Losses:
        """Eq. 4 of one batch.

        Args:
            views: of this worker's windows.
            gather: puts the rows of all workers together, with gradients; all workers then hold the same global batch
                and compute the same loss, so that their number changes nothing.
        """
        h_t, h_T = self._both(self.time_encoder, views.windows, views.augmented_windows, gather)  # noqa: N806
        h_f, h_F = self._both(self.frequency_encoder, views.spectra, views.augmented_spectra, gather)  # noqa: N806
        z_t, z_T = _project(self.time_projector, h_t, h_T)  # noqa: N806
        z_f, z_F = _project(self.frequency_projector, h_f, h_F)  # noqa: N806
        tfc = self.tfc
        contrast = partial(
            contrastive_loss,
            temperature=tfc.temperature,
            contrastive_form=tfc.contrastive_form,
            anchors=tfc.anchors,
        )
        zero = h_t.new_zeros(())
        return joint_loss(
            contrast(h_t, h_T),
            contrast(h_f, h_F),
            consistency_loss(z_t, z_T, z_f, z_F, margin=tfc.margin, margin_form=tfc.margin_form, distance=tfc.distance),
            contrastive_loss(z_t, z_f, temperature=tfc.temperature, contrastive_form="nt_xent", anchors="both")
            if tfc.alignment_weight
            else zero,
            contrastive_weight=tfc.contrastive_weight,
            alignment_weight=tfc.alignment_weight,
            time_weight=tfc.time_weight,
            frequency_weight=tfc.frequency_weight,
        )

    def _both(
        self, encoder: PatchTSTEncoder, originals: Tensor, augmented: Tensor, gather: Gather | None
    ) -> tuple[Embeddings, Embeddings]:
        # one pass over both views: larger matrix products, half the calls
        both = self.embed(encoder, torch.cat([originals, augmented]))
        original, changed = both.to(torch.promote_types(both.dtype, torch.float32)).chunk(2)
        return (gather(original), gather(changed)) if gather else (original, changed)


def _project(projector: nn.Module, original: Embeddings, augmented: Embeddings) -> tuple[Projections, Projections]:
    """z of both views; one pass, so that batch norm sees both alike."""
    z_original, z_augmented = projector(torch.cat([original, augmented])).chunk(2)
    return z_original, z_augmented
