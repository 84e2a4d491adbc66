"""Command line: a finished study's winner labels recordings that have no labels.

`python -m aar_ray.label results/NAME RECORDINGS` writes the behaviour of every window, and each animal's time budget.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from aar_ray.config import Source, Study
from aar_ray.console import wide_console
from aar_ray.study_file.loader import StudyFileError, load_source, load_study


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        if options.models is not None and options.models < 1:
            raise ValueError(f"--models must be 1 or more, got {options.models}")
        if not (options.folder / "study.yaml").is_file():
            raise ValueError(f"FOLDER must be the results of a study, as results/NAME is, got {options.folder}")
        study = load_study(options.folder / "study.yaml")
        source = _source(study, options.recordings)
        _label(study, source, options, errors)
    except (StudyFileError, OSError, ValueError) as error:
        errors.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        errors.print("stopped; files that were written are whole, the same command writes all of them")
        return 130
    return 0


def _source(study: Study, given: str) -> Source:
    """The study's source of that name, or the one that a file describes."""
    named = {source.name: source for source in study.sources()}
    if given not in named and not Path(given).exists():
        raise ValueError(
            f"RECORDINGS must be a YAML file that describes a source, or one of the study's sources "
            f"({', '.join(named)}), got {given!r}, which is neither"
        )
    return named[given] if given in named else load_source(given)


def _label(study: Study, source: Source, options: argparse.Namespace, errors: Console) -> None:
    # torch takes seconds, and what is wrong with the files is said before
    from aar_ray.corpus.picture import left_out_table, source_table
    from aar_ray.report.labels import budget_table, score_text, trust_table
    from aar_ray.search.journal import read_events
    from aar_ray.search.labelling import label_source

    folder = options.output or options.folder / "labels" / source.name
    events = list(read_events(options.folder / "journal.jsonl"))
    with errors.status("reading") as status:
        found = label_source(source, study, events, folder, form=options.format, most=options.models, say=status.update)
    console = wide_console()
    simulated = found.about["simulated"]
    console.print(source_table([found.recordings], study.data.rate_hz, simulated=simulated))
    if found.recordings.dropped.stretches or found.recordings.gaps.stretches:
        console.print(left_out_table([found.recordings]))
    console.print(budget_table(found.windows, study.data.step_seconds, simulated=simulated))
    console.print(score_text(found.about), soft_wrap=True, highlight=False)
    console.print(trust_table(found.about))
    for warning in found.warnings:
        console.print(f"warning: {warning}", markup=False)
    console.print(f"labels: {folder}", markup=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m aar_ray.label", description="Label recordings by a finished study's winner."
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="results/NAME of a study")
    parser.add_argument(
        "recordings", metavar="RECORDINGS", help="YAML file that describes a source, or the name of one of the study"
    )
    parser.add_argument("--output", metavar="DIR", type=Path, help="default: FOLDER/labels/SOURCE")
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv", help="of the labels (default: csv)")
    parser.add_argument(
        "--models", metavar="N", type=int, help="ask only so many of the winner's classifiers (default: all)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
