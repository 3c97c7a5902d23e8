"""Nested settings as flat names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def dotted(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting by its dotted name, in words; an empty mapping is one itself.

    Args:
        value: of nested mappings.
        prefix: the name of the whole; "" for none.
    """
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from dotted(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, str(value)
