"""Each setting that a study file fixes or searches, checked by itself: its name, its own rule, its distribution."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pydantic import ValidationError

from aar_ray.config import (
    Choice,
    Distribution,
    Fixed,
    Integer,
    LogUniform,
    Part,
    Settings,
    Uniform,
    accepted_values,
    dotted,
    range_ends,
)
from aar_ray.study_file.text import Document, Steps
from aar_ray.study_file.wording import broken_rule, did_you_mean, one_of, shown

DEFAULTS = dotted(Settings())
"""Every setting by dotted name."""

KINDS: dict[str, type[Uniform] | type[LogUniform] | type[Integer] | type[Choice] | type[Fixed]] = {
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "integer": Integer,
    "choice": Choice,
    "fixed": Fixed,
}

RANGES = (Uniform, LogUniform, Integer)

SYMBOLS = {
    "λ": "tfc.contrastive_weight",
    "lambda": "tfc.contrastive_weight",
    "δ": "tfc.margin",
    "delta": "tfc.margin",
    "τ": "tfc.temperature",
    "tau": "tfc.temperature",
    "lr": "finetune.learning_rate",
}
"""What the paper, and habit, call a setting: people will write it."""


@dataclass
class Space:
    """What the settings of a study can be, as far as the file is right."""

    fixed: dict[str, Any] = field(default_factory=dict)
    search: dict[str, Distribution] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    """Settings that the file gives wrongly: nothing is concluded from them."""
    arm: str | None = None
    """The arm whose settings these are."""
    of_arm: dict[str, Any] = field(default_factory=dict)
    """What that arm names; `fixed` holds it too."""

    def values(self, name: str, *, beside: str | None = None) -> Sequence[Any]:
        """What a setting can be: one value, the choices, or a range's two ends; empty where it is given wrongly.

        A setting with a condition can also be its default. `beside` another one that varies, it is only what that
        one's condition accepts.
        """
        if name in self.unknown:
            return ()
        distribution = self.search.get(name)
        values: Sequence[Any] = (self.fixed.get(name, DEFAULTS[name]),)
        if distribution is not None:
            ends = range_ends(distribution) if isinstance(distribution, RANGES) else _choices(distribution)
            values = (*ends, *values) if distribution.when else ends
        return [value for value in values if self._is_accepted(name, value, beside)]

    def all_values(self, name: str) -> Sequence[Any]:
        """The same with every number of an integer range."""
        distribution = self.search.get(name)
        if not isinstance(distribution, Integer) or name in self.unknown:
            return self.values(name)
        low, high = distribution.integer
        numbers = range(low, high + 1, distribution.step)
        return [*numbers, DEFAULTS[name]] if distribution.when else numbers

    def can_be_together(self, name: str, value: Any, other: str, others_value: Any) -> bool:
        """Whether the condition of one setting on another one lets it have that value: its default it always can."""
        return value == DEFAULTS[name] or self._is_accepted(other, others_value, name)

    def _is_accepted(self, name: str, value: Any, beside: str | None) -> bool:
        """Whether the condition of `beside`, if it has one on a setting, accepts a value of that setting."""
        part = self.search.get(beside or "")
        if part is None or name not in (part.when or {}):
            return True
        return _hashable(value) in accepted_values(name, (part.when or {})[name])

    def steps(self, name: str) -> Steps | None:
        """Where the file gives a setting, or None where it has its default."""
        if self.arm is not None and name in self.of_arm:
            return ("arms", self.arm, name)
        for section, given in (("search", self.search), ("fixed", self.fixed)):
            if name in given:
                return (section, name)
        return None


def _choices(distribution: Choice | Fixed) -> tuple[Any, ...]:
    return (distribution.fixed,) if isinstance(distribution, Fixed) else distribution.choice


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def kind_of(name: str) -> Literal["whole", "number", "other"]:
    """Whether a setting takes whole numbers, numbers, or neither."""
    section, _, setting = name.partition(".")
    annotation = _section(section).model_fields[setting].annotation
    types = {annotation, *get_args(annotation)}
    return "whole" if int in types else "number" if float in types else "other"


def read_settings(document: Document) -> Space:
    """Check `fixed` and `search` entry by entry; what is right goes into the space, what is wrong is reported."""
    space = Space()
    for name, value in document.section("fixed").items():
        if not is_known(document, ("fixed", name), value):
            continue
        if keeps_rule(document, ("fixed", name), name, value):
            space.fixed[name] = value
        else:
            space.unknown.add(name)
    for name, value in document.section("search").items():
        steps: Steps = ("search", name)
        if not is_known(document, steps, value):
            continue
        if name in document.section("fixed"):
            space.unknown.add(name)
            line = document.line_of(("fixed", name))
            document.report(steps, f"must not be searched and fixed at once, is fixed in {line}", about_name=True)
        distribution = _distribution(document, steps, value)
        if distribution is None or not _suits(document, steps, name, distribution):
            space.unknown.add(name)
        else:
            space.search[name] = distribution
    return space


def nearest_settings(name: str) -> str:
    """`; did you mean x?` for the settings that a wrong name may stand for."""
    name = name.lower()
    last = name.rpartition(".")[2]
    if last in SYMBOLS:
        return f"; did you mean {SYMBOLS[last]}?"
    by_last = [known for known in DEFAULTS if known.rpartition(".")[2] == last]
    close = difflib.get_close_matches(name, DEFAULTS, 1, 0.85)
    if close or not by_last:
        lasts = difflib.get_close_matches(last, {known.rpartition(".")[2] for known in DEFAULTS}, 1, 0.8)
        by_last = close or [known for known in DEFAULTS if known.rpartition(".")[2] in lasts]
    return f"; did you mean {one_of(by_last)}?" if by_last else did_you_mean(name, DEFAULTS, 0.5)


def broken_settings(name: str, value: Any) -> Iterator[tuple[Steps, str]]:
    """What a setting's own rule says against a value, with the steps into the value."""
    section, _, setting = name.partition(".")
    try:
        _section(section).model_validate({setting: value})
    except ValidationError as error:
        for detail in error.errors():
            yield detail["loc"][1:], broken_rule(detail)


