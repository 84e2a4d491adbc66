"""Which labels a fine-tuning may use: what is left of them when labels are few."""

from __future__ import annotations

import numpy as np

from aar_ray.corpus.labelled import LabelledWindows
from aar_ray.seeds import stream


def chosen_labels(
    train: LabelledWindows, *, label_share: float, label_animals: int | None, seed: int
) -> LabelledWindows:
    """The training windows whose labels are used.

    Of each animal and behaviour the same share is kept, at least one window, in an order that the seed draws: the
    windows of a smaller share are among those of a larger one, and so it is with animals.

    Args:
        train: all training windows of a fold.
        label_share: of each animal's windows of each behaviour.
        label_animals: how many of the animals; all of them if None.
        seed: of the trial.

    Raises:
        ValueError: more animals are asked for than train.
    """
    if label_share == 1 and label_animals is None:
        return train
    subjects = train.subjects.astype(str)
    animals = sorted(set(subjects))
    wanted = len(animals) if label_animals is None else label_animals
    if wanted > len(animals):
        raise ValueError(f"finetune.label_animals must be at most the {len(animals)} training animals, got {wanted}")
    drawn = [animals[place] for place in stream(seed, "label animals").permutation(len(animals))[:wanted]]
    kept = []
    for animal in drawn:
        for label in range(len(train.classes)):
            own = np.flatnonzero((subjects == animal) & (train.labels == label))
            order = stream(seed, "label windows", animal, label).permutation(own)
            kept.append(order[: max(1, round(label_share * len(own)))] if len(own) else own)
    return train.at(np.sort(np.concatenate(kept)))
