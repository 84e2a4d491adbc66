"""Command line: `python -m aar_ray.report results/<study> [...]` makes reports again, and compares several studies."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from aar_ray.report.comparison import write_comparison
from aar_ray.report.page import write_report
from aar_ray.report.record import NotAStudy


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    console, errors = Console(soft_wrap=True, highlight=False), Console(stderr=True, soft_wrap=True, highlight=False)
    folders = [Path(folder) for folder in options.folders]
    try:
        for folder in folders:
            console.print(write_report(folder, price_per_hour=options.price_per_hour), markup=False)
        if len(folders) > 1:
            console.print(write_comparison(folders, Path(options.comparison)), markup=False)
    except (NotAStudy, OSError) as error:
        errors.print(str(error), markup=False)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m aar_ray.report", description="Make the report of a study; several are also compared."
    )
    parser.add_argument("folders", metavar="FOLDER", nargs="+", help="results/<study>, in whatever state")
    parser.add_argument("--price-per-hour", type=float, metavar="PRICE", help="of all machines, for the study's cost")
    parser.add_argument(
        "--comparison",
        metavar="DIR",
        default="results/comparison",
        help="where the comparison of several studies goes (default: results/comparison)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
