"""Counts of a model's parts that its time and bytes depend on, from its modules without weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from torch import nn

from compress.config.errors import ConfigError
from compress.transformer.activations import activation_name
from compress.transformer.blocks import LINEARS, Block, known_blocks, shape_of
from compress.transformer.stacks import embedding_tables, find_stack, token_table
from compress.transformer.stored_modules import FactorizedEmbedding

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Quantizer

# By name. Of time:
#   layers, stream (channels of the residual stream, summed over layers, as all of these),
#   projections and feed_forward (entries of their matrices), heads, neurons of an activation,
#   factors (entries of the projection of a factorized table).
# Of bytes:
#   linear, linear_rows (entries and outputs of all Linear layers), table, table_rows (of all
#   embeddings), rest (other parameters), factorized (tables), tokens (rows of that of tokens).
Facts: TypeAlias = Mapping[str, float]
NEURONS = "neurons of "
TIME = ("layers", "projections", "feed_forward", "heads", "stream", "factors")
STORED = ("linear", "linear_rows", "table", "table_rows", "rest")
BYTES = ("layers", "factorized", *STORED)
BITS = 8


def facts_of(module: PreTrainedModel) -> Facts:
    """The counts of a whole model; see `parts_of`."""
    outside, layers = parts_of(module)
    return total([outside, *layers])


def parts_of(module: PreTrainedModel) -> tuple[Facts, list[Facts]]:
    """The counts outside the layers, and those of each layer.

    Raises:
        ConfigError: the layers are of an unknown architecture, or one layer runs many times.
    """
    blocks = known_blocks(module)
    if find_stack(module).shared:
        raise ConfigError(
            f"the layers of {type(module).__name__} are one that runs many times, expected a model "
            "whose bytes depend on its depth"
        )
    tables = {id(table.weight) for table in embedding_tables(module).values()}
    seen: set[int] = set()
    activation = activation_name(module)
    layers: list[Facts] = [
        {**_time_of(block, activation), **_stored(block.module, tables, seen)} for block in blocks
    ]
    table = token_table(module)
    factorized = [part for part in module.modules() if isinstance(part, FactorizedEmbedding)]
    outside = {
        "factors": sum(part.projection.weight.numel() for part in factorized),
        "factorized": len(factorized),
        "tokens": 0 if table is None else table.num_embeddings,
        **_stored(module, tables, seen),
    }
    return outside, layers


def total(parts: Iterable[Facts]) -> Facts:
    """The sums of counts."""
    found: Counter[str] = Counter()
    for part in parts:
        found.update(part)
    return dict(found)


def code_bytes(facts: Facts, quantizer: Quantizer) -> float:
    """Bytes of the codes of all Linear layers and embeddings in a format."""
    bits = facts["linear"] * quantizer.weight_bits + facts["table"] * quantizer.table_bits()
    return bits / BITS


def _time_of(block: Block, activation: str) -> Facts:
    inner = block.heads * block.head_size
    return {
        "layers": 1,
        "projections": block.width * inner,
        "feed_forward": block.width * block.neurons,
        "heads": block.heads,
        "stream": block.width,
        f"{NEURONS}{activation}": block.neurons,
    }


def _stored(module: nn.Module, tables: set[int], seen: set[int]) -> Facts:
    """Counts of the parameters that are not among `seen`, which gets them."""
    found = dict.fromkeys(STORED, 0)
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if isinstance(part, LINEARS) and name == "weight":
                found["linear"] += parameter.numel()
                found["linear_rows"] += shape_of(part)[0]
            elif id(parameter) in tables:
                found["table"] += parameter.numel()
                found["table_rows"] += len(parameter)
            else:
                found["rest"] += parameter.numel()
    return found
