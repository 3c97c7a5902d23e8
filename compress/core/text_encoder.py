"""From texts to batches of tokens, as a deployed model does it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from torch import Tensor

from compress.records.ranges import AtLeastOne, Name, Text

if TYPE_CHECKING:
    from compress.core.model import Processor

TRANSFORMERS = "transformers"


@dataclass(frozen=True)
class TextSpec:
    """How an exported model tokenizes texts: part of `runtime.json`.

    Attributes:
        max_length: tokens to which a text, or a pair, is truncated.
        fast: name and version of the fast tokenizer whose tokens were equal; null if none.
        alphabet: the characters of the texts that the tokens were compared on.
        reason: why there is no fast tokenizer; null if there is one.
    """

    max_length: AtLeastOne
    fast: Name | None = None
    alphabet: str = ""
    reason: Text | None = None


class TextEncoder(ABC):
    """Tokenizes texts into batches.

    Attributes:
        tokenizer: of transformers.
        max_length: default number of tokens to truncate to; None for the tokenizer's own.
        name: what makes the tokens, for the record.
        reason: why that is no fast tokenizer; None if it is one, or if none was asked for.
    """

    tokenizer: Processor
    max_length: int | None
    name: str
    reason: str | None

    @abstractmethod
    def encode(self, columns: Sequence[Sequence[str]], max_length: int | None) -> dict[str, Tensor]:
        """One batch, padded to its longest row.

        Args:
            columns: the texts of all rows; of pairs, the first ones and the second ones.
            max_length: tokens to truncate to, the longer text of a pair first.
        """


@final
class StandardEncoder(TextEncoder):
    """The tokenizer of transformers."""

    def __init__(
        self, tokenizer: Processor, max_length: int | None = None, reason: str | None = None
    ) -> None:
        """Without `max_length`, texts are truncated to the tokenizer's `model_max_length`."""
        self.tokenizer, self.max_length = tokenizer, max_length
        self.name, self.reason = TRANSFORMERS, reason

    def encode(self, columns: Sequence[Sequence[str]], max_length: int | None) -> dict[str, Tensor]:
        """One padded batch."""
        lists = map(list, columns)
        return dict(
            self.tokenizer(
                *lists, truncation=True, max_length=max_length, padding=True, return_tensors="pt"
            )
        )
