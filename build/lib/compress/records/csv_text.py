"""A table as CSV, of which a spreadsheet calculates nothing.

What a cell says may come from anywhere: an override, a path, an error of a library. Spreadsheets
take text that begins with certain characters for a formula and run it when the file is opened;
with an apostrophe before it, it is text again (OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
import re
from typing import Any

import pandas as pd

# Signs, also in full width, and what spreadsheets strip before they look; and the apostrophe
# itself, so that the first one of a cell is always ours.
ACTIVE = re.compile("['=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def csv_text(table: pd.DataFrame) -> str:
    """The table as CSV, with harmless texts and names of columns; numbers as they are."""
    harmless = {
        name: column if pd.api.types.is_numeric_dtype(column) else column.map(cell, "ignore")
        for name, column in table.items()
    }
    made = pd.DataFrame(harmless).rename(columns=cell)
    text = made.to_csv(index=False)
    # Python's writer leaves a carriage return unquoted, at which its reader ends the row.
    return made.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC) if "\r" in text else text


def cell(value: Any) -> Any:
    """A value that no spreadsheet takes for a formula."""
    plain = not isinstance(value, str) or not ACTIVE.match(value) or NUMBER.fullmatch(value)
    return value if plain else f"'{value}"
