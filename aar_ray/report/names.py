"""How trials and settings are called where people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SYMBOLS = {
    "tfc.contrastive_weight": "λ",
    "tfc.margin": "δ",
    "patchtst.patch_length": "P",
    "patchtst.patch_stride": "S",
}
"""The paper's symbols, for run names and table heads."""

LONGEST_CHOSEN = 6
"""Characters of a value that is shown whole."""


def run_name(trial: int, settings: Mapping[str, Any], *, again: int | None = None, arm: str | None = None) -> str:
    """Name of a trial, as in `trial-012 λ0.41 δ0.30 P8 S4`: symbols of what is searched.

    Args:
        trial: its number.
        settings: those that vary.
        again: number of the first trial of the same settings, for one with another seed.
        arm: name of its arm.
    """
    about = [arm] if arm else []
    about += [] if again is None else [f"again-{again:03d}"]
    values = [f"{symbol}{_short(settings[name])}" for name, symbol in SYMBOLS.items() if name in settings]
    return " ".join([f"trial-{trial:03d}", *about, *values])


def duration(seconds: float) -> str:
    """Seconds as a clock shows them: `0:07`, `12:30`, `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"


def _short(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def value_text(value: Any) -> str:
    """A setting's value as people read it: three digits of what was drawn, `none` for None, lists with commas."""
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        chosen = f"{value:.6g}"
        return chosen if float(chosen) == value and len(chosen) <= LONGEST_CHOSEN else f"{value:.3g}"
    return str(value)
