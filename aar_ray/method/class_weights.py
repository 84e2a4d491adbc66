"""Weights of the class-balanced cross-entropy (paper, "Experimental setting"; Cui et al., CVPR 2019)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray


def class_weights(
    counts: NDArray[np.int64],
    *,
    class_weights: Literal["effective_number", "inverse_frequency", "none"],
    class_balance_beta: float,
) -> NDArray[np.float64]:
    """One weight a class, summing to the number of classes.

    `effective_number`: (1 - β) / (1 - β^n). `inverse_frequency`: 1 / n, its limit for β to 1. A class without a
    training window cannot be learnt and weighs 0.

    Args:
        counts: n, training windows of each class, counted on the training animals.
        class_weights: which of the three.
        class_balance_beta: β.

    Raises:
        ValueError: no class has a training window.
    """
    present = counts > 0
    if not present.any():
        raise ValueError("class weights need at least one training window, got none")
    weights = np.zeros(len(counts))
    if class_weights == "effective_number":
        weights[present] = (1 - class_balance_beta) / (1 - class_balance_beta ** counts[present].astype(float))
    elif class_weights == "inverse_frequency":
        weights[present] = 1 / counts[present]
    else:
        weights[present] = 1.0
    return weights * len(counts) / weights.sum()
