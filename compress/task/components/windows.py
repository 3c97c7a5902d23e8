"""A text as token windows of equal length: the rows of a language modeling task.

As in the reference implementations of SparseGPT (arXiv:2301.00774) and Wanda (arXiv:2306.11695),
the whole text becomes tokens once, with the special tokens that the tokenizer puts around a text
(Llama's one at its very beginning), and is cut into windows; what is left at the end goes. No
special token stands inside. The rows exist once it is known which tokenizer makes the tokens: that
of the teacher, and every model of a run must mean the same by a token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from compress.config.errors import ConfigError, UserError
from compress.interfaces import Split
from compress.transformer.positions import position_count

if TYPE_CHECKING:
    from datasets import Dataset

    from compress.interfaces import CompressedModel, Processor, TensorStore

LONGEST = 2048  # tokens of a window where the task does not say; as in both papers
BATCH_TOKENS = 2048  # scored at once: with 50,000 tokens to choose from their logits take 400 MB


@dataclass(frozen=True)
class Cutting:
    """Settings of the windows; see `LanguageTask` for the others.

    Attributes:
        draws: instead of all windows, so many that begin at seeded places; null for all.
        least: windows that there must be.
    """

    context: int | None
    stride: int | None
    limit: int | None
    draws: int | None
    seed: int
    least: int

    def starts(self, tokens: int, context: int) -> Int[np.ndarray, " rows"]:
        """Start offsets of the windows in a text of so many tokens."""
        random = np.random.default_rng(self.seed)
        last = tokens - context
        if last < 0:
            return np.arange(0)
        if self.draws is not None:
            return random.integers(0, last, size=self.draws, endpoint=True)
        every = np.arange(0, last + 1, self.stride or context)
        if self.limit is None or self.limit >= len(every):
            return every
        return np.sort(random.choice(every, self.limit, replace=False))


class TextWindows(Split):
    """Windows of one text, before tokenization."""

    def __init__(self, words: str, text: str, cutting: Cutting) -> None:
        """Stores the text, which `words` describe, and the window settings."""
        self.name = words
        self.columns = [[text]]  # as other splits of texts have theirs
        self._text, self._cutting = text, cutting
        self._text_digest = hashlib.sha256(text.encode()).hexdigest()
        content = f"{self._text_digest} {cutting}".encode()
        self.digest = hashlib.sha256(content).hexdigest()[:16]

    def tokenized(self, model: CompressedModel, store: TensorStore | None = None) -> TokenWindows:
        """The windows in the teacher's tokens, tokenized at first use.

        Raises:
            UserError: the stride is longer than a window.
        """
        positions = position_count(model.module) or LONGEST  # None: the model has no limit
        context = self._cutting.context or min(LONGEST, positions)
        stride = self._cutting.stride
        if stride is not None and stride > context:
            raise ConfigError(f"task.stride must be at most the {context} tokens of a window")
        return TokenWindows(self, context, model.tokenizer, store)

    def tokens(self, tokenizer: Processor, store: TensorStore | None) -> dict[str, Tensor]:
        """Token `ids`, and the byte offset at which each token `ends`."""
        if store is None:
            return read_tokens(tokenizer, self._text)
        key = {"text": self._text_digest, "tokenizer": tokenizer_digest(tokenizer)}
        return store.tensors("tokens", key, lambda: read_tokens(tokenizer, self._text))

    @property
    def labels(self) -> Tensor:
        """Not available before tokenization."""
        raise AssertionError("how many rows there are is known once they are cut")

    def encode(self, tokenizer: Processor) -> Dataset:
        """Not available before tokenization."""
        raise AssertionError("rows are encoded once they are cut")

    def collate(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Stacks windows into one batch, without padding."""
        names = rows[0].keys()
        return {name: torch.tensor([row[name] for row in rows]) for name in names}


