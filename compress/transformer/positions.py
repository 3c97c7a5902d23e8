"""The maximum length of a text, by a model's table of positions, and its reduction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from compress.config.errors import ConfigError
from compress.transformer.quantized_embedding import QuantizedEmbedding
from compress.transformer.stacks import embedding_tables
from compress.transformer.surgery import resize_

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def position_count(module: PreTrainedModel) -> int | None:
    """The maximum number of tokens of one text; None without a limit, as for images.

    RoBERTa and MPNet count positions from the row after the padding's. XLNet has -1 for no limit;
    DeBERTa has no limit if it has relative positions only, whatever its config contains.
    """
    config = module.config
    limit: int | None = getattr(config, "max_position_embeddings", None)
    relative_alone = getattr(config, "position_biased_input", True) is False
    if relative_alone or limit is None or limit <= 0:
        return None
    padding = padding_position(module)
    return limit if padding is None else limit - padding - 1


def padding_position(module: PreTrainedModel) -> int | None:
    """The id of the padding token that positions are counted from; None if from 0."""
    paddings = (
        part.padding_idx
        for name, part in module.named_modules()
        if name.endswith("position_embeddings")
        and isinstance(part, (nn.Embedding, QuantizedEmbedding))
        and part.padding_idx is not None
    )
    return next(paddings, None)


def keep_positions_(module: PreTrainedModel, count: int) -> None:
    """Keeps the first positions, so that texts of at most `count` tokens fit.

    Args:
        module: changes in place, with its config.
        count: tokens of the longest text; the rows of the table that stand for no token, such as
            RoBERTa's first two, stay as well.

    Raises:
        ConfigError: the model has no table of positions beside that of its tokens, or fewer.
    """
    limit, table = position_count(module), _position_table(module)
    if limit is None or table is None:
        raise ConfigError(
            f"{type(module).__name__} has no table of positions beside its token embeddings"
        )
    if count > limit:
        raise ConfigError(f"the model has only {limit} positions")
    before, config = table.num_embeddings, module.config
    configured = config.max_position_embeddings
    gone = limit - count
    resize_(table, "weight", table.weight[: before - gone].clone())
    config.max_position_embeddings = configured - gone
    for part in module.modules():
        facts = vars(part)
        held = [n for n, value in facts.items() if "position" in n and type(value) is int]
        facts.update({n: configured - gone for n in held if facts[n] == configured})
        # Numbers of positions and types of a text, as long as the longest one.
        for name, buffer in part.named_buffers(recurse=False):
            if name.endswith("_ids") and buffer.shape[-1] == configured:
                setattr(part, name, buffer[..., : configured - gone].clone())


def _position_table(module: PreTrainedModel) -> nn.Embedding | None:
    """The table with a row for each position; None if there is none, or it is of another kind."""
    tables = embedding_tables(module).items()
    found = (part for name, part in tables if "position" in name.lower() or name.endswith("wpe"))
    return next(found, None)
