"""Command line: a study file becomes a ranked table.

`python -m aar_ray.study FILE` runs the study, or goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from aar_ray.config import Study
from aar_ray.imports import uncollected
from aar_ray.search.head import Head, coming_up, too_late
from aar_ray.search.placement import DoesNotFit, check_this_machine
from aar_ray.study_file.loader import StudyFileError, load_study

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        study = load_study(options.file, options.set)
        if options.unseal:
            from aar_ray import commands

            return commands.unseal_study(study, Path(options.results))
        if options.address is not None or too_late():
            return _on_ray(study, options, options.address)
        check_this_machine(study.resources)
        with coming_up(study.resources) as head:
            return _on_ray(study, options, head)
    except (StudyFileError, DoesNotFit, ConnectionError, OSError, ValueError, RuntimeError) as error:
        errors.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        errors.print("stopped; the same command goes on")
        return INTERRUPTED


def _on_ray(study: Study, options: argparse.Namespace, where: str | Head | None) -> int:
    """Do what needs a cluster."""
    with uncollected():
        # torch and all that stands on it take seconds, in which Ray comes up
        from aar_ray import commands
        from aar_ray.corpus.checks import check_data

    check_data(study.data, study.protocol, study.seed)
    results = Path(options.results)
    if options.plan:
        return commands.plan(study, results, where)
    if options.trial is not None:
        return commands.again(study, results, options.trial, where)
    return commands.run(study, results, where, resume=options.resume, retry_failed=options.retry_failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m aar_ray.study", description="Run a study, or go on with it.")
    parser.add_argument("file", metavar="FILE", help="study file (YAML)")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="fix a setting (tfc.margin=0.3) or change the file (budget.trials=20); may be given again",
    )
    parser.add_argument("--results", metavar="DIR", default="results", help="where results go (default: results)")
    parser.add_argument("--address", metavar="ADDRESS", help="a running Ray cluster (auto, or HOST:PORT)")
    parser.add_argument(
        "--unseal", action="store_true", help="after the end: score winner and baselines on the test animals, once"
    )
    parser.add_argument("--resume", action="store_true", help="insist on going on with an earlier run")
    parser.add_argument("--retry-failed", action="store_true", help="go on, and run again what failed")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--plan", action="store_true", help="only say what the study would do and cost")
    instead.add_argument("--trial", metavar="N", type=int, help="only run trial N again and compare")
    return parser


if __name__ == "__main__":
    status = main()
    with uncollected():
        # nor what has come since: all of it ends with the process
        sys.exit(status)
