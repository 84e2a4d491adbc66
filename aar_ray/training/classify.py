"""Models that were trained before, at work: probabilities of a classifier, embeddings of an encoder."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aar_ray.config import Settings
from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.method.classifier import Classifier, Head
from aar_ray.method.encoder import PatchTSTEncoder
from aar_ray.method.neighbours import neighbour_mean
from aar_ray.training.features import in_context

BATCH = 1024


@torch.no_grad()
def probabilities(
    weights: Mapping[str, Tensor],
    settings: Settings,
    labelled: LabelledWindows,
    *,
    device: torch.device | str = "cpu",
) -> NDArray[np.float32]:
    """Of each class for each window, by a fine-tuned classifier, smoothed where its settings say so.

    Args:
        weights: as fine-tuning left them, of encoder and head.
        settings: sections `patchtst` and `classifier` are read, whether the encoder was frozen, what its context is
            and over how many seconds it is smoothed.
        labelled: z-scored as the training windows were, all windows of each recording; their labels are not read.
        device: that computes.

    Returns:
        [windows, classes].
    """
    labelled = in_context(labelled, **settings.finetune.context)
    _, axes, length = labelled.windows.shape
    classes = weights["head.linear.bias"].shape[0]
    model = Classifier(
        PatchTSTEncoder(length, **dict(settings.patchtst)),
        Head(
            axes,
            settings.patchtst.model_size,
            classes,
            standardised=settings.finetune.encoder == "frozen",
            context_size=labelled.context_size,
            **dict(settings.classifier),
        ),
    )
    model.load_state_dict(dict(weights))
    model.eval().to(device)
    read = (labelled.windows,) if labelled.context is None else (labelled.windows, labelled.context)
    parts = zip(*(torch.as_tensor(values, dtype=torch.float32).split(BATCH) for values in read), strict=True)
    logits = torch.cat([model(*(values.to(device) for values in part)).cpu() for part in parts])
    found: NDArray[np.float32] = logits.softmax(dim=1).numpy()
    seconds = settings.finetune.smoothing_seconds
    return neighbour_mean(found, labelled.recordings, labelled.starts, seconds=seconds)


@torch.no_grad()
def embeddings(weights: Mapping[str, Tensor], settings: Settings, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """f̃ of each window by an encoder: tokens averaged over the patches of each axis.

    Args:
        weights: of E_T.
        settings: section `patchtst` is read.
        windows: [windows, axes, time], z-scored.

    Returns:
        [windows, axes * model_size].
    """
    encoder = PatchTSTEncoder(windows.shape[-1], **dict(settings.patchtst))
    encoder.load_state_dict(dict(weights))
    encoder.eval()
    tokens = [encoder(part).mean(dim=2).flatten(1) for part in torch.as_tensor(windows).split(BATCH)]
    return np.asarray(torch.cat(tokens).numpy())
