"""How long a text may be: what a model's table of positions has rows for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from compress.config.errors import UserError
from compress.transformer.quantized_embedding import QuantizedEmbedding

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def position_count(module: PreTrainedModel) -> int | None:
    """The most tokens of one text; None where there is no limit, as for images.

    RoBERTa and MPNet count positions from behind the padding's row. XLNet says -1 for none; what
    the config of DeBERTa says is no limit where it has relative positions alone.
    """
    config = module.config
    limit: int | None = getattr(config, "max_position_embeddings", None)
    relative_alone = getattr(config, "position_biased_input", True) is False
    if relative_alone or limit is None or limit <= 0:
        return None
    padding = padding_position(module)
    return limit if padding is None else limit - padding - 1


def padding_position(module: PreTrainedModel) -> int | None:
    """The number of the padding token that positions are counted from; None if from 0."""
    paddings = (
        part.padding_idx
        for name, part in module.named_modules()
        if name.endswith("position_embeddings")
        and isinstance(part, (nn.Embedding, QuantizedEmbedding))
        and part.padding_idx is not None
    )
    return next(paddings, None)


def check_length(batch: Mapping[str, Tensor], limit: int | None) -> None:
    """Refuses a batch that is too long; a runtime may give numbers for it all the same.

    Args:
        batch: inputs of a model.
        limit: `position_count` of the model.

    Raises:
        UserError: it is longer than that.
    """
    tokens = batch.get("input_ids")
    if tokens is not None and limit is not None and tokens.shape[1] > limit:
        raise UserError(
            f"a batch is {tokens.shape[1]} tokens long, the model takes at most {limit}"
        )
