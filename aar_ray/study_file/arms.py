"""The arms of a study that compares instead of searching: each one's settings, by themselves and together."""

from __future__ import annotations

from typing import Any

from aar_ray.study_file.constraints import check_together
from aar_ray.study_file.settings import DEFAULTS, Space, is_known, keeps_rule
from aar_ray.study_file.text import Document, Steps


def check_arms(document: Document, space: Space) -> None:
    """Report what is wrong with each arm, and arms that are the same.

    Args:
        document: the study file.
        space: what it fixes.
    """
    varied = {name for arm in document.section("arms").values() if isinstance(arm, dict) for name in arm}
    seen: dict[tuple[tuple[str, str], ...], str] = {}
    for arm, given in document.section("arms").items():
        if not isinstance(given, dict):
            continue  # the schema says so
        steps: Steps = ("arms", arm)
        right = [_is_right(document, (*steps, name), name, value) for name, value in given.items()]
        if not all(right):
            continue
        check_together(document, Space({**space.fixed, **given}, unknown=space.unknown, arm=arm, of_arm=given))
        settings = tuple((name, repr(given.get(name, DEFAULTS.get(name)))) for name in sorted(varied))
        same = seen.setdefault(settings, arm)
        if same != arm:
            document.report(steps, f"must differ from every other arm, has the settings of {same}", about_name=True)


def _is_right(document: Document, steps: Steps, name: str, value: Any) -> bool:
    if not is_known(document, steps, value):
        return False
    if name in document.section("fixed"):
        line = document.line_of(("fixed", name))
        document.report(steps, f"must not be fixed and in an arm at once, is fixed in {line}", about_name=True)
        return False
    return keeps_rule(document, steps, name, value)
