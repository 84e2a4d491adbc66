"""What must hold of a study's recordings before anything starts, and which of them may be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from aar_ray.config import Data, Protocol, Source, Study
from aar_ray.corpus.parts import Part, parts, subjects_of
from aar_ray.corpus.readers import behaviours_of, check_source, folded
from aar_ray.corpus.recording import InputError
from aar_ray.corpus.sketch import same_recordings
from aar_ray.corpus.splits import make_folds, sealed_subjects


def check_data(data: Data, protocol: Protocol, seed: int) -> None:
    """Refuse recordings that a study cannot use, from headers, first rows and the animals' names. Needs no Ray.

    Raises:
        InputError: all problems of all sources, one a line; else too few animals, a sealed one that is unknown, a test
            animal in the corpus, or one recording in two places.
    """
    problems = []
    heads: dict[str, dict[str, set[int]]] = {}
    for source in (*data.unlabelled, data.labelled):
        labelled = source is data.labelled
        try:
            kept_out = sealed_subjects(protocol) if labelled else ()
            heads[source.name] = check_source(source, labelled=labelled, sealed=kept_out)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    _check_mapped_animals(data)
    animals = sorted({study_names(data, data.labelled).get(name, name) for name in subjects_of(data.labelled)})
    try:
        folds = make_folds(animals, protocol, seed)
    except ValueError as error:
        raise InputError(f"{data.labelled.name}: {error}") from error
    _check_behaviours(data.labelled, protocol)
    if protocol.split == "paper" and not protocol.transductive:
        tested = {animal for fold in folds for animal in fold.test} - set(protocol.sealed)
        for source in data.unlabelled:
            check_no_test_animal(source, data, tested)
    check_contents(data, protocol, heads)


def check_no_test_animal(source: Source, data: Data, tested: set[str]) -> None:
    """Refuse an unlabelled source that holds a test animal by name.

    Raises:
        InputError: names the animals.
    """
    found = sorted(set(subjects_of(source)) & _names_in(source, data, tested))
    if found:
        raise InputError(
            f"{source.name}: test animals of {data.labelled.name} must not be in the corpus, got {', '.join(found)}; "
            "remove their recordings, set protocol.transductive: true, or give the source a herd of its own where they "
            "only share a name"
        )


def check_contents(data: Data, protocol: Protocol, sketches: Mapping[str, Mapping[str, set[int]]]) -> None:
    """Refuse a recording that is there twice, under whatever name or unit.

    A labelled recording may be in the corpus too, without its labels, where no labelled animal is a test animal or
    the study says `transductive`.

    Args:
        data: of the study.
        protocol: of the study.
        sketches: by source, then by recording.

    Raises:
        InputError: names all such pairs.
    """
    labelled = data.labelled.name
    together = {f"{source}: {name}": found for source, own in sketches.items() for name, found in own.items()}
    open_ = protocol.transductive or not (protocol.split == "paper" or protocol.sealed)
    problems = []
    for first, second in same_recordings(together):
        sides = [name.partition(": ")[0] == labelled for name in (first, second)]
        if sides[0] == sides[1]:
            problems.append(f"a recording must be there once, got the same content in {first} and {second}; remove one")
        elif not open_:
            problems.append(
                f"recordings of test animals must not be in the corpus, got the same content in {first} and {second}; "
                "remove it, or set protocol.transductive: true"
            )
    if problems:
        raise InputError("\n".join(problems))


def study_names(data: Data, source: Source) -> dict[str, str]:
    """Animals of a source that `same_animal` renames: name in the source, name in the study."""
    renamed = {}
    for group in data.same_animal:
        split = [animal.partition("/")[::2] for animal in group]
        # the labelled source's name, since protocol.sealed and the folds use it
        (name, *_) = [name for where, name in split if where == data.labelled.name] or [split[0][1]]
        renamed.update({own: name for where, own in split if where == source.name and own != name})
    return renamed


def unlabelled_parts(study: Study) -> tuple[Part, ...]:
    """What the corpus is read from: no sealed animal, unless the study is transductive."""
    sealed = set() if study.protocol.transductive else set(sealed_subjects(study.protocol))
    return tuple(
        part
        for source in study.data.unlabelled
        for part in parts(
            source,
            study.seed,
            sealed=_names_in(source, study.data, sealed),
            renamed=study_names(study.data, source),
        )
    )


def labelled_parts(study: Study) -> tuple[Part, ...]:
    """What the labelled windows are read from: every animal that is not sealed."""
    data = study.data
    renamed = study_names(data, data.labelled)
    sealed = set(sealed_subjects(study.protocol))
    sealed |= {own for own, name in renamed.items() if name in sealed}
    return parts(data.labelled, study.seed, labelled=True, sealed=sealed, renamed=renamed)


def _names_in(source: Source, data: Data, animals: set[str]) -> set[str]:
    """Names that a source can have for labelled animals: its own ones in the same herd, and what `same_animal` says."""
    mapped: dict[str, set[str]] = defaultdict(set)
    for group in data.same_animal:
        split = [animal.partition("/")[::2] for animal in group]
        for where, name in split:
            if where == data.labelled.name:
                mapped[name] |= {own for other, own in split if other == source.name}
    together = (source.species, source.herd) == (data.labelled.species, data.labelled.herd)
    return {name for animal in animals for name in ({animal} if together else set()) | mapped[animal]}


def _check_mapped_animals(data: Data) -> None:
    for source in (*data.unlabelled, data.labelled):
        named = [animal.partition("/")[2] for group in data.same_animal for animal in group if _of(animal, source)]
        known = subjects_of(source) if named else ()
        unknown = sorted(set(named) - set(known))
        if unknown:
            raise InputError(
                f"same_animal must name animals that are there, got {', '.join(unknown)} of {source.name}, which holds "
                f"{', '.join(known)}"
            )


def _of(animal: str, source: Source) -> bool:
    return animal.partition("/")[0] == source.name


def _check_behaviours(source: Source, protocol: Protocol) -> None:
    behaviours, labels = behaviours_of(source, sealed_subjects(protocol))
    if len(behaviours) < 2:
        raise InputError(
            f"{source.name}: a labelled source must hold at least 2 behaviours, got "
            f"{', '.join(sorted(behaviours)) or 'none'}; its labels are {', '.join(sorted(labels)) or 'all empty'}"
            + (f", `behaviours` lists {', '.join(source.behaviours)}" if source.behaviours else "")
        )
    spellings = defaultdict(set)
    for label in labels:
        spellings[folded(label)].add(label)
    several = [", ".join(sorted(found)) for found in spellings.values() if len(found) > 1]
    if several and not source.behaviours:
        raise InputError(
            f"{source.name}: labels must not differ by case alone, got {'; '.join(sorted(several))}; list under "
            "`behaviours` what each of them means, in any case"
        )
