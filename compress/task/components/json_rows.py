"""Strict parser for JSON lines: one object per line, without duplicate keys."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from compress.config.errors import UserError, first_line

SHOWN = 40  # characters of what was got


class _Twice(dict[str, Any]):
    """An object with a duplicate key, whose meaning JSON leaves undefined."""

    name: str


def json_row(path: Path, number: int, line: str) -> dict[str, Any]:
    """The object in a line; a UserError names the file and the row, from 1."""
    try:
        row = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: row {number} is not valid JSON: {first_line(error)}") from error
    if isinstance(row, _Twice):
        raise UserError(f"{path}: row {number} has {row.name!r} twice")
    if not isinstance(row, dict):
        raise UserError(f"{path}: row {number} is {line.strip()[:SHOWN]}, expected a JSON object")
    return row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) == len(pairs):
        return row
    doubled = _Twice(row)
    doubled.name = Counter(name for name, _ in pairs).most_common(1)[0][0][:SHOWN]
    return doubled
