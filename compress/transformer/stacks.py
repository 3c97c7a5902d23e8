"""Stacks of layers of a model, found by structure, and the weights inside them.

A stack is a list of layers that run one after the other. Most models have one; encoder-decoders
have two, hierarchical models one for each stage, and ALBERT's has a single layer that runs many
times. Layers are members of a `ModuleList`; where the members are stages, the stacks are the lists
inside them.

Counting, masks and numeric formats need only the Linear layers inside these lists; other methods
also need the layouts of `compress/transformer/blocks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from transformers.pytorch_utils import Conv1D

from compress.config.errors import ConfigError
from compress.transformer.stored_modules import FactorizedEmbedding

if TYPE_CHECKING:
    from transformers import PreTrainedModel


LINEARS = (nn.Linear, Conv1D)  # GPT-2's Conv1D is a Linear whose weight is stored as [in, out]
Linear: TypeAlias = nn.Linear | Conv1D

# Modules whose weights a method for Linear layers is not expected to cover.
OTHER_KINDS = (nn.Embedding, _ConvNd, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _NormBase)
# Names of parameters that it is not expected to cover: biases per head, position tables, tokens.
TABLES = ("bias", "table", "embed", "position", "token")


@dataclass(frozen=True)
class Stack:
    """Layers that run one after the other.

    Attributes:
        name: full name of the list.
        depth: how many layers run in one pass: more than `blocks` has where one is shared by all.
    """

    name: str
    blocks: nn.ModuleList
    depth: int

    @property
    def shared(self) -> bool:
        """Whether one layer runs many times, as in ALBERT."""
        return self.depth != len(self.blocks)


def stacks(module: PreTrainedModel) -> tuple[Stack, ...]:
    """Every stack of layers with weights, in the order in which the model names them."""
    found = [
        (name, blocks)
        for name, blocks in _lists(module, "", module)
        if any(parameter.dim() > 1 for parameter in blocks.parameters())
    ]
    count = getattr(module.config, "num_hidden_layers", None)
    shared = len(found) == 1 and len(found[0][1]) == 1 and isinstance(count, int)
    return tuple(
        Stack(name, blocks, count if shared and count else len(blocks)) for name, blocks in found
    )


def find_stack(module: PreTrainedModel) -> Stack:
    """The one stack of a model whose layers are all of one class.

    Raises:
        ConfigError: the model has none, or several.
    """
    found = stacks(module)
    count = getattr(module.config, "num_hidden_layers", None)
    alike = len(found) == 1 and len({type(block) for block in found[0].blocks}) == 1
    if alike and found[0].depth == count:
        return found[0]
    names = ", ".join(f"{stack.name}: {len(stack.blocks)}" for stack in found) or "none"
    raise ConfigError(
        f"{type(module).__name__} has {len(found)} stacks of layers ({names}), expected exactly 1, "
        "of layers of one class, as many as its config says; what works on other models is masks "
        "(magnitude, wanda, sparsegpt, gradual, movement), lowrank and numeric formats"
    )


def block_linears(module: nn.Module) -> dict[str, Linear]:
    """The Linear layers inside a model's layers, by full name; one that is shared once.

    These hold the compressible weights: embeddings, pooler and classifier are left alone, as in
    the Wanda and SparseGPT papers. A factorized layer counts as the two that it consists of.
    """
    return {n: part for n, part in _inside_lists(module) if isinstance(part, LINEARS)}


def other_matrices(module: nn.Module) -> dict[str, nn.Parameter]:
    """The matrices inside a model's layers that are not the weight of a Linear, by full name.

    For example fused experts, one parameter of three axes. Convolutions, norms, embeddings and
    tables of biases do not count.
    """
    return {
        f"{name}.{leaf}": parameter
        for name, part in _inside_lists(module)
        if not isinstance(part, (*LINEARS, *OTHER_KINDS))
        for leaf, parameter in part.named_parameters(recurse=False)
        if sum(size > 1 for size in parameter.shape) > 1
        and not any(word in leaf.lower() for word in TABLES)
    }


def check_all_linear(module: PreTrainedModel, what: str) -> None:
    """Raises a ConfigError unless the layers have Linear layers and no other matrices."""
    linears, others = block_linears(module), other_matrices(module)
    name = type(module).__name__
    if not linears and not others:
        raise ConfigError(
            f"{what} needs Linear layers, {name} has none inside its layers; convolutions, norms "
            "and embeddings are left alone"
        )
    if others:
        left = sum(parameter.numel() for parameter in others.values())
        share = left / (left + sum(part.weight.numel() for part in linears.values()))
        first, parameter = max(others.items(), key=lambda item: item[1].numel())
        shape = " x ".join(map(str, parameter.shape))
        raise ConfigError(
            f"{what} covers Linear layers, and would leave {share:.0%} of the weights in the "
            f"layers of {name} alone, such as {first} ({shape})"
        )


def token_table(module: PreTrainedModel) -> nn.Embedding | None:
    """The table of token embeddings; None where a model reads no tokens.

    Of a factorized embedding it is the narrow table with a row per token.
    """
    found = _token_embedding(module)
    table = found.table if isinstance(found, FactorizedEmbedding) else found
    return table if isinstance(table, nn.Embedding) else None


def embedding_tables(module: PreTrainedModel) -> dict[str, nn.Embedding]:
    """The table of token embeddings and the tables beside it, by name; empty if there is none."""
    if token_table(module) is None:
        return {}
    tokens = _token_embedding(module)
    name = next(name for name, part in module.named_modules() if part is tokens)
    parent, _, _ = name.rpartition(".")
    found = {}
    for child, part in module.get_submodule(parent).named_children():
        path = f"{parent}.{child}".lstrip(".")
        if isinstance(part, FactorizedEmbedding):
            path, part = f"{path}.table", part.table
        if isinstance(part, nn.Embedding):
            found[path] = part
    return found


def tied_output(module: PreTrainedModel) -> tuple[str, str] | None:
    """Names of an output layer and the table whose weight it shares; None where there is none."""
    output = module.get_output_embeddings()
    if not isinstance(output, nn.Linear):
        return None
    for table, part in embedding_tables(module).items():
        if part.weight is output.weight:
            return next(n for n, part in module.named_modules() if part is output), table
    return None


def _token_embedding(module: PreTrainedModel) -> nn.Module | None:
    """The module that embeds tokens, a table or another."""
    try:
        found: nn.Module = module.get_input_embeddings()
    except NotImplementedError:  # raised for some convolutional models
        return None
    return found


def layer_units(module: PreTrainedModel) -> dict[str, nn.Module]:
    """Parts of a model that hold each Linear of `block_linears` once, by full name.

    They are the layers of all stacks, and Linear layers between these each by itself, such as
    those that merge patches between the stages of a hierarchical model.
    """
    units = {
        f"{stack.name}.{index}": block
        for stack in stacks(module)
        for index, block in enumerate(stack.blocks)
    }
    starts = tuple(f"{name}." for name in units)
    alone = {n: p for n, p in block_linears(module).items() if not f"{n}.".startswith(starts)}
    return {**units, **alone}


def _lists(
    module: PreTrainedModel, name: str, part: nn.Module
) -> Iterator[tuple[str, nn.ModuleList]]:
    """Lists of layers inside a part of a model; of nested ones those of layers, not of stages."""
    if isinstance(part, nn.ModuleList) and not _holds_stages(module, part):
        yield name, part
        return
    for child, inner in part.named_children():
        yield from _lists(module, f"{name}.{child}".lstrip("."), inner)


def _holds_stages(module: PreTrainedModel, members: nn.ModuleList) -> bool:
    """Whether the members of a list are lists of layers rather than layers."""
    inner = [
        {n: p for n, p in member.named_children() if isinstance(p, nn.ModuleList)}
        for member in members
    ]
    if not inner:
        return False
    if all(isinstance(member, nn.ModuleList) for member in members):
        return True
    listed = [list(v) for v in vars(module.config).values() if isinstance(v, (list, tuple))]
    for name in inner[0]:
        if all(name in each for each in inner):
            layers = [each[name] for each in inner]
            alike = all(len({type(layer) for layer in each}) == 1 for each in layers)
            # As Swin's config lists the depths of its stages.
            if alike and ([len(each) for each in layers] in listed or _are_all(members, layers)):
                return True
    return False


def _are_all(members: nn.ModuleList, layers: list[nn.ModuleList]) -> bool:
    """Whether members have no weights but in these layers, as ALBERT's groups."""
    pairs = zip(members, layers, strict=True)
    return all(
        {id(p) for p in member.parameters()} == {id(p) for p in each.parameters()}
        for member, each in pairs
    )


def _inside_lists(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module inside the members of any `ModuleList`, by full name, once."""
    seen: set[int] = set()
    for prefix, part in module.named_modules():
        if isinstance(part, nn.ModuleList):
            for name, inner in part.named_modules(prefix=prefix):
                if id(inner) not in seen:
                    seen.add(id(inner))
                    yield name, inner


def evenly_spaced(count: int, depth: int) -> tuple[int, ...]:
    """`count` layer indices from the first to the last of `depth`; the first alone for one."""
    if count == 1:
        return (0,)
    return tuple(round(i * (depth - 1) / (count - 1)) for i in range(count))
