"""Pruning of attention heads.

Michel, Levy, Neubig, "Are Sixteen Heads Really Better than One?", arXiv:1905.10650. Deviations:
`structured.py` and `importance.py` in `components/` say them. Where several query heads share a key
and a value head, that group is the unit: it stays or goes as a whole.
"""

from __future__ import annotations

from typing import ClassVar, final

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.pruner.components.structured import UnitPruner
from compress.transformer.blocks import Block, Units


@final
@dataclass(frozen=True, kw_only=True)
class Heads(UnitPruner):
    """Removes attention heads: rows of query, key and value, columns of the output projection."""

    noun: ClassVar[str] = "heads"
    few: ClassVar[bool] = True

    def units(self, block: Block) -> Units:
        """The heads of a block; a ConfigError if all blocks share one position bias per head."""
        if block.layout.shared_positions:
            raise ConfigError(
                f"Heads cannot prune {block.layout.families}: its blocks share one position bias "
                "per head, so heads cannot be removed from one block; expected an architecture "
                "without shared position biases, or pruner=neurons"
            )
        return block.head_units()
