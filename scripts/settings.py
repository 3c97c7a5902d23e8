"""Writes docs/settings.md from the settings classes: `python scripts/settings.py`."""

from __future__ import annotations

from pathlib import Path

from compress.config.compose import CONF
from compress.config.ending import Parser, one_line_ending
from compress.config.settings_page import settings_page
from compress.system.files import write_atomically

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"


@one_line_ending()
def main() -> None:
    """Writes the page."""
    Parser(description=__doc__).parse_args()
    write_atomically(PAGE, settings_page(CONF))


if __name__ == "__main__":
    main()
