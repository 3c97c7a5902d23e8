"""Pruning of the neurons of the feed-forward: its inner width shrinks.

The formulas and their papers are those of `components/importance.py`, the rules of how many stay
those of `components/structured.py`.
"""

from __future__ import annotations

from typing import ClassVar, final

from pydantic.dataclasses import dataclass

from compress.pruner.components.structured import UnitPruner
from compress.transformer.blocks import Block, Units


@final
@dataclass(frozen=True, kw_only=True)
class Neurons(UnitPruner):
    """Removes neurons: rows of the up (and gate) projection, columns of the down projection."""

    noun: ClassVar[str] = "neurons"
    few: ClassVar[bool] = False

    def units(self, block: Block) -> Units:
        """The neurons of a block."""
        return block.neuron_units()
