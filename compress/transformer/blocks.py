"""Attention and feed-forward of a transformer's layers, found by structure, not by class name.

An architecture is supported when the Linear layers of its blocks are those of one `Layout` in
`layouts.py`; to support another one, add its layout there.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from transformers.pytorch_utils import Conv1D

from compress.config.errors import ConfigError
from compress.transformer.layouts import LAYOUTS, Layout
from compress.transformer.stacks import LINEARS as LINEARS
from compress.transformer.stacks import Linear as Linear
from compress.transformer.stacks import block_linears as block_linears
from compress.transformer.stacks import check_all_linear, find_stack, other_matrices
from compress.transformer.stored_modules import LowRankLinear

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Projection: TypeAlias = nn.Linear | Conv1D | LowRankLinear


@dataclass(frozen=True)
class Units:
    """Parts of a block that can be removed one by one: its heads, or its neurons.

    Attributes:
        count: number of units.
        rows: the output rows that compute each unit, by path of the projection.
        columns: the input columns of `reader` that read each unit.
        reader: path of the projection that reads the units.
    """

    count: int
    rows: dict[str, Int[Tensor, "units n"]]
    columns: Int[Tensor, "units n"]
    reader: str


@dataclass(frozen=True)
class Block:
    """One layer of a transformer.

    Attributes:
        name: full name in the model.
    """

    name: str
    module: nn.Module
    layout: Layout

    def projection(self, path: str) -> Projection:
        """The projection at a path of the layout."""
        part = self.module.get_submodule(path)
        assert isinstance(part, (*LINEARS, LowRankLinear)), "the layout was matched"
        return part

    @property
    def attention(self) -> nn.Module:
        """The attention module."""
        return self.module.get_submodule(self.layout.attention)

    @property
    def head_size(self) -> int:
        """Width of one head."""
        return int(getattr(self.attention, self.layout.head_size))

    @property
    def heads(self) -> int:
        """Number of query heads."""
        return shape_of(self.projection(self.layout.output))[1] // self.head_size

    @property
    def key_value_heads(self) -> int:
        """Number of key-value heads: fewer than `heads` in grouped-query attention."""
        if self.layout.key == self.layout.query:
            return self.heads
        return shape_of(self.projection(self.layout.key))[0] // self.head_size

    @property
    def neurons(self) -> int:
        """Width of the feed-forward."""
        return shape_of(self.projection(self.layout.down))[1]

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return shape_of(self.projection(self.layout.down))[0]

    def head_units(self) -> Units:
        """The heads. Query heads that share a key-value head are one unit."""
        layout, count = self.layout, self.key_value_heads
        width = self.heads * self.head_size
        queries = torch.arange(width).view(count, -1)
        if layout.by_head:
            rows = {layout.query: torch.arange(3 * width).view(count, -1)}
        elif layout.key == layout.query:
            rows = {layout.query: torch.cat([queries + i * width for i in range(3)], dim=1)}
        else:
            keys = torch.arange(count * self.head_size).view(count, -1)
            rows = {layout.query: queries, layout.key: keys, layout.value: keys}
        return Units(count, rows, queries, layout.output)

    def neuron_units(self) -> Units:
        """The neurons of the feed-forward."""
        indices = torch.arange(self.neurons).view(-1, 1)
        rows = dict.fromkeys(self.layout.up, indices)
        return Units(self.neurons, rows, indices, self.layout.down)


def known_blocks(module: PreTrainedModel) -> tuple[Block, ...]:
    """The layers of a transformer, each with its layout.

    Raises:
        ConfigError: the model has several stacks of layers, or no known layout matches them.
    """
    stack = find_stack(module)
    return tuple(
        Block(f"{stack.name}.{index}", block, _layout_of(module, block))
        for index, block in enumerate(stack.blocks)
    )


def blocks_if_known(module: PreTrainedModel) -> tuple[Block, ...]:
    """The layers of a model with a known layout; none for other models."""
    try:
        return known_blocks(module)
    except ConfigError:
        return ()


def stream_width(module: PreTrainedModel) -> int:
    """Width of what layers pass on: of narrowed layers, whose config has the old one, their own."""
    widths = [block.width for block in blocks_if_known(module)]
    return widths[0] if widths else int(module.config.hidden_size)


def scoped_linears(module: PreTrainedModel, scope: str) -> dict[str, Linear]:
    """The Linear layers of the blocks that a scope selects.

    Args:
        module: a transformer.
        scope: "all", "attention", "ffn", or a pattern of full names such as "*.0.*".

    Raises:
        ConfigError: the scope matches no layer; or it is "all" and the layers have other matrices.
    """
    linears = block_linears(module)
    if scope == "all" or not linears:
        check_all_linear(module, f"scope={scope}")
        return linears
    if scope in ("attention", "ffn"):
        named: set[str] = set()
        for block in known_blocks(module):
            paths = block.layout.heads if scope == "attention" else block.layout.feed_forward
            named |= {f"{block.name}.{path}" for path in paths}
        found = {n: part for n, part in linears.items() if n in named or _parent(n) in named}
    else:
        found = {n: part for n, part in linears.items() if fnmatch.fnmatchcase(n, scope)}
    if not found:
        first, *_, last = linears
        raise ConfigError(
            f"scope={scope} matches no Linear layer; expected all, attention, ffn, or a pattern of "
            f"names from {first} to {last}"
        )
    return found


def weight_matrix(part: Projection) -> Float[Tensor, "out in"]:
    """The weight as [out, in]: a view to change in place, or the product of a factorized layer."""
    if isinstance(part, LowRankLinear):
        product: Tensor = part.up.weight @ part.down.weight
        return product
    return part.weight.T if isinstance(part, Conv1D) else part.weight


def shape_of(part: Projection) -> tuple[int, int]:
    """(out, in) of a projection."""
    if isinstance(part, LowRankLinear):
        return part.up.out_features, part.down.in_features
    out_features, in_features = weight_matrix(part).shape
    return out_features, in_features


def every_linear(module: nn.Module) -> Iterator[tuple[str, Linear]]:
    """Every Linear layer of a model by name, inside and outside the blocks.

    Not an output layer whose weight is the embedding table: it has the table's format.
    """
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    for name, part in module.named_modules():
        if isinstance(part, LINEARS) and id(part.weight) not in tables:
            yield name, part


def _layout_of(module: PreTrainedModel, block: nn.Module) -> Layout:
    """The layout with exactly the block's projections and its attention's attributes."""
    whole = {name for name, part in block.named_modules() if isinstance(part, LowRankLinear)}
    linears = {name for name, _ in every_linear(block)}
    present = whole | {name for name in linears if _parent(name) not in whole}
    # Nystromformer's layers have BERT's projections and a convolution with a filter per head.
    present |= {name for name, part in block.named_modules() if isinstance(part, _ConvNd)}
    present |= {name.partition(".")[2] for name in other_matrices(nn.ModuleList([block]))}
    for layout in LAYOUTS:
        if present == set(layout.projections):
            attributes = {layout.head_size, *(name for name, _ in layout.attributes)}
            if attributes <= set(vars(block.get_submodule(layout.attention))):
                return layout
    known = "; ".join(layout.families for layout in LAYOUTS)
    paths = ", ".join(sorted(present))
    raise ConfigError(
        f"the layers of {type(module).__name__} have weights at {paths}, "
        f"which match no known layout ({known}); add one to compress/transformer/layouts.py"
    )


def _parent(name: str) -> str:
    return name.rpartition(".")[0]
