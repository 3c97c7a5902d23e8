"""Console output: its width, and escaping."""

from __future__ import annotations

import os

from rich.console import Console
from rich.markup import escape

from compress.config.legible import visible

PIPED = 120  # columns without a terminal; most recipes fit into one line


def open_console() -> Console:
    """A console for standard output, as wide as the terminal, or as COLUMNS says.

    Rich assumes 80 columns for a file or a pipe, which would wrap tables needlessly.
    """
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED
    return console


def plain(text: str) -> str:
    """Text that a console prints literally: markup and control characters are escaped."""
    return escape(visible(text))
