"""What the terminal shows of the log: own lines, and what others warn of; the file has all.

`hydra.verbose=true` shows everything, with time, module and level.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

OURS = "compress"
# `log.info(…, extra=DETAIL)`: for the log's file.
DETAIL: Mapping[str, bool] = {"detail": True}
EVERYTHING = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"


class Shown(logging.Filter):
    """Passes own lines that are no details, warnings of anybody, and all of it if verbose."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the terminal shows a record."""
        if _verbose() or record.levelno >= logging.WARNING:
            return True
        ours = record.name == OURS or record.name.startswith(f"{OURS}.")
        return ours and not getattr(record, "detail", False)


class Lines(logging.Formatter):
    """The message alone, after its level if it is a warning or worse."""

    def __init__(self) -> None:
        """A formatter for the terminal."""
        super().__init__("%(message)s")
        self._everything = logging.Formatter(EVERYTHING)

    def format(self, record: logging.LogRecord) -> str:
        """A line; several where there is a traceback."""
        if _verbose():
            return self._everything.format(record)
        words = super().format(record)
        worse = record.levelno >= logging.WARNING
        return f"{record.levelname.lower()}: {words}" if worse else words


def shown_path(path: Path) -> str:
    """A path as the terminal shows it: relative, where it is below the working directory."""
    here, whole = Path.cwd(), Path(os.path.abspath(path))
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)


def _verbose() -> bool:
    return logging.getLogger().getEffectiveLevel() <= logging.DEBUG