def _section(name: str) -> type[Part]:
    section = Settings.model_fields[name].annotation
    assert isinstance(section, type)
    assert issubclass(section, Part)
    return section


def is_known(document: Document, steps: Steps, value: Any) -> bool:
    """Whether the last step names a setting; reported where it does not."""
    name = str(steps[-1])
    if name in DEFAULTS:
        return True
    if name in Settings.model_fields:
        inner = next(iter(value)) if isinstance(value, dict) and value else next(iter(_section(name).model_fields))
        message = f"a section is not a setting; write {name}.{inner} as one name"
    else:
        message = f"unknown setting{nearest_settings(name)}"
    document.report(steps, message, about_name=True)
    return False


def keeps_rule(document: Document, steps: Steps, name: str, value: Any) -> bool:
    """Whether a value keeps the setting's own rule; reported where it does not."""
    broken = list(broken_settings(name, value))
    for inner, message in broken:
        document.report((*steps, *inner), message)
    return not broken


def _distribution(document: Document, steps: Steps, value: Any) -> Distribution | None:
    """The distribution that an entry of `search` describes."""
    if not isinstance(value, dict):
        if isinstance(value, list) and value:
            numbers = len(value) == 2 and all(isinstance(end, int | float) for end in value)
            hint = f"; write {{{'uniform' if numbers else 'choice'}: {shown(value)}}}"
        else:
            hint = "; a single value belongs under fixed"
        document.report(steps, f"must be one of {one_of([*KINDS])}, got {shown(value)}{hint}")
        return None
    kinds = [kind for kind in KINDS if kind in value]
    if len(kinds) != 1:
        if kinds or not value:
            document.report(steps, f"must be one of {one_of([*KINDS])}, got {' and '.join(kinds) or 'nothing'}")
        else:
            wrong = next(iter(value))
            message = f"must be one of {one_of([*KINDS])}, got {shown(wrong)}{did_you_mean(wrong, KINDS)}"
            document.report((*steps, wrong), message, about_name=True)
        return None
    kind, ends = kinds[0], value[kinds[0]]
    if kind not in ("choice", "fixed") and not (isinstance(ends, list) and len(ends) == 2):
        document.report((*steps, kind), f"must be two numbers [low, high], got {shown(ends)}")
        return None
    if kind == "choice" and isinstance(ends, list) and len(ends) < 2:
        document.report((*steps, kind), f"must list two values or more, got {shown(ends)}; one belongs under fixed")
        return None
    try:
        return KINDS[kind].model_validate(value)
    except ValidationError as error:
        for detail in error.errors():
            extra = detail["type"] == "extra_forbidden"
            fields = KINDS[kind].model_fields
            message = f"unknown name{did_you_mean(detail['loc'][-1], fields)}" if extra else broken_rule(detail)
            if extra and "step" not in fields and detail["loc"][-1] == "step":
                message = f"{kind} takes no step"
            document.report((*steps, *detail["loc"]), message, about_name=extra)
        return None


def _suits(document: Document, steps: Steps, name: str, distribution: Distribution) -> bool:
    """Whether a setting can take what a distribution draws."""
    if isinstance(distribution, Fixed):
        return keeps_rule(document, (*steps, "fixed"), name, distribution.fixed)
    if isinstance(distribution, Choice):
        right = [
            keeps_rule(document, (*steps, "choice", index), name, value)
            for index, value in enumerate(distribution.choice)
        ]
        for index, value in enumerate(distribution.choice):
            if value in distribution.choice[:index]:
                document.report((*steps, "choice", index), f"must be listed once, got {shown(value)} again")
                right.append(False)
        return all(right)
    takes = kind_of(name)
    drawn = next(kind for kind, model in KINDS.items() if isinstance(distribution, model))
    written = document.value["search"][name][drawn]
    steps = (*steps, drawn)
    if takes == "other":
        document.report(steps, f"{name} takes no numbers, got {drawn}; use choice", about_name=True)
        return False
    if takes == "whole" and drawn != "integer":
        message = f"{name} takes whole numbers, got {drawn}; use integer or choice"
        document.report(steps, message, about_name=True)
        return False
    right = [keeps_rule(document, (*steps, index), name, value) for index, value in enumerate(written)]
    return all(right) and _is_range(document, steps, distribution)


def _is_range(document: Document, steps: Steps, distribution: Uniform | LogUniform | Integer) -> bool:
    """Whether a range has two ends that its steps, or its logarithm, can reach."""
    low, high = range_ends(distribution)
    message = ""
    if low >= high:
        hint = "fix the setting instead" if low == high else "exchange the two"
        message = f"low must be below high, got {low:g} and {high:g}; {hint}"
    elif isinstance(distribution, LogUniform):
        if low <= 0:
            steps, message = (*steps, 0), f"low must be above 0 for a logarithm, got {low:g}; use uniform"
    elif distribution.step is not None:
        step, count = distribution.step, (high - low) / distribution.step
        if step > high - low:
            message = f"step must be at most high - low = {high - low:g}, got {step:g}"
        elif not math.isclose(count, round(count), rel_tol=1e-9):
            message = (
                f"step must divide high - low = {high - low:g}, got {step:g}; "
                f"end the range at {low + math.floor(count) * step:g}"
            )
        if message:
            steps = (*steps[:-1], "step")
    if message:
        document.report(steps, message)
    return not message
