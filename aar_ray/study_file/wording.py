"""Plain words for what is wrong with a value of a study file: the rule, the value received, the way out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

RULES = {
    "missing": "must be given",
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be above {gt:g}",
    "less_than_equal": "must be at most {le:g}",
    "less_than": "must be below {lt:g}",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be finite",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must begin with a letter or digit and hold only letters, digits, '.', '_' and '-'",
    "tuple_type": "must be a list",
    "too_short": "must hold at least {min_length}",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of names to values",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be {expected_tags}",
    "union_tag_not_found": "must be given",
}
"""Of pydantic's error types; an error of another type keeps pydantic's words."""


def shown(value: Any) -> str:
    """A value as a message quotes it, in YAML's words and at most about 60 characters."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def did_you_mean(name: object, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean x?`, or nothing where no known name is near."""
    by_lower = {word.lower(): word for word in known}
    found = difflib.get_close_matches(str(name).lower(), by_lower, 1, cutoff)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""


def one_of(words: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def broken_rule(error: Mapping[str, Any]) -> str:
    """One of pydantic's error details as rule, value received and hint."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    rule = RULES.get(kind)
    if rule is None:
        message = str(error["msg"])
        return f"{message[:1].lower()}{message[1:]}, got {shown(value)}"
    rule = rule.format_map(context)
    if kind in ("missing", "union_tag_not_found"):
        return rule
    if kind == "union_tag_invalid":
        words = [word.strip("' ") for word in str(context["expected_tags"]).split(",")]
        return f"must be {one_of(words)}, got {shown(context['tag'])}{did_you_mean(context['tag'], words)}"
    return f"{rule}, got {shown(value)}{_way_out(kind, value, context)}"


def _way_out(kind: str, value: Any, context: Mapping[str, Any]) -> str:
    """What to write instead, where the value tells what was meant."""
    if kind in ("int_type", "float_type"):
        if isinstance(value, dict):
            return "; a distribution belongs under search"
        number = _number_in(value)
        if number is not None and (kind == "float_type" or number.is_integer()):
            return f"; write {int(number) if kind == 'int_type' else number}"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "; put it in quotes"
    if kind == "tuple_type" and isinstance(value, str):
        return f"; write [{value}]"
    if kind == "bool_type" and str(value).lower() in ("yes", "on", "no", "off"):
        return f"; write {'true' if str(value).lower() in ('yes', 'on') else 'false'}"
    if kind in ("dict_type", "model_type") and value is None:
        return "; fill it in or leave it out"
    if kind in ("dict_type", "model_type") and ":" in str(value):
        return "; a colon needs a space after it"
    if kind == "literal_error":
        return did_you_mean(value, str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", "))
    return ""


def _number_in(value: Any) -> float | None:
    """The number that a text such as `0,5` or a float such as `4.0` stands for."""
    if isinstance(value, bool) or not isinstance(value, str | float):
        return None
    try:
        number = float(str(value).replace(",", ".").replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
