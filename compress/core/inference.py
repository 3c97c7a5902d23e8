"""A deployed model as it is measured: from batches of tensors to logits.

`compress/serve/model.py` is what serves it, with the same sessions and the same tokenizers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from compress.core.model import Processor
    from compress.serve.texts import TextEncoder


class InferenceModel(ABC):
    """A deployed model, loaded from disk.

    Attributes:
        tokenizer: the tokenizer or image processor of transformers.
        encoder: tokenizes texts, as the model does once it is served.
        precision: what it computes in, whatever it is stored in: "float32", "bfloat16", "int8".
        decodes: whether `decode` works.
    """

    tokenizer: Processor
    encoder: TextEncoder
    precision: str
    decodes: bool = False

    @abstractmethod
    def predict(self, batch: Mapping[str, Int[Tensor, "B L"]]) -> Float[Tensor, "B ..."]:
        """Logits of one padded batch: B × outputs, or B × L × vocabulary of a language model."""

    def decode(self, tokens: Int[Tensor, "1 L"], count: int) -> Iterator[Int[Tensor, "1 1"]]:
        """Greedy decoding with a KV cache, token by token.

        Args:
            tokens: the text.
            count: how many; none of them ends it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no KV cache")

    @abstractmethod
    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every weight by name, shared ones once; codes for packed ones.

        Those of Linear layers as [out, in], however they are stored. In the type that they have on
        disk, as far as torch has it; see `packed_bits`.
        """

    def packed_bits(self) -> Mapping[str, int]:
        """Bits per entry on disk, by name, of packed weights; by default none."""
        return {}

    @abstractmethod
    def synchronize(self) -> None:
        """Waits until all work queued on the processor is done."""
