"""Command line of the corpus: look at a study's recordings, and fetch a published set.

`python -m aar_ray.corpus inspect STUDY` and `python -m aar_ray.corpus download NAME DIR`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from aar_ray.console import wide_console
from aar_ray.corpus.checks import check_data
from aar_ray.corpus.download import DownloadError, download
from aar_ray.corpus.inspection import inspect_study
from aar_ray.corpus.picture import behaviour_table, draw, left_out_table, source_table
from aar_ray.corpus.published import SETS
from aar_ray.study_file.loader import StudyFileError, load_study


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        if options.command == "inspect":
            _inspect(options.file, options.set, options.picture, errors)
        else:
            _download(options.name, options.folder, errors, yes=options.yes)
    except (StudyFileError, DownloadError, OSError, ValueError) as error:
        errors.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        errors.print("stopped; the same command goes on")
        return 130
    return 0


def _inspect(file: Path, overrides: Sequence[str], picture: Path | None, errors: Console) -> None:
    study = load_study(file, overrides)
    check_data(study.data, study.protocol, study.seed)
    with errors.status("reading") as status:
        found = inspect_study(study, status.update)
    console = wide_console()
    console.print(source_table(found, study.data.rate_hz, simulated=study.simulated))
    for source in found:
        if source.behaviours:
            console.print(behaviour_table(source))
    if any(source.dropped.stretches or source.gaps.stretches for source in found):
        console.print(left_out_table(found))
    warnings = [warning for source in found for warning in source.warnings()]
    for warning in warnings:
        console.print(f"warning: {warning}", markup=False)
    if not warnings:
        console.print("every animal at rest feels about 1 g, no axis is dead")
    path = picture or Path("results") / study.name / "recordings.png"
    draw(found, study.data.rate_hz, path, simulated=study.simulated)
    console.print(f"picture: {path}", markup=False)


def _download(name: str, folder: Path, errors: Console, *, yes: bool) -> None:
    def consent(licence: str) -> bool:
        errors.print(licence, markup=False)
        if yes:
            return True
        if not sys.stdin.isatty():
            raise DownloadError("the licence must be accepted: run in a terminal, or add --yes")
        return errors.input("accept this licence? [y/N] ").strip().casefold() in ("y", "yes")

    download(name, folder, consent, lambda text: errors.print(text, markup=False))
    errors.print(f"complete: {folder}", markup=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m aar_ray.corpus", description="Look at recordings; fetch them.")
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="what a study's recordings hold, in a table and a picture")
    inspect.add_argument("file", metavar="STUDY", type=Path, help="study file (YAML)")
    inspect.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="change the study file")
    inspect.add_argument("--picture", metavar="PNG", type=Path, help="default: results/NAME/recordings.png")
    fetch = commands.add_parser("download", help="fetch a published set")
    fetch.add_argument("name", metavar="NAME", help=f"one of {', '.join(SETS)}")
    fetch.add_argument("folder", metavar="DIR", type=Path, help="where its files go")
    fetch.add_argument("--yes", action="store_true", help="accept its licence")
    return parser


if __name__ == "__main__":
    sys.exit(main())
