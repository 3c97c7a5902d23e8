"""Changing the shapes of a transformer's weights, in place, with everything that knows of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from compress.blocks import Block, Linear, Projection, Units, find_blocks, known_blocks
from compress.modules import LowRankLinear, StoredModule
from compress.settings import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def keep_blocks_(module: PreTrainedModel, kept: Sequence[int]) -> None:
    """Drops every layer but the kept ones, and says so in the config."""
    prefix, blocks = find_blocks(module)
    parent_name, _, attribute = prefix.rpartition(".")
    shorter = nn.ModuleList(blocks[i] for i in kept)
    for index, block in enumerate(shorter):
        for part in block.modules():
            # Decoders index their key-value cache by this number.
            if "layer_idx" in vars(part):
                vars(part)["layer_idx"] = index
    setattr(module.get_submodule(parent_name), attribute, shorter)
    module.config.num_hidden_layers = len(kept)
    # Qwen and others list whether each layer's attention is full or sliding.
    if getattr(module.config, "layer_types", None) is not None:
        module.config.layer_types = [module.config.layer_types[i] for i in kept]


def keep_units_(block: Block, units: Units, kept: Int[Tensor, " kept"]) -> None:
    """Takes every unit but the kept ones out of a block: real shapes, no zeros.

    Args:
        block: loses rows and columns of its projections.
        units: `block.head_units()` or `block.neuron_units()`.
        kept: indices of the units that stay.
    """
    for path, rows in units.rows.items():
        keep_rows_(block.projection(path), rows[kept].flatten().sort().values)
    columns = units.columns[kept].flatten().sort().values
    keep_columns_(block.projection(units.reader), columns)
    sync_attention_(block)


def keep_rows_(part: Projection, rows: Int[Tensor, " kept"]) -> None:
    """Keeps only these output rows of a projection, in this order, with their biases."""
    linear = part.up if isinstance(part, LowRankLinear) else part
    axis = 1 if isinstance(linear, Conv1D) else 0
    resize_(linear, "weight", linear.weight.index_select(axis, rows.to(linear.weight.device)))
    if linear.bias is not None:
        resize_(linear, "bias", linear.bias.index_select(0, rows.to(linear.bias.device)))


def keep_columns_(part: Projection, columns: Int[Tensor, " kept"]) -> None:
    """Keeps only these input columns of a projection, in this order."""
    linear = part.down if isinstance(part, LowRankLinear) else part
    axis = 0 if isinstance(linear, Conv1D) else 1
    resize_(linear, "weight", linear.weight.index_select(axis, columns.to(linear.weight.device)))


def resize_(part: nn.Module, name: str, value: Tensor) -> None:
    """Gives a module's own parameter another value and shape, and tells the module its sizes."""
    setattr(part, name, nn.Parameter(value.detach().contiguous()))
    if name != "weight":
        return
    if isinstance(part, nn.Linear):
        part.out_features, part.in_features = value.shape
    elif isinstance(part, Conv1D):
        part.nx, part.nf = value.shape
    elif isinstance(part, nn.Embedding):
        part.num_embeddings, part.embedding_dim = value.shape
    elif isinstance(part, nn.LayerNorm):
        part.normalized_shape = tuple(value.shape)
    elif isinstance(part, nn.Conv2d):
        part.out_channels = len(value)


def sync_attention_(block: Block) -> None:
    """Makes what the attention module remembers of its shape true again."""
    facts = {"heads": block.heads, "width": block.heads * block.head_size}
    for attribute, fact in block.layout.attributes:
        setattr(block.attention, attribute, facts[fact])


def replace_linear_(module: nn.Module, name: str, linear: Linear, other: nn.Module) -> None:
    """Puts another module in a Linear's place, on its device, in its mode."""
    other.train(linear.training)
    module.set_submodule(name, other.to(linear.weight.device))


def place_stored_(
    module: PreTrainedModel,
    parts: Mapping[str, StoredModule],
    shapes: Mapping[str, Sequence[int]],
) -> None:
    """Puts stored modules in the place of plain ones and fits all shapes; see `fit_shapes_`.

    Modules in another format come last: attention learns the shape that pruning left it from
    plain projections of that shape.

    Args:
        module: as its config builds it.
        parts: by name, an outer one before those inside it.
        shapes: by parameter name, as in a file.
    """
    formats = {}
    shapes = dict(shapes)
    for name, part in parts.items():
        shape = part.plain_shape()
        if shape is None:
            module.set_submodule(name, part)
        else:
            formats[name] = part
            transposed = isinstance(module.get_submodule(name), Conv1D)
            shapes[f"{name}.weight"] = shape[::-1] if transposed else shape
    fit_shapes_(module, shapes)
    for name, part in formats.items():
        module.set_submodule(name, part)


def fit_shapes_(module: PreTrainedModel, shapes: Mapping[str, Sequence[int]]) -> None:
    """Gives each parameter the shape it has in a file; its values are to be read next.

    Args:
        module: as its config builds it.
        shapes: by parameter name.
    """
    changed = False
    for name, parameter in list(module.named_parameters()):
        if name in shapes and list(parameter.shape) != list(shapes[name]):
            owner, _, leaf = name.rpartition(".")
            empty = torch.empty(*shapes[name], dtype=parameter.dtype, device=parameter.device)
            resize_(module.get_submodule(owner), leaf, empty)
            changed = True
    if changed:
        for block in known_blocks(module):
            sync_attention_(block)
        module.tie_weights()


def plain_config(module: PreTrainedModel) -> PretrainedConfig | None:
    """A config from which plain transformers builds exactly these shapes; None if none does.

    Uneven widths have none, and neither has a number of heads that the architecture ties to
    another width. A config is tried by building it without weights.
    """
    if any(isinstance(part, StoredModule) for part in module.modules()):
        return None
    if _builds(module, module.config):
        return module.config
    config = copy.deepcopy(module.config)
    try:
        blocks = known_blocks(module)
    except UserError:
        return None
    facts = {
        "num_attention_heads": {block.heads for block in blocks},
        "num_key_value_heads": {block.key_value_heads for block in blocks},
        "head_dim": {block.head_size for block in blocks},
        "hidden_size": {block.width for block in blocks},
        blocks[0].layout.neurons: {block.neurons for block in blocks},
    }
    embeddings = module.get_input_embeddings()
    if isinstance(embeddings, nn.Embedding):
        facts["vocab_size"] = {embeddings.num_embeddings}
    for name, values in facts.items():
        # GPT-2's n_inner is null while it is four times the width.
        known = name == "n_inner" or getattr(config, name, None) is not None
        if known and len(values) == 1:
            setattr(config, name, values.pop())
    return config if _builds(module, config) else None


def _builds(module: PreTrainedModel, config: PretrainedConfig) -> bool:
    """Whether a config builds this module's shapes, heads included."""
    try:
        with torch.device("meta"):
            built = type(module)(copy.deepcopy(config))
    except (ValueError, RuntimeError):
        return False  # such as a width that its heads do not divide
    shapes = [{n: t.shape for n, t in m.state_dict().items()} for m in (built, module)]
    return shapes[0] == shapes[1] and _head_sizes(built) == _head_sizes(module)


def _head_sizes(module: PreTrainedModel) -> list[int]:
    try:
        return [block.head_size for block in known_blocks(module)]
    except UserError:
        return []
