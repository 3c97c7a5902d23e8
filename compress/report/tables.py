"""Tables as the reports have them, in Markdown and on the terminal, and what is said once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from rich import box
from rich.table import Table

from compress.records.markdown import plain_text

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Its lines, every cell escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(map(plain_text, line))} |" for line in lines]


def screen_table(title: str | None = None) -> Table:
    """An empty table without lines between the cells, for a narrow screen."""
    return Table(
        title=title,
        header_style="bold",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """The values of each key, in their order, so that what holds for several is said once."""
    found: dict[K, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found
