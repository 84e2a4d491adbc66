"""The tables of `real_cattle`: a row for each model, share of the labels, context and smoothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from rich.table import Table

from aar_ray.search.evidence import Scored, interval, seed_spread
from benchmarks.cattle import CONTEXTS, FIXED, FOREST, NEVER, SEARCHED, SHARES, SMOOTH, WEIGHTS


def by_cow(settings: Mapping[str, Scored], cows: Sequence[str]) -> Table:
    """Macro-F1 of each cow, mean over the seeds, and the means over cows."""
    table = Table(
        "", *cows, "mean", title="Ten cows, each held out: macro-F1 over the behaviours it has, mean over seeds"
    )
    for name, one in settings.items():
        table.add_row(name, *(f"{value:.2f}" for value in one.by_animal()), f"{one.mean():.3f}")
    return table


def differences(settings: Mapping[str, Scored]) -> Table:
    """In points of macro-F1, paired over cows and seeds."""
    table = Table("difference", "points", "95 % over cows and seeds", title="Paired over the cows and seeds")
    models, contexts = (*WEIGHTS, FOREST), [*CONTEXTS, SEARCHED]

    def add(pairs: Mapping[str, tuple[str, str]]) -> None:
        """A row each, what comes first minus what comes second; gains of one kind vary alike from seed to seed."""
        gains = {
            name: Scored(0, settings[one].scores - settings[other].scores, settings[one].sought)
            for name, (one, other) in pairs.items()
        }
        seeds = seed_spread(gains.values())
        for name, gain in gains.items():
            mean, low, high = (100 * value for value in interval(gain, seeds))
            table.add_row(name, f"{mean:+.1f}", f"{low:+.1f} to {high:+.1f}")

    each = [f"{model}, {share}" for model, share in product(models, SHARES)]
    add({f"{one}: over 4 s minus not smoothed": (one + FIXED, one) for one in map("".join, product(each, contexts))})
    for context, end in product(contexts[1:], (NEVER, SMOOTH)):
        add({f"{one}{end}: {context[2:]} minus none": (one + context + end, one + end) for one in each})
    for ours, theirs in (("pre-trained", "scratch"), ("scratch", FOREST), ("pre-trained", FOREST)):
        rows = map("".join, product((f", {share}" for share in SHARES), contexts, (NEVER, SMOOTH)))
        add({f"{ours} minus {theirs}{row}": (ours + row, theirs + row) for row in rows})
    return table
