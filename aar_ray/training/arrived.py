"""Whether the settings of a trial arrived where they are used.

A setting that got lost on its way would leave a default in its place, and a study would rank noise. Trials compare what
came back with a result, in processes that need no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class NotApplied(RuntimeError):
    """A setting did not arrive where it is used; no result may be made of such a run."""


def check_applied(wanted: Mapping[str, Any], applied: Mapping[str, Any], *, stage: str) -> None:
    """Compare what a trial was to try with what a worker had.

    Args:
        wanted: settings by dotted name as the trial has them; those of other stages are passed over.
        applied: what came back with the result, as `encoder_settings` and the like read it.
        stage: named in the error.

    Raises:
        NotApplied: a value differs, or nothing came back.
    """
    if not applied:
        raise NotApplied(f"{stage} said nothing of the settings that it applied")
    for name, value in applied.items():
        asked = list(wanted[name]) if isinstance(wanted[name], tuple) else wanted[name]
        if asked != value:
            raise NotApplied(f"{name} must reach {stage} as the trial has it, {asked!r}, got {value!r} there")
