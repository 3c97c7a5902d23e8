"""From texts to batches of tokens, as a deployed model does it: by `tokenizers`, or by tokie.

The tokenizer of transformers takes 100 to 140 µs for a sentence, which is a sixth of a small
model's forward pass. `tokenizers`, which it is made of, gives the same tokens from `tokenizer.json`
alone, and tokie (github.com/chonkie-inc/tokie) reads the same file and takes a few. Its tables of
Unicode are of another version, so it takes some characters for others: DEL, those of private use,
and those that were assigned lately. Hence both are compared with transformers at export
(`compress/transformer/text_tokens.py`). Texts with a character that no text with equal tokens has
are left to `tokenizers`, and so are pairs that are truncated, which tokie truncates otherwise.
"""

from __future__ import annotations

import importlib.metadata
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, final

import numpy as np

from compress.config.errors import UserError, first_line
from compress.records.ranges import AtLeastOne, Name, Text

if TYPE_CHECKING:
    from jaxtyping import Int

TOKENIZER = "tokenizer.json"
TOKENIZERS: Final = "tokenizers"
TRANSFORMERS: Final = "transformers"
TOKIE = "tokie"
# Inputs that an encoding of `tokenizers` has, by their names in transformers.
INPUTS = {
    "input_ids": "ids",
    "attention_mask": "attention_mask",
    "token_type_ids": "type_ids",
}

