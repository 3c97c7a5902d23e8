"""Where tables are printed, and how wide they may be."""

from __future__ import annotations

import os

from rich.console import Console
from rich.markup import escape

from compress.config.legible import visible

PIPED = 120  # columns where no terminal says its own; most recipes fit into one line


def open_console() -> Console:
    """A console for standard output, as wide as the terminal, or as COLUMNS says.

    Rich takes a file or a pipe to be 80 columns wide; nothing has to be squeezed there.
    """
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED
    return console


def plain(text: str) -> str:
    """Text that a console prints as it is: neither markup nor control of the terminal."""
    return escape(visible(text))
