"""Weight-only int4: weights as 4-bit integers in groups, arithmetic in the activations' own type.

Round to nearest, the baseline of Frantar et al., "GPTQ", arXiv:2210.17323; see
`compress.transformer.packing` for the formula and what deviates. Two codes share a byte, on disk
and in memory. It is `quantizer=rtn` with 4 bits, and the one that OpenVINO has as well.
"""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from compress.config.fields import PositiveInt
from compress.quantizer.components.grouped import GroupedLinear
from compress.quantizer.components.linears import LinearFormat
from compress.transformer.blocks import Linear
from compress.transformer.packing import Grid


@dataclass(frozen=True, kw_only=True)
class Int4WeightOnly(LinearFormat):
    """Stores the weight of every Linear as int4.

    Attributes:
        group_size: number of consecutive weights of a row that share a scale. The last group of a
            row may be shorter; in OpenVINO all groups of such a layer are.
        symmetric: whether codes are -8..7 times a signed scale of least squared error; else each
            group has a zero point.
    """

    version = 2
    weight_bits = 4

    group_size: PositiveInt
    symmetric: bool

    def quantized(self, linear: Linear) -> GroupedLinear:
        """The weight-only int4 version of a Linear."""
        return GroupedLinear.rounded(linear, Grid(4, self.group_size, self.symmetric))