class TokenWindows(Split):
    """Tokenized windows of one text."""

    def __init__(
        self, text: TextWindows, context: int, tokenizer: Processor, store: TensorStore | None
    ) -> None:
        """Takes a text, the tokens of a window, and what makes and keeps tokens."""
        self.digest, self.columns = text.digest, text.columns
        self._text, self._cutting, self._context = text, text._cutting, context
        self._tokenizer, self._store = tokenizer, store

    @property
    def name(self) -> str:  # type: ignore[override]
        """Number of windows and description of the text."""
        stride = self._cutting.stride or self._context
        how = "drawn at random" if self._cutting.draws else f"stride {stride}"
        return f"{len(self)} windows of {self._context} tokens ({how}) of {self._text.name}"

    @cached_property
    def _rows(self) -> tuple[Int[Tensor, "rows L"], Int[Tensor, " rows"]]:
        """Token ids, and the number of bytes of each window's scored tokens."""
        tokens = self._text.tokens(self._tokenizer, self._store)
        ids, ends = tokens["ids"], tokens["ends"]
        starts = torch.from_numpy(self._cutting.starts(len(ids), self._context))
        if len(starts) < self._cutting.least:
            raise UserError(
                f"{self._text.name}: {len(ids)} tokens are {len(starts)} windows of "
                f"{self._context}, expected at least {self._cutting.least}; lower task.context, "
                "or give more text"
            )
        counted = min(self._cutting.stride or self._context, self._context - 1)
        last = starts + self._context - 1
        places = starts[:, None] + torch.arange(self._context)
        return ids[places].long(), ends[last] - ends[last - counted]

    @property
    def labels(self) -> Int[Tensor, " rows"]:
        """Number of bytes of each window's scored tokens."""
        return self._rows[1]

    @cached_property
    def _encoded(self) -> Dataset:
        from datasets import Dataset

        ids = self._rows[0]
        columns = {"input_ids": ids.tolist(), "attention_mask": torch.ones_like(ids).tolist()}
        return Dataset.from_dict({**columns, "length": [self._context] * len(ids)})

    def encode(self, tokenizer: Processor) -> Dataset:
        """Token ids, unpadded.

        Raises:
            UserError: the tokenizer means something else by its tokens than the teacher's.
        """
        check_tokens(tokenizer, self._tokenizer)
        return self._encoded

    def collate(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Stacks windows into one batch, without padding."""
        return self._text.collate(tokenizer, rows)

    def fitting_batch(self, asked: int) -> int:
        """Limits a batch to `BATCH_TOKENS` tokens, but at least one window."""
        return max(1, min(asked, BATCH_TOKENS // self._context))


def check_tokens(tokenizer: Processor, theirs: Processor) -> None:
    """Raises a UserError if a tokenizer means something else by its tokens than the teacher's."""
    if tokenizer is not theirs and tokenizer.get_vocab() != theirs.get_vocab():
        raise UserError(
            "language models are compared token by token, and this one has other tokens than the "
            "teacher"
        )


def read_tokens(tokenizer: Processor, text: str) -> dict[str, Tensor]:
    """Tokenizes a text: `ids`, and the UTF-8 byte offset at which each token `ends`.

    Raises:
        UserError: the tokenizer does not tell where its tokens end.
    """
    if not tokenizer.is_fast:
        raise UserError(f"language models need a fast tokenizer, got {type(tokenizer).__name__}")
    encoded = tokenizer(text, return_offsets_mapping=True, verbose=False)
    offsets = np.array(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    ends = byte_offsets(text)[offsets[:, 1]]
    # Special tokens end nowhere.
    return {
        "ids": torch.tensor(encoded["input_ids"], dtype=torch.int32),
        "ends": torch.from_numpy(np.maximum.accumulate(ends)),
    }


def byte_offsets(text: str) -> Int[np.ndarray, " characters+1"]:
    """UTF-8 length in bytes of each prefix of a text."""
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    sizes = 1 + sum((points >= first).astype(np.int64) for first in (0x80, 0x800, 0x10000))
    return np.concatenate([[0], np.cumsum(sizes)])


def tokenizer_digest(tokenizer: Processor) -> str:
    """Digest of all that determines a fast tokenizer's output."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    for last_call in ("truncation", "padding"):
        state.pop(last_call)
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
