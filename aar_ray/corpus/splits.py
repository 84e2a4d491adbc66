"""Which animals train, validate and stay sealed; split by animal, before windows are cut (METHOD row 18)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aar_ray.config import Protocol
from aar_ray.seeds import stream

if TYPE_CHECKING:
    from aar_ray.corpus.labelled import LabelledWindows


@dataclass(frozen=True)
class Fold:
    """One division of the animals; no animal is on two sides."""

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        sides = (self.train, self.validation, self.test)
        for first, second in ((0, 1), (0, 2), (1, 2)):
            shared = set(sides[first]) & set(sides[second])
            if shared:
                raise ValueError(
                    f"train, validation and test of fold {self.name} must hold different animals, "
                    f"two of them hold {sorted(shared)}; split by animal before cutting windows"
                )


def make_folds(subjects: Sequence[str], protocol: Protocol, seed: int) -> tuple[Fold, ...]:
    """The folds of a study.

    `leave_one_subject_out`: one fold for each animal that is not sealed, named after it; the sealed ones are every
    fold's test animals. `paper`: repetitions with one test and one validation animal each, all test animals
    different, all validation animals different, drawn from the stream "protocol".

    Args:
        subjects: every animal of the labelled source, sealed ones included.
        protocol: the study's.
        seed: the study's.

    Raises:
        ValueError: too few animals for the protocol, or a sealed animal that is not in the source.
    """
    animals = sorted(set(subjects))
    if protocol.split == "paper":
        return _paper_repetitions(animals, protocol.repetitions, seed)
    return _leave_one_out(animals, protocol.sealed)


def sealed_subjects(protocol: Protocol) -> tuple[str, ...]:
    """Animals whose data are not read while the study searches; none under `paper`, where each trains once."""
    return protocol.sealed if protocol.split == "leave_one_subject_out" else ()


def _leave_one_out(animals: list[str], sealed: Sequence[str]) -> tuple[Fold, ...]:
    for name in sealed:
        if name not in animals:
            nearest = difflib.get_close_matches(name, animals, n=1, cutoff=0)
            raise ValueError(
                f"protocol.sealed must name animals of the labelled source, got {name!r}; "
                f"nearest is {nearest[0] if nearest else 'none'!r}, the animals are {', '.join(animals)}"
            )
    open_animals = [animal for animal in animals if animal not in sealed]
    if len(open_animals) < 2:
        raise ValueError(
            "leave_one_subject_out needs at least 2 animals that are not sealed, "
            f"got {len(open_animals)} of {len(animals)} ({', '.join(animals)}); "
            + ("seal fewer animals" if sealed else "add recordings of other animals, or name columns.subject")
        )
    return tuple(
        Fold(
            name=animal,
            train=tuple(other for other in open_animals if other != animal),
            validation=(animal,),
            test=tuple(sorted(sealed)),
        )
        for animal in open_animals
    )


def _paper_repetitions(animals: list[str], repetitions: int, seed: int) -> tuple[Fold, ...]:
    needed = max(3, repetitions)
    if len(animals) < needed:
        raise ValueError(
            f"split: paper with {repetitions} repetitions needs at least {needed} animals, one to train, one to "
            f"validate and a different test animal each time, got {len(animals)} ({', '.join(animals)}); "
            "take fewer repetitions or split: leave_one_subject_out"
        )
    drawn = [animals[index] for index in stream(seed, "protocol").permutation(len(animals))]
    folds = []
    for repetition in range(repetitions):
        # neighbours on a circle: all tests differ, all validations differ, and no animal is both at once
        test, validation = drawn[repetition], drawn[(repetition + 1) % len(drawn)]
        train = tuple(animal for animal in animals if animal not in (test, validation))
        folds.append(Fold(f"repetition-{repetition + 1}", train, (validation,), (test,)))
    return tuple(folds)


def split_warnings(labelled: LabelledWindows, folds: Sequence[Fold]) -> list[str]:
    """What the folds cannot show, one sentence each: classes of one animal, classes that a side lacks.

    None of it stops a study: absent classes are listed with each score and never counted as 0 or 1.
    """
    present: dict[str, set[str]] = {}
    for subject in sorted(set(labelled.subjects)):
        codes = np.unique(labelled.labels[labelled.subjects == subject])
        present[subject] = {labelled.classes[code] for code in codes}
    warnings = []
    for name in labelled.classes:
        animals = [subject for subject, classes in present.items() if name in classes]
        if len(animals) == 1:
            warnings.append(
                f"behaviour {name} occurs in one animal only ({animals[0]}): no fold can both learn and validate it"
            )
    for fold in folds:
        warnings += _fold_warnings(fold, present, labelled.classes)
    return warnings


def _fold_warnings(fold: Fold, present: dict[str, set[str]], classes: Sequence[str]) -> list[str]:
    train, validation = (
        set().union(*(present.get(animal, set()) for animal in side)) for side in (fold.train, fold.validation)
    )
    warnings = []
    for side, found in (("training", train), ("validation", validation)):
        if len(found) < 2:
            held = ", ".join(sorted(found)) or "none"
            warnings.append(f"fold {fold.name}: {side} holds fewer than 2 behaviours ({held})")
    absent = [name for name in classes if name not in validation]
    if absent:
        warnings.append(f"fold {fold.name}: validation lacks {', '.join(absent)}; its score is over the others")
    unseen = [name for name in classes if name in validation and name not in train]
    if unseen:
        warnings.append(f"fold {fold.name}: training lacks {', '.join(unseen)}, which validation holds")
    return warnings
