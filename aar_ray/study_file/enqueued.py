"""Settings that a study file enqueues: each one checked by itself, together, and against those that run before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aar_ray.config import Choice, Fixed, LogUniform, Study, nearest, range_ends
from aar_ray.study_file.constraints import constraints
from aar_ray.study_file.settings import Space, is_known, keeps_rule
from aar_ray.study_file.text import Document, Steps
from aar_ray.study_file.wording import one_of, shown


def check_enqueued(document: Document, space: Space, study: Study | None) -> None:
    """Report what is wrong with each entry of `enqueue`.

    Args:
        document: the study file.
        space: what it searches.
        study: as the schema reads it; None where something is wrong, and then entries are checked by themselves alone.
    """
    entries = document.value.get("enqueue")
    right: dict[int, dict[str, Any]] = {}
    for index, given in enumerate(entries if isinstance(entries, list) else ()):
        if not isinstance(given, dict):
            continue  # the schema says so
        checked = [_is_right(document, space, ("enqueue", index, name), value) for name, value in given.items()]
        if all(checked):
            right[index] = given
    if study is None or document.problems():
        return
    seen = {_settings(study, {}): "trial 0"}
    for index, given in right.items():
        _check_together(document, study, index, given)
        first = seen.setdefault(_settings(study, given), f"entry {index}")
        if first != f"entry {index}":
            document.report(("enqueue", index), f"must differ from every other, has the settings of {first}")
    if study.budget.trials is not None and study.budget.trials <= len(right):
        message = f"must be at least {len(right) + 1}, for trial 0 and what is enqueued, got {study.budget.trials}"
        document.report(("budget", "trials"), message)


def _is_right(document: Document, space: Space, steps: Steps, value: Any) -> bool:
    name = str(steps[-1])
    if not is_known(document, steps, value):
        return False
    if name in space.unknown:
        return True  # its distribution is reported
    if name not in space.search:
        place = f"is fixed in {document.line_of(('fixed', name))}" if name in space.fixed else "is not searched"
        document.report(steps, f"must be a searched setting, and this one {place}; leave it out", about_name=True)
        return False
    if not keeps_rule(document, steps, name, value):
        return False
    distribution = space.search[name]
    if nearest(distribution, value) == value:
        return True
    if isinstance(distribution, Choice | Fixed):
        values = distribution.choice if isinstance(distribution, Choice) else (distribution.fixed,)
        rule = f"must be {one_of([shown(each) for each in values])}"
    else:
        low, high = range_ends(distribution)
        step = None if isinstance(distribution, LogUniform) else distribution.step
        in_steps = f" in steps of {step:g}" if step not in (None, 1) else ""
        rule = f"must be searched, from {low:g} to {high:g}{in_steps}"
    document.report(steps, f"{rule}, got {shown(value)}; widen the search or change the value")
    return False


def _check_together(document: Document, study: Study, index: int, given: Mapping[str, Any]) -> None:
    """Conditions and constraints among the settings of an entry."""
    values = study.completed(given)
    everything = {name: _comparable(value) for name, value in {**study.fixed, **values}.items()}
    for name in given:
        for other, accepted in study.conditions.get(name, {}).items():
            if everything[other] not in accepted:
                message = f"has no effect here, where {other} is {shown(values.get(other))}; leave it out"
                document.report(("enqueue", index, name), message, about_name=True)
    for smaller, larger in constraints(study):
        if values[smaller] > values[larger]:
            message = f"must keep {smaller} <= {larger}, got {shown(values[smaller])} and {shown(values[larger])}"
            missing = [name for name in (smaller, larger) if name not in given]
            document.report(("enqueue", index), message + (f"; give {missing[0]} too" if missing else ""))


def _settings(study: Study, given: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(repr(_comparable(value)) for value in study.completed(given).values())


def _comparable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
