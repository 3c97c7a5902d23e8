"""The maximum length of a text, by a model's table of positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from compress.config.errors import UserError
from compress.transformer.quantized_embedding import QuantizedEmbedding

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


def check_length(batch: Mapping[str, Tensor], limit: int | None) -> None:
    """Refuses a batch longer than `position_count`, for which runtimes may return garbage.

    Raises:
        UserError: the batch is too long.
    """
    tokens = batch.get("input_ids")
    if tokens is not None and limit is not None and tokens.shape[1] > limit:
        raise UserError(
            f"a batch is {tokens.shape[1]} tokens long, the model takes at most {limit}"
        )
