"""The settings of a study file, checked together: constraints, and combinations that cannot work."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import islice, product
from typing import Any

from aar_ray.config import Choice, Data, Fixed, Study, nearest
from aar_ray.study_file.settings import DEFAULTS, Space, kind_of, nearest_settings
from aar_ray.study_file.text import Document
from aar_ray.study_file.wording import shown

LENGTH, STRIDE = "patchtst.patch_length", "patchtst.patch_stride"
HEADS, SIZE = "patchtst.heads", "patchtst.model_size"
NEIGHBOURS = ("finetune.context_seconds", "finetune.smoothing_seconds")

FORM = re.compile(r"\s*([^\s<>=]+)\s*<=\s*([^\s<>=]+)\s*")
NEAR_FORM = re.compile(r"\s*([^\s<>=]+)\s*([<>=]+)\s*([^\s<>=]+)\s*")


def constraints(study: Study) -> tuple[tuple[str, str], ...]:
    """The pairs (smaller, larger) of searched ranges that `require` orders, each once, without those that always hold.

    Both settings of a pair are ranges (uniform, log_uniform or integer), no pairs form a circle, and trial 0 keeps all.
    """
    space = Space(study.fixed, study.search)
    pairs = dict.fromkeys(pair for pair in map(_pair, study.require) if pair)
    return tuple(pair for pair in pairs if max(space.values(pair[0])) > min(space.values(pair[1])))


def check_combinations(document: Document, space: Space) -> None:
    """Report what is wrong between settings, each of which is right by itself."""
    pairs = _required(document, space)
    _check_order(document, space, pairs)
    check_together(document, space, pairs)
    _check_labels(document)


def check_together(document: Document, space: Space, pairs: Collection[tuple[str, str]] = ()) -> None:
    """Report settings that cannot be together; `pairs` are those that `require` orders."""
    _check_heads(document, space)
    _check_stride(document, space, pairs)
    _check_patch_length(document, space)
    _check_neighbours(document, space)


# --- require -----------------------------------------------------------------------------------------------------


def _pair(constraint: object) -> tuple[str, str] | None:
    match = FORM.fullmatch(str(constraint))
    return (match[1], match[2]) if match else None


def _required(document: Document, space: Space) -> dict[tuple[str, str], int]:
    """The constraints that are right by themselves, with their positions in the list."""
    entries = document.value.get("require")
    pairs: dict[tuple[str, str], int] = {}
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if not isinstance(entry, str):
            continue  # the schema says so
        pair = _pair(entry)
        message = _misformed(entry) if pair is None else _unfit(space, *pair)
        if message:
            document.report(("require", index), message)
        elif pair is not None and not space.unknown & {*pair}:
            pairs.setdefault(pair, index)
    return pairs


def _misformed(entry: str) -> str:
    near = NEAR_FORM.fullmatch(entry)
    hint = ""
    if near:
        smaller, larger = (near[3], near[1]) if ">" in near[2] else (near[1], near[3])
        hint = f"; write {smaller} <= {larger}"
    return f"must read `smaller <= larger` with two searched settings, got {shown(entry)}{hint}"


def _unfit(space: Space, smaller: str, larger: str) -> str:
    """Why two sides cannot be ordered by the search, or nothing."""
    for side in (smaller, larger):
        if side not in DEFAULTS and not _is_number(side):
            return f"unknown setting {side}{nearest_settings(side)}"
        if side in DEFAULTS and kind_of(side) == "other":
            return f"orders numbers, and {side} takes none"
    if smaller == larger:
        return f"compares {smaller} with itself; leave it out"
    searched = [side for side in (smaller, larger) if side in space.search]
    if len(searched) == 2:
        choices = [side for side in searched if isinstance(space.search[side], Choice | Fixed)]
        if choices:
            kind = "a choice" if isinstance(space.search[choices[0]], Choice) else "fixed"
            return f"orders ranges, and {choices[0]} is {kind}; use integer or uniform"
        conditional = [side for side in searched if space.search[side].when]
        return f"orders settings that always vary, and {conditional[0]} has a `when`" if conditional else ""
    if space.unknown & {smaller, larger}:
        return ""
    if not searched:
        return f"neither {smaller} nor {larger} is searched; leave it out"
    other = larger if searched[0] == smaller else smaller
    value = other if _is_number(other) else shown(space.values(other)[0])
    given = "a number" if _is_number(other) else f"not searched but {value}"
    change = "end" if searched[0] == smaller else "start"
    way_out = f"{change} the range of {searched[0]} at {value} instead"
    return f"orders two searched settings, and {other} is {given}; {way_out}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_order(document: Document, space: Space, pairs: dict[tuple[str, str], int]) -> None:
    """Constraints that contradict each other, that no value satisfies, or that trial 0 breaks."""
    below: dict[str, set[str]] = {}
    for smaller, larger in pairs:
        below.setdefault(larger, set()).add(smaller)
    try:
        order = tuple(TopologicalSorter(below).static_order())
    except CycleError as error:
        circle = error.args[1]
        index = max(index for pair, index in pairs.items() if {*pair} <= {*circle})
        document.report(("require", index), f"goes round in a circle: {' <= '.join(circle)}; leave one out")
        return
    lowest = {name: min(space.values(name)) for name in order}
    for larger in order:
        for smaller in sorted(below.get(larger, ())):
            steps = ("require", pairs[smaller, larger])
            lowest[larger] = max(lowest[larger], lowest[smaller])
            if lowest[smaller] > max(space.values(larger)):
                least, most = lowest[smaller], max(space.values(larger))
                message = f"can never hold: {smaller} is at least {least:g}, {larger} at most {most:g}"
                document.report(steps, message)
                continue
            first, second = (nearest(space.search[name], DEFAULTS[name]) for name in (smaller, larger))
            if first > second:
                document.report(
                    steps,
                    f"must hold in trial 0, which takes the value nearest to each default, got {smaller} {first:g} and "
                    f"{larger} {second:g}; start the range of {larger} at {first:g} or end that of {smaller} at "
                    f"{second:g}",
                )


# --- combinations that cannot work -------------------------------------------------------------------------------


def _report_given(document: Document, space: Space, names: Sequence[str], message: str) -> bool:
    """Report at the first of the settings that the file gives."""
    for steps in filter(None, map(space.steps, names)):
        document.report(steps, message, about_name=True)
        return True
    return False


def _check_heads(document: Document, space: Space) -> None:
    heads, sizes = (list(islice(space.all_values(name), 4096)) for name in (HEADS, SIZE))
    wrong = next(
        (
            (some, size)
            for size, some in product(sizes, heads)
            if size % some
            and space.can_be_together(HEADS, some, SIZE, size)
            and space.can_be_together(SIZE, size, HEADS, some)
        ),
        None,
    )
    if wrong:
        several, hint = (" in every combination", "; use choice") if len(heads) * len(sizes) > 1 else ("", "")
        message = f"{HEADS} must divide {SIZE}{several}, got {wrong[0]} and {wrong[1]}{hint}"
        _report_given(document, space, (HEADS, SIZE), message)


def _check_stride(document: Document, space: Space, pairs: Collection[tuple[str, str]]) -> None:
    strides, lengths = space.values(STRIDE), space.values(LENGTH)
    skipping = any(
        stride > length
        and space.can_be_together(STRIDE, stride, LENGTH, length)
        and space.can_be_together(LENGTH, length, STRIDE, stride)
        for stride, length in product(strides, lengths)
    )
    if not skipping or (STRIDE, LENGTH) in pairs:
        return
    if STRIDE in str(document.value.get("require")) and document.is_reported("require"):
        return  # the constraint is there, and wrongly written
    got = f"got up to {max(strides)} and from {min(lengths)}"
    ranges = [name for name in (STRIDE, LENGTH) if name in space.search]
    if (
        len(ranges) == 2
        and min(strides) <= max(lengths)
        and not any(isinstance(space.search[name], Choice | Fixed) or space.search[name].when for name in ranges)
    ):
        hint = f"add `require: [{STRIDE} <= {LENGTH}]`"
    elif STRIDE in ranges:
        hint = f"end {STRIDE} at {min(lengths)}"
    elif LENGTH in ranges:
        hint = f"start {LENGTH} at {max(strides)}, or give a smaller {STRIDE}"
    else:
        hint = f"give {STRIDE}: {min(lengths)} or less"
        got = f"got {strides[0]} and {lengths[0]}"
    message = f"{STRIDE} must be at most {LENGTH}, or samples are skipped, {got}; {hint}"
    _report_given(document, space, (STRIDE, LENGTH), message)


def _check_patch_length(document: Document, space: Space) -> None:
    """No patch is longer than a window, or than its spectrum."""
    lengths, sides = space.values(LENGTH), space.values("spectrum.sides")
    samples = _window_samples(document.section("data"))
    if not lengths or not sides or samples is None:
        return
    bins, of = (samples // 2 + 1, "bins of the one-sided spectrum") if "one" in sides else (samples, "samples")
    if max(lengths) > bins:
        message = f"{LENGTH} must be at most the {bins} {of} of a window of {samples} samples, got {max(lengths)}"
        if not _report_given(document, space, (LENGTH, "spectrum.sides"), message):
            document.report(("data", "window_seconds"), f"{message}; give a smaller {LENGTH} under fixed")


def _window_samples(data: dict[str, Any]) -> int | None:
    """L, also where something else in the section is wrong."""
    given = {name: data[name] for name in ("rate_hz", "window_seconds") if name in data}
    if not all(isinstance(value, int | float) and 0 < value < 1e6 for value in given.values()):
        return None
    return Data.model_construct(**given).window_samples


def _check_neighbours(document: Document, space: Space) -> None:
    """Seconds that are to reach neighbouring windows do reach one."""
    given = document.section("data").get("step_seconds", Data.model_fields["step_seconds"].default)
    if not isinstance(given, int | float):
        return
    for name in NEIGHBOURS:
        for seconds in space.values(name):
            if 0 < seconds < given:
                rule = f"must be 0 or at least data.step_seconds, {given:g}, to reach a neighbour"
                _report_given(document, space, (name,), f"{name} {rule}, got {seconds:g}")
                break


def _check_labels(document: Document) -> None:
    labelled = document.section("data").get("labelled")
    if isinstance(labelled, dict) and labelled.get("reader") in ("csv", "parquet"):
        columns = labelled.get("columns", {})
        if isinstance(columns, dict) and columns.get("label") is None:
            steps = ("data", "labelled", "columns", "label")
            document.report(steps, "must name the column that holds the behaviours: labelled windows come from it")