Batch: TypeAlias = Mapping[str, "Int[np.ndarray, 'B L']"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextSpec:
    """How an exported model tokenizes texts: part of `runtime.json`.

    Attributes:
        max_length: tokens to which a text, or a pair, is truncated.
        inputs: what the model reads, in transformers' order.
        library: what gives the right tokens: `tokenizers` from `tokenizer.json` alone, where its
            tokens were equal to those of transformers; else transformers.
        fast: name and version of the fast tokenizer whose tokens were equal; null if none.
        alphabet: the characters of the texts that the tokens were compared on.
        reason: why there is no fast tokenizer; null if there is one.
        columns: texts of a row: 1, or 2 of pairs; null if it is not known.
    """

    max_length: AtLeastOne
    inputs: tuple[Name, ...]
    library: Literal["tokenizers", "transformers"]
    fast: Name | None = None
    alphabet: str = ""
    reason: Text | None = None
    columns: AtLeastOne | None = None


class TextEncoder(ABC):
    """Tokenizes texts into batches.

    Attributes:
        max_length: tokens to truncate to; None for the number that the tokenizer itself names.
        name: what makes the tokens, for the record.
        reason: why that is no fast tokenizer; None if it is one, or if none was asked for.
    """

    max_length: int | None
    name: str
    reason: str | None

    @abstractmethod
    def encode(self, columns: Sequence[Sequence[str]], max_length: int | None) -> Batch:
        """One batch, padded to its longest row.

        Args:
            columns: the texts of all rows; of pairs, the first ones and the second ones.
            max_length: tokens to truncate to, the longer text of a pair first; None for those of
                the encoder.
        """

    @abstractmethod
    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Where the tokens of each text begin and end in it, untruncated and unpadded.

        Tokens that stand for nothing in the text begin where they end.
        """


@final
class PlainEncoder(TextEncoder):
    """`tokenizers`, which reads truncation and padding from `tokenizer.json` as well.

    Attributes:
        padding: ids and direction of the padding, as the library has them.
    """

    def __init__(self, path: Path, spec: TextSpec, reason: str | None) -> None:
        """Reads the file.

        Raises:
            UserError: it is damaged, or does not say how to truncate and pad.
        """
        import tokenizers

        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:
            # It raises no kind of its own.
            raise UserError(f"{path} is damaged: {first_line(error)}") from error
        cut, padding = self._tokenizer.truncation, self._tokenizer.padding
        if cut is None or padding is None:
            raise UserError(f"{path} is damaged: it has no truncation, or no padding")
        self._truncation: dict[str, Any] = cut
        self.padding: dict[str, Any] = padding
        self._inputs = {name: INPUTS[name] for name in spec.inputs}
        self.max_length: int = spec.max_length
        self.reason = reason
        self.name = f"{TOKENIZERS} {tokenizers.__version__}"

    def encode(self, columns: Sequence[Sequence[str]], max_length: int | None) -> Batch:
        """One padded batch."""
        limit = max_length or self.max_length
        if limit != self._truncation["max_length"]:
            self._truncation = {**self._truncation, "max_length": limit}
            self._tokenizer.enable_truncation(**self._truncation)
        rows = columns[0] if len(columns) == 1 else [*zip(*columns, strict=True)]
        encodings = self._tokenizer.encode_batch_fast([*rows])
        return {
            name: np.array([getattr(row, attribute) for row in encodings], dtype=np.int64)
            for name, attribute in self._inputs.items()
        }

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Where the tokens of each text begin and end in it."""
        return [encoding.offsets for encoding in self._whole.encode_batch([*texts])]

    @cached_property
    def _whole(self) -> Any:
        """A tokenizer of its own: another thread may make a batch meanwhile."""
        found = type(self._tokenizer).from_str(self._tokenizer.to_str())
        found.no_truncation()
        found.no_padding()
        return found

    @property
    def side(self) -> str:
        """Where rows are truncated: "right" or "left"."""
        return str(self._truncation["direction"])


class Tokie:
    """Tokenizes rows with tokie. Reads its file with the first row: not all users have texts."""

    def __init__(self, path: Path, side: str) -> None:
        """Takes a `tokenizer.json`, and the side on which rows are truncated."""
        self._path, self._side = path, side
        self._limit = 0

    @cached_property
    def _tokenizer(self) -> Any:
        import tokie

        found = tokie.Tokenizer.from_json(str(self._path))
        found.no_padding()
        return found

    def row(self, texts: Sequence[str], limit: int) -> Any | None:
        """The encoding of a text or a pair; None for a pair that may have been truncated."""
        if limit != self._limit:
            self._tokenizer.enable_truncation(limit, direction=self._side)
            self._limit = limit
        found = self._tokenizer(*texts)
        return found if len(texts) == 1 or len(found) < limit else None


@final
class TokieEncoder(TextEncoder):
    """tokie for texts that have only known characters, `tokenizers` for others."""

    reason = None

    def __init__(
        self, name: str, plain: PlainEncoder, tokens: Tokie, spec: TextSpec, alphabet: str
    ) -> None:
        """Takes its name, the encoder for other texts, and the known characters."""
        self.max_length: int = plain.max_length
        self.name = name
        self._plain, self._tokens, self._alphabet = plain, tokens, frozenset(alphabet)
        padding = plain.padding
        pads = {
            "input_ids": padding["pad_id"],
            "attention_mask": 0,
            "token_type_ids": padding["pad_type_id"],
        }
        self._pads = {name: pads[name] for name in spec.inputs}
        self._left = padding["direction"] == "left"

    def encode(self, columns: Sequence[Sequence[str]], max_length: int | None) -> Batch:
        """One padded batch."""
        limit = max_length or self.max_length
        encodings = []
        for texts in zip(*columns, strict=True):
            known = all(map(self._alphabet.issuperset, texts))
            encoding = self._tokens.row(texts, limit) if known else None
            if encoding is None:
                return self._plain.encode(columns, limit)
            encodings.append(encoding)
        length = max(map(len, encodings))
        return {name: self._padded(name, encodings, length) for name in self._pads}

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Those of `tokenizers`, whose tokens are the same."""
        return self._plain.offsets(texts)

    def _padded(self, name: str, encodings: Sequence[Any], length: int) -> Int[np.ndarray, "B L"]:
        rows = []
        for encoding in encodings:
            row = getattr(encoding, INPUTS[name])
            padding = [self._pads[name]] * (length - len(row))
            rows.append(padding + row if self._left else row + padding)
        return np.array(rows, dtype=np.int64).reshape(len(rows), length)


def deployed_encoder(folder: Path, spec: TextSpec) -> TextEncoder:
    """What tokenizes texts for the model in a verified folder, without transformers.

    Raises:
        UserError: `tokenizer.json` is damaged.
    """
    assert spec.library == TOKENIZERS, "callers have an encoder for the other one"
    path = folder / TOKENIZER
    if spec.fast is None:
        return PlainEncoder(path, spec, spec.reason)
    installed = installed_tokie()
    if installed != spec.fast:
        found = "is not installed" if installed is None else f"was compared, not {installed}"
        reason = f"{spec.fast} {found}"
        log.info("%s: tokenizing with %s, to the same tokens", reason, TOKENIZERS)
        return PlainEncoder(path, spec, reason)
    plain = PlainEncoder(path, spec, None)
    return TokieEncoder(spec.fast, plain, Tokie(path, plain.side), spec, spec.alphabet)


def installed_tokie() -> str | None:
    """Name and version of the fast tokenizer; None if it is not installed."""
    try:
        return f"{TOKIE} {importlib.metadata.version(TOKIE)}"
    except importlib.metadata.PackageNotFoundError:
        return None
