"""Rows of texts with endings, for language models: each ending after its text is one row.

As in EleutherAI's evaluation harness, text and ending become tokens together, an ending begins with
the first token that reaches beyond the text, and what is too long loses tokens at its beginning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor

from compress.config.errors import UserError
from compress.interfaces import Split
from compress.task.components.windows import BATCH_TOKENS, LONGEST, check_tokens
from compress.transformer.positions import position_count

if TYPE_CHECKING:
    from datasets import Dataset

    from compress.interfaces import CompressedModel, Processor, TensorStore

SHOWN = 40  # characters of an ending


@dataclass(frozen=True)
class Question:
    """A text and its endings, each with what separates it from the text.

    Attributes:
        answer: number of the right ending.
        characters: of each ending, without the separator.
    """

    text: str
    endings: tuple[str, ...]
    answer: int
    characters: tuple[int, ...]

    @property
    def whole(self) -> str:
        """The text with the right ending."""
        return self.text + self.endings[self.answer]


class EndingRows(Split):
    """Questions, before tokenization."""

    def __init__(self, words: str, questions: Sequence[Question], longest: int | None) -> None:
        """Takes questions, described by `words`, and the tokens of the longest row.

        `longest` null is as many as the model takes, at most 2,048.
        """
        self.name = words
        self.questions, self._longest = questions, longest
        self.columns = [[each.whole for each in questions]]
        content = repr((longest, [*questions]))
        self.digest = hashlib.sha256(content.encode()).hexdigest()[:16]

    def tokenized(self, model: CompressedModel, store: TensorStore | None = None) -> EncodedEndings:
        """The rows in the teacher's tokens."""
        longest = self._longest or min(LONGEST, position_count(model.module) or LONGEST)
        return EncodedEndings(self, longest, model.tokenizer)

    @property
    def labels(self) -> Tensor:
        """Not available before tokenization."""
        raise AssertionError("which tokens are an ending's is known once they are tokens")

    def encode(self, tokenizer: Processor) -> Dataset:
        """Not available before tokenization."""
        raise AssertionError("rows are encoded once they are tokens")

    def collate(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Pads rows to the longest, at their ends, where no token sees it."""
        length = max(len(row["input_ids"]) for row in rows)

        def padded(name: str) -> Tensor:
            return torch.tensor([row[name] + [0] * (length - len(row[name])) for row in rows])

        return {name: padded(name) for name in ("input_ids", "attention_mask")}


class EncodedEndings(Split):
    """Questions in a teacher's tokens."""

    def __init__(self, rows: EndingRows, longest: int, tokenizer: Processor) -> None:
        """Takes rows, the tokens of the longest, and what makes tokens."""
        self.name, self.digest, self.columns = rows.name, rows.digest, rows.columns
        self._rows, self._longest, self._tokenizer = rows, longest, tokenizer

    @property
    def labels(self) -> Int[Tensor, "texts endings 4"]:
        """Of each ending what `compress.problem.endings` names."""
        return self._tokens[1]

    @cached_property
    def _tokens(self) -> tuple[list[list[int]], Int[Tensor, "texts endings 4"]]:
        questions = self._rows.questions
        most = max(len(each.endings) for each in questions)
        labels = torch.zeros(len(questions), most, 4, dtype=torch.long)
        rows = []
        for number, question in enumerate(questions):
            for place, ending in enumerate(question.endings):
                ids, count = self._one(question.text, ending)
                right = int(place == question.answer)
                # The last token predicts nothing, and each of the others the one after it.
                first = len(ids) - 1 - count
                what = [first, len(ids) - 1, question.characters[place], right]
                labels[number, place] = torch.tensor(what)
                rows.append(ids)
        return rows, labels

    def _one(self, text: str, ending: str) -> tuple[list[int], int]:
        """The last tokens of a text with an ending, and how many are the ending's."""
        encoded = self._tokenizer(text + ending, return_offsets_mapping=True, verbose=False)
        ends = [end for _, end in encoded["offset_mapping"]]
        places = [place for place, end in enumerate(ends) if end > len(text)]
        if not places:
            raise UserError(f"{self.name}: the ending {ending[:SHOWN]!r} has no tokens")
        first, last = places[0], places[-1] + 1
        ids: list[int] = encoded["input_ids"][max(0, last - self._longest) : last]
        if last - first >= len(ids):
            raise UserError(
                f"{self.name}: the ending {ending.strip()[:SHOWN]!r} has {last - first} tokens "
                f"after {first} of its text, of {self._longest} that a row takes; expected one "
                "before it"
            )
        return ids, last - first

    def encode(self, tokenizer: Processor) -> Dataset:
        """Token ids, unpadded.

        Raises:
            UserError: the tokenizer means something else by its tokens than the teacher's.
        """
        from datasets import Dataset

        check_tokens(tokenizer, self._tokenizer)
        ids = self._tokens[0]
        lengths = [len(row) for row in ids]
        seen = [[1] * length for length in lengths]
        return Dataset.from_dict({"input_ids": ids, "attention_mask": seen, "length": lengths})

    def collate(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Pads rows to the longest, at their ends."""
        return self._rows.collate(tokenizer, rows)

    def fitting_batch(self, asked: int) -> int:
        """Limits a batch to `BATCH_TOKENS` tokens of the longest row, but at least one."""
        return max(1, min(asked, BATCH_TOKENS // max(map(len, self._tokens[0]))))
