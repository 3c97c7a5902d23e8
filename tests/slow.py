"""Rows of a test's table that are for the slow suite."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def slow(rows: Iterable[Any]) -> list[Any]:
    """Rows for the slow suite; a tuple is a row of several values."""
    split = (row if isinstance(row, tuple) else (row,) for row in rows)
    return [pytest.param(*values, marks=pytest.mark.slow) for values in split]


def slow_but(quick: Iterable[Any], rows: Iterable[Any]) -> list[Any]:
    """All rows in their order; those that are not quick are for the slow suite."""
    kept = list(quick)
    return [row if row in kept else slow([row])[0] for row in rows]
