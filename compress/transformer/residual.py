"""The residual stream: the axes of all parameters that are its channels, and their removal.

Inside the blocks the layout defines what reads and writes the stream. Outside of them the rule goes
by type and width, for a stream of width d:

- an axis of a Linear that is d long belongs to it, so poolers and the dense layers of
  classification heads lose inputs and outputs alike, and the last classifier its inputs;
- of a convolution over patches, the output channels;
- of anything else (embeddings, norms, class tokens, learned positions), the last axis if d long.

Embeddings of another width, as ELECTRA's, stay as they are. Where a width that is equal by accident
would make this rule guess, the model is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from compress.config.errors import ConfigError
from compress.transformer.blocks import LINEARS, Block, known_blocks, weight_matrix
from compress.transformer.stored_modules import FactorizedEmbedding, LowRankLinear
from compress.transformer.surgery import resize_

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def residual_width(module: PreTrainedModel) -> int:
    """Channels of the residual stream.

    Raises:
        ConfigError: another dimension has the same size, so shapes are ambiguous; the norms have
            no weights; or the model computes with the width.
    """
    blocks = known_blocks(module)
    block = blocks[0]
    others = {
        "classes": [module.config.num_labels],
        "attention heads": [block.heads],
        "input channels of a convolution": [
            part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)
        ],
        "columns of the factorized token table": [
            part.table.embedding_dim
            for part in module.modules()
            if isinstance(part, FactorizedEmbedding)
        ],
    }
    name = type(module).__name__
    for what, counts in others.items():
        if block.width in counts:
            raise ConfigError(
                f"the residual stream of {name} has {block.width} channels, as many as there are "
                f"{what}; expected another number, to distinguish their weights by shape"
            )
    if not _norms(block):
        raise ConfigError(
            f"the norms of {name} have no weights as long as its residual stream, expected some"
        )
    _refuse_scales(module, blocks)
    return block.width


def residual_axes(module: PreTrainedModel) -> dict[str, tuple[int, ...]]:
    """The axes that run along the residual stream's channels, by parameter name.

    Raises:
        ConfigError: see `residual_width`.
    """
    width, blocks = residual_width(module), known_blocks(module)
    found: dict[str, tuple[int, ...]] = {}
    for block in blocks:
        for name, axis in _axes_in_block(block):
            found[f"{block.name}.{name}"] = (axis,)
    for name, part in _outside_blocks(module, blocks):
        for leaf, parameter in part.named_parameters(recurse=False):
            axes = _axes_outside(part, parameter, width)
            if axes:
                found[f"{name}.{leaf}".lstrip(".")] = axes
    return found


def keep_channels_(module: PreTrainedModel, kept: Int[Tensor, " kept"]) -> tuple[str, ...]:
    """Narrows the residual stream to these channels, the same ones everywhere.

    They come in the order of `kept`, on which the outputs do not depend. Heads keep their number
    and width. The config keeps the old width, from which most architectures
    derive the head size; only the weights' shapes change.

    Returns:
        The names of the resized parameters.

    Raises:
        ConfigError: see `residual_width`.
    """
    cut = residual_axes(module)
    for name, axes in cut.items():
        owner, _, leaf = name.rpartition(".")
        value: Tensor = module.get_parameter(name)
        for axis in axes:
            value = value.index_select(axis, kept.to(value.device))
        resize_(module.get_submodule(owner), leaf, value)
    return tuple(cut)


def residual_norms(module: PreTrainedModel) -> dict[str, nn.Module]:
    """The norms of the residual stream inside the blocks, by full name."""
    blocks = known_blocks(module)
    return {f"{b.name}.{path}": norm for b in blocks for path, norm in _norms(b).items()}


def residual_matrices(module: PreTrainedModel) -> Iterator[Float[Tensor, "other width"]]:
    """The blocks' projections, turned so that each column is a channel of the residual stream."""
    for block in known_blocks(module):
        for path in block.layout.projections:
            matrix = weight_matrix(block.projection(path))
            yield matrix.T if _writes(block, path) else matrix


def _axes_in_block(block: Block) -> Iterator[tuple[str, int]]:
    """Parameters of a block by their name in it, each with its one axis."""
    for path in block.layout.projections:
        part, writes = block.projection(path), _writes(block, path)
        if isinstance(part, LowRankLinear):
            path = f"{path}.up" if writes else f"{path}.down"
            part = part.up if writes else part.down
        yield f"{path}.weight", int(writes == isinstance(part, Conv1D))
        if writes and part.bias is not None:
            yield f"{path}.bias", 0
    for path, part in _beside_attention(block):
        for leaf, parameter in part.named_parameters(recurse=False):
            if parameter.shape[-1] == block.width:
                yield f"{path}.{leaf}".lstrip("."), parameter.ndim - 1


def _refuse_scales(module: PreTrainedModel, blocks: Sequence[Block]) -> None:
    """Refuses Gemma's embedding scale, which would change when the model is rebuilt."""
    width = blocks[0].width
    for path, part in _outside_blocks(module, blocks):
        if any(type(fact) is float and fact == width**0.5 for fact in vars(part).values()):
            raise ConfigError(
                f"{type(module).__name__} multiplies {path} by the root of its residual width, "
                f"{width}; expected a model that does not compute with its width"
            )


def _outside_blocks(
    module: PreTrainedModel, blocks: Sequence[Block]
) -> Iterator[tuple[str, nn.Module]]:
    """The model's modules by name, but for its blocks and what is in them."""
    for name, part in module.named_modules():
        if not any(f"{name}.".startswith(f"{block.name}.") for block in blocks):
            yield name, part


def _axes_outside(part: nn.Module, parameter: nn.Parameter, width: int) -> tuple[int, ...]:
    """Axes of a parameter that belongs to a module outside the blocks; see the rule above."""
    if isinstance(part, LINEARS):
        considered = range(parameter.ndim)
    elif isinstance(part, nn.Conv2d):
        considered = range(1)
    else:
        considered = range(parameter.ndim - 1, parameter.ndim)
    return tuple(axis for axis in considered if parameter.shape[axis] == width)


def _norms(block: Block) -> dict[str, nn.Module]:
    return {
        path: part
        for path, part in _beside_attention(block)
        for leaf, parameter in part.named_parameters(recurse=False)
        if leaf == "weight" and parameter.shape == (block.width,)
    }


def _beside_attention(block: Block) -> Iterator[tuple[str, nn.Module]]:
    """A block's modules but for its projections and what is inside its attention.

    Norms in there are of queries and keys, whose width can be that of the stream; the layout names
    those that are not.
    """
    apart = (block.layout.attention, *block.layout.projections)
    for path, part in block.module.named_modules():
        inside = any(f"{path}.".startswith(f"{other}.") for other in apart)
        if path in block.layout.norms or not inside:
            yield path, part


def _writes(block: Block, path: str) -> bool:
    """Whether a projection writes the stream; the others read it."""
    return path in (block.layout.output, block.layout.down)
