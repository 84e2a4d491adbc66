"""Read and write study files: one YAML file is one study, checked whole before anything starts.

An error reads `file:line:col: dotted.path: rule, value received; nearest name`, and all errors come at once.
"""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from aar_ray.config import Part, Settings, Source, Study, dotted
from aar_ray.study_file.arms import check_arms
from aar_ray.study_file.conditions import check_conditions
from aar_ray.study_file.constraints import check_combinations
from aar_ray.study_file.effects import check_effects
from aar_ray.study_file.enqueued import check_enqueued
from aar_ray.study_file.sampling import check_sampler
from aar_ray.study_file.settings import DEFAULTS, read_settings
from aar_ray.study_file.text import Document, Steps, read_document
from aar_ray.study_file.wording import broken_rule, did_you_mean


class StudyFileError(ValueError):
    """All that is wrong with a study file and its overrides, one problem a line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def load_study(path: Path | str, overrides: Sequence[str] = ()) -> Study:
    """Read a study file.

    Args:
        path: a YAML file.
        overrides: each `name=value`, the value in YAML. A setting's dotted name is then fixed and no longer searched;
            `search.` before it has it searched; any other name is a way through the file, as in `budget.trials=4`.

    Raises:
        StudyFileError: the file cannot be read, or file and overrides break rules of the schema, of a setting, of a
            distribution, or among them.
    """
    document = read_document(Path(path))
    if isinstance(document.value, dict):
        for number, override in enumerate(overrides, start=1):
            document.override(override, number)
        study = _validated(document)
        space = read_settings(document)
        check_conditions(document, space)
        check_combinations(document, space)
        check_effects(document, space)
        check_sampler(document, space)
        check_arms(document, space)
        check_enqueued(document, space, study)
        if study is not None and not document.problems():
            return study
    raise StudyFileError(document.problems())


def load_source(path: Path | str) -> Source:
    """Read a file that describes one source of recordings, as a study file does under `data`.

    Args:
        path: a YAML file.

    Raises:
        StudyFileError: the file cannot be read or breaks a rule of the schema.
    """
    document = read_document(Path(path))
    if isinstance(document.value, dict):
        source: TypeAdapter[Source] = TypeAdapter(Source)
        try:
            return source.validate_python(document.value)
        except ValidationError as error:
            _report(document, error, tuple(_parts_in(Source)))
    raise StudyFileError(document.problems())


def save_study(study: Study, path: Path) -> None:
    """Write a study as YAML that `load_study` reads back to an equal one; the settings it leaves alone are comments.

    The file appears whole or not at all.
    """
    yaml = YAML()
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    # a field at None is left out; a setting that is fixed at None is an entry and stays
    yaml.dump(_inline(study.model_dump(mode="json", exclude_none=True)), text)
    reference = dotted(study.reference())
    left = {name: value for name, value in reference.items() if name not in {*study.fixed, *study.varied}}
    comments = io.StringIO()
    yaml.dump(_inline(left), comments)
    text.write("# Settings at their defaults:\n")
    text.writelines(f"#   {line}\n" for line in comments.getvalue().splitlines())

    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with scratch.open("w", encoding="utf-8") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _inline(value: Any) -> Any:
    """Lists without mappings go on one line."""
    if isinstance(value, dict):
        return {name: _inline(inner) for name, inner in value.items()}
    if not isinstance(value, list):
        return value
    items = CommentedSeq(_inline(item) for item in value)
    if not any(isinstance(item, dict) for item in value):
        items.fa.set_flow_style()
    return items


def _validated(document: Document) -> Study | None:
    """The study that the schema reads, or None with what it says reported."""
    try:
        return Study.model_validate(document.value)
    except ValidationError as error:
        _report(document, error, (Study,))
        return None


def _report(document: Document, error: ValidationError, top: Sequence[type[Part]]) -> None:
    """Note what the schema says, where it stands in the file; `top` is what the file as a whole may be."""
    for detail in error.errors():
        if detail["type"] == "study":
            document.report(detail["ctx"]["steps"], detail["ctx"]["rule"], about_name=True)
            continue
        steps = _steps_of(detail["loc"], document.value, missing=detail["type"] == "missing")
        if steps[:1] == ("search",) and len(steps) > 1:
            continue  # a union of distributions; `read_settings` says which one was meant
        if detail["type"] == "extra_forbidden":
            document.report(steps, _unknown_name(steps, document.value, top), about_name=True)
        elif detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
            document.report((*steps, "reader"), broken_rule(detail))
        else:
            document.report(steps, broken_rule(detail))


def _steps_of(location: Sequence[str | int], value: Any, *, missing: bool) -> Steps:
    """pydantic's location without the tags of unions that it puts between the names of the file."""
    steps: list[str | int] = []
    for index, step in enumerate(location):
        is_name = isinstance(value, dict) and step in value
        if is_name or (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            steps.append(step)
            value = value[step]
        elif missing and index == len(location) - 1:
            steps.append(step)
    return tuple(steps)


def _unknown_name(steps: Steps, value: Any, top: Sequence[type[Part]]) -> str:
    """What to say about a name that the schema does not have at that place."""
    name = str(steps[-1])
    if top == (Study,) and len(steps) == 1 and (name in Settings.model_fields or name in DEFAULTS):
        example = name if name in DEFAULTS else f"{name}.{next(iter(type(getattr(Settings(), name)).model_fields))}"
        return f"unknown name; a setting belongs under fixed or search, by its dotted name such as {example}"
    if ":" in name:
        return "unknown name; a colon needs a space after it"
    parts = list(top)
    for step in steps[:-1]:
        value = value[step]
        if not isinstance(step, int):
            parts = [
                inner
                for part in parts
                if step in part.model_fields
                for inner in _parts_in(part.model_fields[step].annotation)
            ]
    names = [known for part in parts if _reads(part, value) for known in part.model_fields]
    hint = did_you_mean(name, names) or "; known here are " + ", ".join(names)
    return f"unknown name{hint}"


def _parts_in(annotation: Any) -> Iterator[type[Part]]:
    """The sections that a type is made of."""
    if inspect.isclass(annotation) and issubclass(annotation, Part):
        yield annotation
    for inner in get_args(annotation):
        yield from _parts_in(inner)


def _reads(part: type[Part], value: Any) -> bool:
    """Whether a source's section is the one that its `reader` names; true of every other section."""
    readers = part.model_fields.get("reader")
    return readers is None or value.get("reader") in get_args(readers.annotation)
