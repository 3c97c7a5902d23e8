"""Writes docs/columns.md anew from the columns that the code has: `python scripts/columns.py`."""

from __future__ import annotations

from pathlib import Path

from compress.config.ending import Parser, one_line_ending
from compress.system.files import write_atomically

PAGE = Path(__file__).parents[1] / "docs" / "columns.md"


@one_line_ending()
def main() -> None:
    """Writes the page."""
    Parser(description=__doc__).parse_args()
    # After the arguments: --help need not wait for pandas.
    from compress.report.table import columns_page

    write_atomically(PAGE, columns_page())


if __name__ == "__main__":
    main()
