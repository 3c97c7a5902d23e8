"""Round to nearest in groups: the baseline of every method that chooses codes by data.

As in the tables of Frantar et al., "GPTQ", arXiv:2210.17323; see `compress.transformer.packing` for
the formula and what deviates.
"""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from compress.quantizer.components.grouped import GroupedWeights


@dataclass(frozen=True, kw_only=True)
class Rtn(GroupedWeights):
    """Rounds the weight of every Linear.

    Attributes:
        symmetric: whether the middle code is zero and scales are signed, of least squared error;
            else each group has a zero point.
    """

    symmetric: bool

    @property
    def symmetric_grid(self) -> bool:  # type: ignore[override]
        """As asked."""
        return self.symmetric
