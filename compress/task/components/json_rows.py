"""Strict parser for JSON lines: one object per line, without duplicate keys."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from compress.config.errors import UserError, first_line

SHOWN = 40  # characters of what was got


class _Twice(dict[str, Any]):
    """An object with a duplicate key, whose meaning JSON leaves undefined."""

    name: str


def json_row(where: str, number: int, line: str) -> dict[str, Any]:
    """Parses the object in a line.

    Args:
        where: names the file in errors.
        number: of the row, from 1.
        line: its text.

    Raises:
        UserError: it is not valid JSON, no object, or has a name twice.
    """
    try:
        row = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: row {number} is not valid JSON: {first_line(error)}") from error
    if isinstance(row, _Twice):
        raise UserError(f"{where}: row {number} has {row.name!r} twice")
    if not isinstance(row, dict):
        raise UserError(f"{where}: row {number} is {line.strip()[:SHOWN]}, expected a JSON object")
    return row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) == len(pairs):
        return row
    doubled, seen = _Twice(row), Counter(name for name, _ in pairs)
    doubled.name = seen.most_common(1)[0][0][:SHOWN]
    return doubled
