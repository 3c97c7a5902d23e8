"""Changes of the shapes of a transformer's weights, in place, with config and attributes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from huggingface_hub.errors import StrictDataclassError
from jaxtyping import Int
from torch import Tensor, nn
from transformers.backbone_utils import BackboneConfigMixin
from transformers.pytorch_utils import Conv1D

from compress.transformer.blocks import Block, Projection, Units, blocks_if_known
from compress.transformer.building import new_module
from compress.transformer.configs import reread
from compress.transformer.stacks import Linear, find_stack, token_table
from compress.transformer.stored_modules import LowRankLinear, StoredModule

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def keep_blocks_(module: PreTrainedModel, kept: Sequence[int]) -> None:
    """Drops every layer but the kept ones, and updates the config.

    A layer that is shared by all runs as often as layers are kept.

    Raises:
        ConfigError: the model has not exactly one stack of layers.
    """
    stack = find_stack(module)
    if not stack.shared:
        shorter = nn.ModuleList(stack.blocks[i] for i in kept)
        for path, attribute in _numberings(stack.blocks):
            for index, block in enumerate(shorter):
                vars(block.get_submodule(path))[attribute] = index
        parent = vars(module.get_submodule(stack.name.rpartition(".")[0]))
        # DistilBERT's list of layers has its length beside it.
        lengths = [n for n, value in parent.items() if value == stack.depth and "layer" in n]
        parent.update(dict.fromkeys(lengths, len(kept)))
        module.set_submodule(stack.name, shorter)
    set_depth_(module.config, len(kept))
    # Such as whether each layer's attention is full or sliding, or how wide its window is.
    for name, value in list(vars(module.config).items()):
        if isinstance(value, list) and len(value) == stack.depth:
            left = [value[i] for i in kept]
            setattr(module.config, name, left)
            for part in module.modules():
                same = [n for n, held in vars(part).items() if held is value]
                vars(part).update(dict.fromkeys(same, left))
    for part in module.modules():
        if "has_sliding_layers" in vars(part):  # Qwen2's, which also follows from that list
            part.has_sliding_layers = "sliding_attention" in module.config.layer_types


def set_depth_(config: PretrainedConfig, depth: int) -> None:
    """Sets the number of layers in a config, and the values that depend on it."""
    config.num_hidden_layers = depth
    if isinstance(config, BackboneConfigMixin):  # BEiT's and DINOv2's name the layers
        config.stage_names = ["stem", *(f"stage{number + 1}" for number in range(depth))]
        config.set_output_features_output_indices(out_features=None, out_indices=None)


def _numberings(blocks: nn.ModuleList) -> list[tuple[str, str]]:
    """Path and attribute of layer indices, which decoders use for their KV cache."""
    parts = [{path: vars(part) for path, part in block.named_modules()} for block in blocks]
    return [
        (path, attribute)
        for path, facts in parts[0].items()
        for attribute, value in facts.items()
        if type(value) is int
        and not attribute.startswith("_")
        and [each.get(path, {}).get(attribute) for each in parts] == list(range(len(parts)))
    ]


def keep_units_(block: Block, units: Units, kept: Int[Tensor, " kept"]) -> None:
    """Removes every unit but the kept ones from a block: smaller shapes, no zeros.

    The block has them in the order of `kept`; its outputs do not depend on it.
    """
    for path, rows in units.rows.items():
        keep_rows_(block.projection(path), _laid_out(rows, kept))
    keep_columns_(block.projection(units.reader), _laid_out(units.columns, kept))
    sync_attention_(block)


def _laid_out(parts: Int[Tensor, "units n"], kept: Int[Tensor, " kept"]) -> Int[Tensor, " m"]:
    """The parts of the kept units, in the layout of a block with as many units.

    A fused projection may have all queries before the keys: the parts of a unit are not neighbors.
    So they go to the places that the parts of the unit of that rank have without reordering.
    """
    places = parts[kept.sort().values].flatten().argsort().argsort()
    return torch.empty_like(places).scatter_(0, places, parts[kept].flatten())


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
    """Replaces a module's parameter by one of another shape, and updates the module's sizes."""
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
    """Updates the attributes of the attention module that store its shape."""
    facts = {"heads": block.heads, "width": block.heads * block.head_size}
    for attribute, fact in block.layout.attributes:
        setattr(block.attention, attribute, facts[fact])


def replace_linear_(module: nn.Module, name: str, linear: Linear, other: nn.Module) -> None:
    """Replaces a Linear by another module, on its device, in its mode."""
    other.train(linear.training)
    module.set_submodule(name, other.to(linear.weight.device))


def place_stored_(
    module: PreTrainedModel,
    parts: Mapping[str, StoredModule],
    shapes: Mapping[str, Sequence[int]],
) -> None:
    """Replaces plain modules by stored ones and sets all shapes; see `fit_shapes_`.

    Quantized modules come last: the shape attributes of attention are updated from plain
    projections. Among `parts`, an outer one comes before those inside it.
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
    for part in formats.values():
        part.share_(module)


def fit_shapes_(module: PreTrainedModel, shapes: Mapping[str, Sequence[int]]) -> None:
    """Gives each parameter its shape in a file, before its values are loaded."""
    changed = False
    for name, parameter in list(module.named_parameters()):
        if name in shapes and list(parameter.shape) != list(shapes[name]):
            owner, _, leaf = name.rpartition(".")
            empty = torch.empty(*shapes[name], dtype=parameter.dtype, device=parameter.device)
            resize_(module.get_submodule(owner), leaf, empty)
            changed = True
    if changed:
        for block in blocks_if_known(module):
            sync_attention_(block)
        module.tie_weights()


def one_type_(module: PreTrainedModel) -> None:
    """Casts parameters that transformers loaded as float32 by mistake to the model's type.

    Such as some of DeBERTa's and XLNet's. Parameters that it keeps in float32 on purpose stay.
    """
    dtype = module.config.dtype or torch.float32
    kept = set(kept_in_float32(module, dtype))
    for name, parameter in module.named_parameters():
        if parameter.dtype is torch.float32 and name not in kept:
            parameter.data = parameter.data.to(dtype)


def kept_in_float32(module: PreTrainedModel, dtype: torch.dtype) -> list[str]:
    """The parameters that transformers leaves in float32 when a model is of another type.

    As `PreTrainedModel` documents them: some for float16 alone, others for bfloat16 too.
    """
    parts = set(module._keep_in_fp32_modules_strict or ())
    if dtype is torch.float16:
        parts |= set(module._keep_in_fp32_modules or ())
    return [name for name, _ in module.named_parameters() if parts & set(name.split("."))]


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
    blocks = blocks_if_known(module)
    if not blocks:
        return None
    facts = {
        "num_attention_heads": {block.heads for block in blocks},
        "num_key_value_heads": {block.key_value_heads for block in blocks},
        "head_dim": {block.head_size for block in blocks},
        "hidden_size": {block.width for block in blocks},
        blocks[0].layout.neurons: {block.neurons for block in blocks},
    }
    embeddings = token_table(module)
    if embeddings is not None:
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
            built = new_module(type(module), reread(config))
    except (ValueError, RuntimeError, StrictDataclassError):
        return False  # such as a width that its heads do not divide
    shapes = [{n: t.shape for n, t in m.state_dict().items()} for m in (built, module)]
    return shapes[0] == shapes[1] and _head_sizes(built) == _head_sizes(module)


def _head_sizes(module: PreTrainedModel) -> list[int]:
    return [block.head_size for block in blocks_if_known(module)]
