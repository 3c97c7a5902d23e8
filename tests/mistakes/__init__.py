"""Mistakes on the command line of `run.py`, and the one line that each of them gets.

Arguments → what the line must say. {tmp} is a folder with the files of `write_files`.
"""

from __future__ import annotations

from tests.mistakes.commands import COMMANDS
from tests.mistakes.rows import ROWS
from tests.mistakes.settings import SETTINGS

TABLE = [*SETTINGS, *ROWS, *COMMANDS]
