"""The text of a study file: plain values, where each was written, and what is wrong with them."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLWarning
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from aar_ray.config import Settings
from aar_ray.study_file.wording import did_you_mean, shown

Steps = tuple[str | int, ...]
"""The way to a value from the top: names of mappings and positions in lists."""

DEEPEST = 20
MOST_VALUES = 100_000
# a bound on both also ends aliases that hold themselves, or each other ten times over


@dataclass(frozen=True, order=True)
class Place:
    """Where something was written: in the file (part 0), or in the override of that number."""

    part: int = 0
    line: int = 1
    column: int = 1
    label: str = ""
    """Text before the position, or instead of it in an override."""

    def __str__(self) -> str:
        return self.label if self.part else f"{self.label}:{self.line}:{self.column}"


@dataclass
class Document:
    """A study as plain values (mappings, lists, text, numbers, true, false and nothing), each with its place.

    `report` collects problems; what is wrong about one place is reported once, by whoever sees it first.
    """

    label: str
    """The file's name as messages show it."""
    value: Any = None
    names: dict[Steps, Place] = field(default_factory=dict)
    """Where each name of a mapping stands."""
    values: dict[Steps, Place] = field(default_factory=dict)
    """Where each value begins."""
    _problems: dict[tuple[Steps, bool], tuple[Place, str]] = field(default_factory=dict)

    def report(self, steps: Steps, message: str, *, about_name: bool = False) -> None:
        """Note a problem of a value, or of the name that it was given."""
        path = ".".join(map(str, steps))
        text = f"{path}: {message}" if path else message
        place = self._place(steps, self.names if about_name else self.values)
        self._problems.setdefault((steps, about_name), (place, " ".join(f"{place}: {text}".split())))

    def is_reported(self, *steps: str | int) -> bool:
        """Whether there is a problem of a value, or of anything in it."""
        return any(known[: len(steps)] == steps for known, _ in self._problems)

    def problems(self) -> tuple[str, ...]:
        """All that was reported, in the order of the file, then of the overrides."""
        return tuple(text for _, text in sorted(self._problems.values(), key=lambda problem: problem[0]))

    def section(self, name: str) -> dict[str, Any]:
        """The mapping under a name at the top, or an empty one where the file has none there."""
        found = self.value.get(name)
        return found if isinstance(found, dict) else {}

    def line_of(self, steps: Steps) -> str:
        """`line 12`, or the override."""
        place = self._place(steps, self.names)
        return place.label if place.part else f"line {place.line}"

    def _place(self, steps: Steps, preferred: dict[Steps, Place]) -> Place:
        if steps in preferred:
            return preferred[steps]
        while steps:  # what was left out stands where it should have been: at the name of what surrounds it
            place = self.names.get(steps) or self.values.get(steps)
            if place:
                return place
            steps = steps[:-1]
        return Place(label=self.label)

    # --- reading -----------------------------------------------------------------------------------------------

    def read(self, text: str) -> None:
        """Take the values of a YAML text."""
        try:
            node = _compose(text)
        except _SyntaxError as error:
            self.values[()] = Place(0, error.line, error.column, self.label)
            self.report((), str(error))
            return
        if node is None:
            self.report((), "must be a mapping of names to values, got an empty file")
            return

        def place(found: Node) -> Place:
            return Place(0, found.start_mark.line + 1, found.start_mark.column + 1, self.label)

        self.value = self._taken(node, (), place)
        if not isinstance(self.value, dict) and not self._problems:
            self.report((), f"must be a mapping of names to values, got {shown(self.value)}")

    def _taken(self, node: Node, steps: Steps, place: Callable[[Node], Place]) -> Any:
        """The plain value of a node; notes places and problems on the way."""
        self.values[steps] = place(node)
        if len(steps) > DEEPEST or len(self.values) > MOST_VALUES:
            self.report(
                steps[:1], f"must be nested at most {DEEPEST} deep and the file hold at most {MOST_VALUES} values"
            )
            return None
        if isinstance(node, SequenceNode):
            return [self._taken(item, (*steps, index), place) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, steps)
        assert isinstance(node, MappingNode)
        mapping: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = name_node.value if isinstance(name_node, ScalarNode) else "?"
            inner = (*steps, name)
            if not _is_text(name_node):
                self.names.setdefault(inner, place(name_node))
                self.report(inner, f"names must be text, got {name}; put it in quotes", about_name=True)
            elif name in mapping:
                first, self.names[inner] = self.line_of(inner), place(name_node)
                self.report(inner, f"must be given once, was already given in {first}", about_name=True)
            else:
                self.names[inner] = place(name_node)
                mapping[name] = self._taken(value_node, inner, place)
        return mapping

    def _scalar(self, node: ScalarNode, steps: Steps) -> Any:
        kind, text = _kind(node), str(node.value)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() in ("true", "yes", "on")
        if kind in ("str", "timestamp"):
            return text
        if kind not in ("int", "float"):
            self.report(steps, f"must be plain text or a number without a tag, got {kind}")
            return None
        try:
            number = YAML(typ="safe", pure=True).constructor.construct_object(node)
        except (ValueError, IndexError):  # more digits than Python reads, or a tag on what is no number
            number = math.inf
        if not abs(number) < 2**63:
            rule = "must be finite" if text.lower().endswith((".nan", ".inf")) else "must be a number below 2^63"
            self.report(steps, f"{rule}, got {text[:40]}")
        return number

    # --- overrides ---------------------------------------------------------------------------------------------

    def override(self, text: str, number: int) -> None:
        """Set one value as `name=value`, the value in YAML.

        A setting's dotted name fixes it, and takes it out of the search and of constraints that name it; with
        `search.` before it the setting is searched and no longer fixed. Any other name is a way through the
        document, such as `budget.trials` or `data.unlabelled.0.path`.
        """
        place = Place(number, label=f"--set {text}")
        name, equals, written = text.partition("=")
        steps = _steps(name.strip())
        if not equals or "" in steps:
            self.names[steps] = place
            self.report(steps, "an override must read name=value", about_name=True)
            return
        holder = self._holder(steps, place)
        if holder is None:
            return
        for places in (self.names, self.values):
            for known in [known for known in places if known[: len(steps)] == steps]:
                del places[known]
        self.names[steps] = self.values[steps] = place
        try:
            node = _compose(written)
        except _SyntaxError as error:
            self.report(steps, str(error))
            return
        holder[steps[-1]] = None if node is None else self._taken(node, steps, lambda _: place)
        if steps[0] in ("fixed", "search") and len(steps) == 2:
            self._leave_other_section(str(steps[0]), str(steps[-1]))

    def _holder(self, steps: Steps, place: Place) -> Any:
        """The mapping or list that holds the last step; mappings are made where the document has none."""
        holder = self.value
        for depth, step in enumerate(steps):
            if isinstance(holder, dict):
                if depth == len(steps) - 1:
                    return holder
                if step not in holder:
                    holder[step] = {}
                    self.names[steps[: depth + 1]] = place
                holder = holder[step]
                continue
            self.names[steps] = place
            if not isinstance(holder, list):
                self.report(steps, f"{'.'.join(map(str, steps[:depth]))} holds no names", about_name=True)
                return None
            if not isinstance(step, int) or step >= len(holder):
                self.report(steps, f"must name one of 0 to {len(holder) - 1}, got {step}", about_name=True)
                return None
            if depth == len(steps) - 1:
                return holder
            holder = holder[step]
        return None

    def _leave_other_section(self, section: str, setting: str) -> None:
        """A setting is fixed or searched; what is no longer searched takes its constraints along."""
        self.section("search" if section == "fixed" else "fixed").pop(setting, None)
        required = self.value.get("require")
        if section == "search" or not isinstance(required, list):
            return
        kept = [
            (constraint, self._place(("require", index), self.values))
            for index, constraint in enumerate(required)
            if setting not in re.findall(r"[\w.]+", str(constraint))
        ]
        self.value["require"] = [constraint for constraint, _ in kept]
        self.values.update({("require", index): place for index, (_, place) in enumerate(kept)})


