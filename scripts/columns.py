"""Writes docs/columns.md anew from the columns that the code has: `python scripts/columns.py`."""

from __future__ import annotations

import argparse
from pathlib import Path

from compress.files import write_atomically
from compress.report.table import columns_page

PAGE = Path(__file__).parents[1] / "docs" / "columns.md"


def main() -> None:
    """Writes the page."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    write_atomically(PAGE, columns_page())


if __name__ == "__main__":
    main()
