"""What a study's recordings gave, in lines: windows, animals, and what had to be left out and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aar_ray.report.names import duration


def recording_lines(started: Mapping[str, Any]) -> Iterator[str]:
    """One line a source, one for each reason to leave something out, one for each warning about the folds.

    Args:
        started: a `study_started` event; one without summaries gives no lines.
    """
    simulated = " (SIMULATED)" if started.get("simulated") else ""
    for part in ("corpus", "labelled"):
        for source, about in started.get(part, {}).get("summary", {}).items():
            yield f"{source}{simulated}: {about['windows']:,} windows of {about['animals']} animals"
            for reason, left_out in about["dropped"].items():
                seconds = duration(left_out["seconds"])
                yield f"{source}: left out, {reason}: {left_out['stretches']:g} stretches, {seconds} in all"
            for recording, axes in about["constant_axes"].items():
                yield f"{source}: constant in {recording}: {', '.join(axes)}"
    for warning in started.get("warnings", ()):
        yield f"warning: {warning}"
