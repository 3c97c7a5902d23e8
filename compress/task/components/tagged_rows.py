"""Rows of words with a tag each: their tokens, and which of these are the first of a word.

A sentence is tokenized with spaces between its words. One of more tokens than a row takes becomes
several rows that overlap, so that each word is judged in a row that has words before and behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor

from compress.config.errors import UserError
from compress.core.problem import PLACES
from compress.interfaces import Split
from compress.problem.per_token import IGNORED
from compress.serve.words import first_tokens, joined_spans, token_counts, windows
from compress.task.components.text import truncated_share

if TYPE_CHECKING:
    from datasets import Dataset

    from compress.interfaces import CompressedModel, Processor, TensorStore


@dataclass(frozen=True)
class TaggedRow:
    """Words of a sentence.

    Attributes:
        sentence: its number in the split.
        tags: index of each word's tag; `IGNORED` for words that another row judges.
    """

    sentence: int
    words: tuple[str, ...]
    tags: tuple[int, ...]

    @property
    def text(self) -> str:
        """The words with spaces between them."""
        return " ".join(self.words)


class TaggedSplit(Split):
    """Sentences with a tag for each word."""

    max_length: int

    def __init__(self, name: str, rows: Sequence[TaggedRow], max_length: int) -> None:
        """Takes rows of at most `max_length` tokens; longer ones are truncated."""
        self.name, self.max_length, self._rows = name, max_length, tuple(rows)
        self.columns = [[row.text for row in self._rows]]
        longest = max(len(row.words) for row in self._rows)
        self._labels = torch.full((len(self._rows), 1 + longest), IGNORED)
        for number, row in enumerate(self._rows):
            self._labels[number, : 1 + len(row.tags)] = torch.tensor([row.sentence, *row.tags])
        content = repr((max_length, self._rows))
        self.digest = hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def labels(self) -> Int[Tensor, "rows 1+longest"]:
        """The number of its sentence, then its words' tags; see `TokenClassification`."""
        return self._labels

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def tokenized(self, model: CompressedModel, store: TensorStore | None = None) -> TaggedSplit:
        """The split without rows that are too long for the model's tokens."""
        specials = model.tokenizer.num_special_tokens_to_add()
        offsets = _encoded(model.tokenizer, self.columns[0])["offset_mapping"]
        rows = zip(self._rows, offsets, strict=True)
        counts = [token_counts([*joined_spans(row.words)], each) for row, each in rows]
        most = self.max_length - specials
        if all(sum(each) <= most for each in counts):
            return self
        pairs = zip(self._rows, counts, strict=True)
        parts = [part for row, each in pairs for part in cut(row, each, most)]
        return TaggedSplit(self.name, parts, self.max_length)

    def encode(self, tokenizer: Processor) -> Dataset:
        """Token ids and other model inputs, unpadded, `length`, and the words' first tokens.

        Raises:
            UserError: the tokenizer does not say where its tokens are in a text.
        """
        from datasets import Dataset

        how = {"truncation": True, "max_length": self.max_length}
        encoded = _encoded(tokenizer, self.columns[0], **how)
        offsets = encoded.pop("offset_mapping")
        pairs = zip(self._rows, offsets, strict=True)
        encoded[PLACES] = [first_tokens(joined_spans(row.words), each) for row, each in pairs]
        encoded["length"] = [len(ids) for ids in encoded["input_ids"]]
        return Dataset.from_dict(encoded)

    def collate(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Pads rows to the longest and stacks them into one batch."""
        inputs = [{k: v for k, v in row.items() if k != PLACES} for row in rows]
        return dict(tokenizer.pad(inputs, return_tensors="pt"))

    def batch(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """As `collate`, with the places of the words' first tokens."""
        found = self.collate(tokenizer, rows)
        length = found["input_ids"].shape[1]
        places = torch.full((len(rows), max(len(row[PLACES]) for row in rows)), -1)
        for number, row in enumerate(rows):
            at = torch.tensor(row[PLACES])
            if tokenizer.padding_side == "left":
                at = torch.where(at >= 0, at + length - len(row["input_ids"]), at)
            places[number, : len(at)] = at
        return {**found, PLACES: places}

    def truncated(self, tokenizer: Processor) -> float:
        """The share of rows that are truncated."""
        return truncated_share(tokenizer, self.columns, self.max_length)


def cut(row: TaggedRow, counts: Sequence[int], most: int) -> Iterator[TaggedRow]:
    """Rows of at most `most` tokens; see `windows`."""
    for window in windows(counts, most):
        part = range(window.begin, window.end)
        tags = (row.tags[n] if window.first <= n < window.last else IGNORED for n in part)
        yield TaggedRow(row.sentence, row.words[window.begin : window.end], tuple(tags))


def _encoded(tokenizer: Processor, texts: Sequence[str], **how: Any) -> dict[str, Any]:
    """What a tokenizer makes of texts, with the places of its tokens."""
    try:
        return dict(tokenizer(list(texts), return_offsets_mapping=True, verbose=False, **how))
    except NotImplementedError as error:
        raise UserError(
            f"{type(tokenizer).__name__} does not say where its tokens are in a text, as tags of "
            "words need; take a checkpoint with tokenizer.json"
        ) from error
