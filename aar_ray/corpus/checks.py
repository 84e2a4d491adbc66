"""What must hold of a study's recordings before anything starts, and which of them may be read."""

from __future__ import annotations

from aar_ray.config import Data, Protocol, SimulatedSource, Study, TabularSource
from aar_ray.corpus.readers import Part, behaviours_of, check_source, parts, subjects_of
from aar_ray.corpus.recording import InputError
from aar_ray.corpus.splits import make_folds, sealed_subjects
from aar_ray.corpus.tables import files_of


def check_data(data: Data, protocol: Protocol, seed: int) -> None:
    """Refuse recordings that a study cannot use, from headers, first rows and the animals' names. Needs no Ray.

    Raises:
        InputError: all problems of all sources, one a line; else too few animals, or a sealed one that is unknown.
    """
    problems = []
    for source in (*data.unlabelled, data.labelled):
        try:
            check_source(source, labelled=source is data.labelled)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    try:
        make_folds(subjects_of(data.labelled), protocol, seed)
    except ValueError as error:
        raise InputError(f"{data.labelled.name}: {error}") from error
    _check_behaviours(data.labelled, protocol)
    for source in data.unlabelled:
        _check_not_the_labelled_one(source, data, protocol)


def _check_behaviours(source: SimulatedSource | TabularSource, protocol: Protocol) -> None:
    behaviours, labels = behaviours_of(source, sealed_subjects(protocol))
    if len(behaviours) < 2:
        raise InputError(
            f"{source.name}: a labelled source must hold at least 2 behaviours, got "
            f"{', '.join(sorted(behaviours)) or 'none'}; its labels are {', '.join(sorted(labels)) or 'all empty'}"
            + (f", `behaviours` lists {', '.join(source.behaviours)}" if source.behaviours else "")
        )


def _check_not_the_labelled_one(source: SimulatedSource | TabularSource, data: Data, protocol: Protocol) -> None:
    """Under `paper` each labelled animal may be a test animal, so none of them can be in the corpus."""
    if protocol.transductive or protocol.split != "paper":
        return
    if isinstance(source, TabularSource) and isinstance(data.labelled, TabularSource):
        shared = {file.resolve() for file in files_of(source)} & {file.resolve() for file in files_of(data.labelled)}
        if shared:
            raise InputError(
                f"{source.name}: under split: paper no file of the labelled source may be in the corpus, got "
                f"{', '.join(sorted(file.name for file in shared))}; remove it, or set protocol.transductive: true"
            )


def unlabelled_parts(study: Study) -> tuple[Part, ...]:
    """What the corpus is read from.

    Sealed animals are left out of every source of the labelled source's species, unless the study is transductive.
    """
    labelled = study.data.labelled
    sealed = () if study.protocol.transductive else sealed_subjects(study.protocol)
    return tuple(
        part
        for source in study.data.unlabelled
        for part in parts(source, study.seed, sealed=sealed if source.species == labelled.species else ())
    )


def labelled_parts(study: Study) -> tuple[Part, ...]:
    """What the labelled windows are read from: every animal that is not sealed."""
    return parts(study.data.labelled, study.seed, labelled=True, sealed=sealed_subjects(study.protocol))
