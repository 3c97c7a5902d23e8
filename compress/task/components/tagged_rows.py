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
from compress.problem.token_classification import IGNORED

if TYPE_CHECKING:
    from datasets import Dataset

    from compress.interfaces import CompressedModel, Processor, TensorStore

OVERLAP = 4  # of a row's tokens one in so many is in the row before it as well, and as many behind


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

    def spans(self) -> Iterator[tuple[int, int]]:
        """Where each word begins and ends in the text."""
        begin = 0
        for word in self.words:
            yield begin, begin + len(word)
            begin += len(word) + 1


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
        counts = [self._token_counts(model.tokenizer, row) for row in self._rows]
        specials = model.tokenizer.num_special_tokens_to_add()
        most = self.max_length - specials
        if all(sum(each) <= most for each in counts):
            return self
        pairs = zip(self._rows, counts, strict=True)
        parts = [part for row, each in pairs for part in cut(row, each, most)]
        return TaggedSplit(self.name, parts, self.max_length)

    def _token_counts(self, tokenizer: Processor, row: TaggedRow) -> list[int]:
        """How many tokens each word has."""
        encoded = _encoded(tokenizer, [row.text], add_special_tokens=False)
        ends = [end for _, end in encoded["offset_mapping"][0]]
        places = [torch.tensor(ends).gt(begin).sum().item() for begin, _ in row.spans()]
        # Tokens that end behind a word's beginning, less those that end behind the next one's.
        return [int(a - b) for a, b in zip(places, [*places[1:], 0], strict=True)]

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
        encoded[PLACES] = [first_tokens(row.spans(), each) for row, each in pairs]
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
        whole = tokenizer(*self.columns, truncation=False, verbose=False)["input_ids"]
        return sum(len(ids) > self.max_length for ids in whole) / len(whole)


def first_tokens(spans: Iterator[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """The first token of each word; -1 for a word that has none.

    Args:
        spans: where words begin and end in a text, in order.
        offsets: where its tokens do; those that stand for nothing in it begin where they end.
    """
    found, token = [], 0
    for begin, end in spans:
        while token < len(offsets) and (
            offsets[token][1] <= begin or offsets[token][0] == offsets[token][1]
        ):
            token += 1
        found.append(token if token < len(offsets) and offsets[token][0] < end else -1)
    return found


def cut(row: TaggedRow, counts: Sequence[int], most: int) -> Iterator[TaggedRow]:
    """Rows of at most `most` tokens that overlap; a word of more is a row by itself.

    Each word is judged in one of them: those in two in the one whose nearer end is farther away.
    """
    begin, judged = 0, 0
    while begin < len(counts):
        end = begin + 1
        while end < len(counts) and sum(counts[begin : end + 1]) <= most:
            end += 1
        following = end
        if end < len(counts):
            while following > begin + 1 and sum(counts[following - 1 : end]) <= most // OVERLAP:
                following -= 1
        until = end if end == len(counts) else (following + end + 1) // 2
        tags = [
            tag if judged <= place < until else IGNORED
            for place, tag in enumerate(row.tags[begin:end], start=begin)
        ]
        yield TaggedRow(row.sentence, row.words[begin:end], tuple(tags))
        if end == len(counts):
            return
        begin, judged = following, until


def _encoded(tokenizer: Processor, texts: Sequence[str], **how: Any) -> dict[str, Any]:
    """What a tokenizer makes of texts, with the places of its tokens."""
    try:
        return dict(tokenizer(list(texts), return_offsets_mapping=True, verbose=False, **how))
    except NotImplementedError as error:
        raise UserError(
            f"{type(tokenizer).__name__} does not say where its tokens are in a text, as tags of "
            "words need; take a checkpoint with tokenizer.json"
        ) from error
