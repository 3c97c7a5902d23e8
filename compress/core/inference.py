"""A deployed model: from texts or batches to logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, final

from jaxtyping import Float, Int
from torch import Tensor

from compress.core.text_encoder import TextEncoder

if TYPE_CHECKING:
    from compress.core.model import Processor


class InferenceModel(ABC):
    """A deployed model, loaded from disk.

    Attributes:
        encoder: tokenizes texts, as `logits` does.
        precision: what it computes in, whatever it is stored in: "float32", "bfloat16", "int8".
        decodes: whether `decode` works.
    """

    encoder: TextEncoder
    precision: str
    decodes: bool = False

    @property
    def tokenizer(self) -> Processor:
        """The tokenizer or image processor of transformers."""
        return self.encoder.tokenizer

    @final
    def logits(
        self, texts: Sequence[str], seconds: Sequence[str] | None = None
    ) -> Float[Tensor, "B ..."]:
        """Logits of texts, tokenized, truncated and padded as the rows of the model's task.

        Args:
            texts: one or more.
            seconds: the second texts where rows are pairs.

        Raises:
            TypeError: the model reads images, or `texts` is a text and not a list of them.
            ValueError: there is no text, or the number of second texts is another one.
        """
        if "input_ids" not in self.tokenizer.model_input_names:
            raise TypeError("the model reads images, not texts; use predict")
        columns = [texts] if seconds is None else [texts, seconds]
        if any(isinstance(column, str) for column in columns):
            raise TypeError("texts must be a list of texts, got one text")
        if not texts or len({len(column) for column in columns}) > 1:
            counts = " and ".join(str(len(column)) for column in columns)
            raise ValueError(f"expected one or more texts, and as many second ones, got {counts}")
        return self.predict(self.encoder.encode(columns, self.encoder.max_length))

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
