"""Pruning of the neurons of the feed-forward: its inner width shrinks.

The formulas and their papers are those of `compress/shaping/importance.py`, the rules of how many
stay those of `compress/shaping/units.py`.
"""

from __future__ import annotations

from typing import ClassVar, final

from pydantic.dataclasses import dataclass

from compress.pruner.components.structured import UnitPruner


@final
@dataclass(frozen=True, kw_only=True)
class Neurons(UnitPruner):
    """Removes neurons: rows of the up (and gate) projection, columns of the down projection."""

    noun: ClassVar[str] = "neurons"
    few: ClassVar[bool] = False
