"""What runs a deployed model: from a batch of tokens to logits, as arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from compress.config.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Int, Shaped


# By the names of a model's inputs.
Arrays: TypeAlias = Mapping[str, "Shaped[np.ndarray, 'B ...']"]
# How names of a language model's keys and values begin: those of earlier tokens, and those of all.
PAST, PRESENT = "past_key_values.", "present."


class Session(ABC):
    """A model of one runtime, loaded from its folder.

    Attributes:
        precision: what it computes in, whatever it is stored in: "float32", "bfloat16", "int8".
        decodes: whether `decode` works: with language models that were exported with a cache.
    """

    precision: str
    decodes: bool = False

    @abstractmethod
    def run(self, batch: Arrays) -> Float[np.ndarray, "B ..."]:
        """Logits of one padded batch.

        Raises:
            UserError: the batch is longer than the model's table of positions.
        """

    def decode(self, tokens: Int[np.ndarray, "1 L"], count: int) -> Iterator[int]:
        """Greedy decoding with a cache of keys and values, token by token.

        Args:
            tokens: the text.
            count: how many; none of them ends it.

        Raises:
            UserError: the text with these tokens is longer than the model's table of positions.
        """
        raise NotImplementedError(f"{type(self).__name__} has no KV cache")


def check_length(batch: Mapping[str, Any], limit: int | None) -> None:
    """Refuses a batch of too long texts, for which runtimes may give numbers all the same.

    Args:
        batch: arrays or tensors, B × L.
        limit: tokens of the longest text; None without a limit, as for images.

    Raises:
        UserError: the batch is too long.
    """
    tokens = batch.get("input_ids")
    if tokens is not None and limit is not None and tokens.shape[1] > limit:
        raise UserError(
            f"a batch is {tokens.shape[1]} tokens long, the model takes at most {limit}"
        )


def check_padding(batch: Arrays, inputs: Collection[str]) -> None:
    """Refuses padding before a text where a graph has no mask, as those of language models.

    What comes after a text changes nothing in it there.

    Args:
        batch: arrays, B × L.
        inputs: names of the graph's.

    Raises:
        UserError: a text is padded on the left.
    """
    mask = batch.get("attention_mask")
    if mask is not None and "attention_mask" not in inputs and not mask[:, 0].all():
        raise UserError("a text is padded on the left; this model takes padding on the right alone")


def check_decoding(tokens: Any, count: int, limit: int | None) -> None:
    """Refuses to decode more tokens than a model's table of positions has room for.

    Args:
        tokens: the text, as an array or a tensor, 1 × L.
        count: of tokens after it; the last one is read by nothing.
        limit: tokens of the longest text; None without a limit.

    Raises:
        UserError: there is no room.
    """
    length = tokens.shape[1]
    if limit is not None and length + count - 1 > limit:
        raise UserError(
            f"a text of {length} tokens cannot go on for {count}: the model takes at most {limit}"
        )
