"""Pruning of attention heads.

Michel, Levy, Neubig, "Are Sixteen Heads Really Better than One?", arXiv:1905.10650. Deviations:
`units.py` and `importance.py` in `compress/shaping` say them. Where several query heads share a key
and a value head, that group is the unit: it stays or goes as a whole.
"""

from __future__ import annotations

from typing import ClassVar, final

from pydantic.dataclasses import dataclass

from compress.pruner.components.structured import UnitPruner


@final
@dataclass(frozen=True, kw_only=True)
class Heads(UnitPruner):
    """Removes attention heads: rows of query, key and value, columns of the output projection."""

    noun: ClassVar[str] = "heads"
    few: ClassVar[bool] = True
