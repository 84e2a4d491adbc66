"""Where commands print: the terminal, or lines wide enough for a table where there is none."""

from __future__ import annotations

from rich.console import Console

PLAIN_WIDTH = 140
"""Characters a line where there is no terminal: the ranked table in one line a trial."""


def wide_console() -> Console:
    """Standard output."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    return console