def _steps(name: str) -> Steps:
    """The way through the document that an override's name stands for."""
    first, _, rest = name.partition(".")
    if first in Settings.model_fields:
        return ("fixed", name)
    if first in ("fixed", "search") and rest:
        return (first, rest)
    return tuple(int(step) if step.isdecimal() else step for step in name.split("."))


def read_document(path: Path) -> Document:
    """Read a YAML file; whatever is wrong with file or text is a problem of the document."""
    document = Document(str(path))
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        there = [str(path.with_name(other.name)) for other in path.parent.glob("*.y*ml")]
        document.report((), f"there is no such file{did_you_mean(path, there)}")
    except IsADirectoryError:
        document.report((), "must be a file, got a folder")
    except OSError as error:
        document.report((), f"cannot be read: {error.strerror}")
    else:
        try:
            document.read(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            before = content[: error.start]
            document.values[()] = Place(0, before.count(b"\n") + 1, len(before) - before.rfind(b"\n"), str(path))
            document.report((), f"must be text in UTF-8, got the byte 0x{content[error.start]:02x}; save it as UTF-8")
    return document


class _SyntaxError(Exception):
    """Syntax that YAML does not have, with its line and column from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"must be valid YAML: {message}")
        self.line, self.column = line, column


def _compose(text: str) -> Node | None:
    """The nodes of a YAML 1.2 text, or None where there is nothing but comments."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", YAMLWarning)  # such as an anchor that is given anew, which YAML allows
            node: Node | None = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        context = f"{error.context}, " if str(error.problem).startswith("but ") else ""
        message = f"{context}{error.problem or error}{_hint(str(error.problem))}"
        raise _SyntaxError(message, line, column) from None
    except RecursionError:
        raise _SyntaxError("brackets are nested too deeply", 1, 1) from None
    except YAMLError as error:  # a character that YAML does not allow
        before = text[: getattr(error, "position", 0)]
        message = str(error).splitlines()[0]
        raise _SyntaxError(message, before.count("\n") + 1, len(before) - before.rfind("\n")) from None
    return node


def _hint(problem: str) -> str:
    if "'\\t'" in problem:
        return "; indent with spaces, not with a tab"
    if "mapping values are not allowed" in problem:
        return "; check the indentation, and put text that holds ': ' in quotes"
    if "cannot start any token" in problem:
        return "; put the text in quotes"
    return ""


def _kind(node: Node) -> str:
    return str(node.ctag).removeprefix("tag:yaml.org,2002:")


def _is_text(node: Node) -> bool:
    return isinstance(node, ScalarNode) and _kind(node) in ("str", "timestamp")
