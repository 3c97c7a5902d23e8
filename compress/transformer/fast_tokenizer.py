"""The fast tokenizer of deployed text classifiers: tokie, wherever its tokens are the same.

The tokenizer of transformers takes 100 to 140 µs for a sentence, which is a sixth of a small
model's forward pass; tokie (github.com/chonkie-inc/tokie) reads the same `tokenizer.json` and takes
a few. Its tables of Unicode are of another version, so it takes some characters for others: DEL,
those of private use, and those that were assigned lately. Hence both are compared at export, on
rows of the task and on the probes below. Texts with a character that no text with equal tokens has
go to the tokenizer of transformers, and so do pairs that are truncated, which tokie truncates
otherwise. If a row's tokens differ, tokie is not used at all.
"""

from __future__ import annotations

import importlib.metadata
import logging
import string
from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import Tensor

from compress.config.errors import first_line
from compress.config.legible import shortened
from compress.core.text_encoder import StandardEncoder, TextEncoder, TextSpec
from compress.interfaces import Split, TensorStore, TrainingData
from compress.system.files import scratch_folder
from compress.system.sources import file_digest
from compress.transformer.processors import TOKENIZER, write_processor

if TYPE_CHECKING:
    from compress.interfaces import Processor

PACKAGE = "tokie"
INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
SAMPLE = 20_000  # rows of a split that are compared
CHUNK = 256  # texts that are compared at once
SHOWN = 60  # characters of a text in a reason
# In every alphabet: if tokens of one of these differ, those of some row or probe do.
PLAIN = string.ascii_letters + string.digits + string.punctuation + " \t\n\r"
# Latin with its accents, punctuation, currencies, and the emoji that are used most.
RANGES = ((0xA1, 0x250), (0x2010, 0x2028), (0x2030, 0x205F), (0x20A0, 0x20C0), (0x1F600, 0x1F650))
STRANGE = (
    "", " ", "\n", " \t\r\n ", "  leading and trailing  ", "tab\tnew\nline\r\n", "word " * 40,
    *("a" * count for count in (99, 100, 101, 5000)), "1,234.56 $100 50% 1e-9 ½ ² Ⅷ ①",
    "don't won't it's we'll", "!!!???...--- ,,;;", "http://a.b/c?d=e&f=g#h user@example.com",
    "$ ^ ` ~ + = < > | \\ / _ # @ &", "[CLS] [SEP] [MASK] [PAD] [UNK]", "[CLS][SEP]",
    "<s></s><pad><unk><mask> <|endoftext|>", "##ing un## ▁word Ġword", "«quotes» “curly” ‘x’ …—–",
    "naïve café Ünïcödé ß", "e\u0301 cafe\u0301 A\u0300\u0301\u0302 a\u0338", "İstanbul ı I i",
    "ﬁ ligature ﷺ ǅ ǈ", "ΑΒΓΔ ς Σ", "Кириллица ёЁ", "العربية", "हिन्दी", "বাংলা", "中文字符 mixed",
    "日本語のテキスト", "한국어 문장", "ไทย", "😀 👍🏽 👩‍👩‍👧‍👦 🇩🇪 ❤️", "a\u00a0b\u2003c\u3000d",
    "zero\u200bwidth\u200djoiner\ufeff", "soft\u00adhyphen", "line\u2028paragraph\u2029",
    "\x00null", "\x01control", "\x07bell", "\x1c\x1d\x1e\x1f", "delete\x7f", "\x85next line",
    "\ud7ff", "\ue000", "\ufffd", "\uffff", "\U0010ffff",
)  # fmt: skip

log = logging.getLogger(__name__)


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
    """tokie for texts that have only known characters, transformers for others."""

    reason = None

    def __init__(
        self, name: str, standard: StandardEncoder, tokens: Tokie, alphabet: frozenset[str]
    ) -> None:
        """Takes its name, the encoder for other texts, and the known characters."""
        self.tokenizer, self.max_length = standard.tokenizer, standard.max_length
        self.name = name
        self._standard, self._tokens, self._alphabet = standard, tokens, alphabet
        pads = {"input_ids": self.tokenizer.pad_token_id, "attention_mask": 0}
        pads["token_type_ids"] = self.tokenizer.pad_token_type_id
        self._pads = {name: pads[name] for name in self.tokenizer.model_input_names}
        self._left = self.tokenizer.padding_side == "left"

    def encode(self, columns: Sequence[Sequence[str]], max_length: int | None) -> dict[str, Tensor]:
        """One padded batch."""
        if max_length is None:
            return self._standard.encode(columns, max_length)
        encodings = []
        for texts in zip(*columns, strict=True):
            known = all(map(self._alphabet.issuperset, texts))
            encoding = self._tokens.row(texts, max_length) if known else None
            if encoding is None:
                return self._standard.encode(columns, max_length)
            encodings.append(encoding)
        length = max(map(len, encodings))
        return {name: self._padded(name, encodings, length) for name in self._pads}

    def _padded(self, name: str, encodings: Sequence[Any], length: int) -> Tensor:
        attribute = {"input_ids": "ids", "token_type_ids": "type_ids"}.get(name, name)
        rows = []
        for encoding in encodings:
            row = getattr(encoding, attribute)
            padding = [self._pads[name]] * (length - len(row))
            rows.append(padding + row if self._left else row + padding)
        # Twice as fast as a tensor of the lists.
        return torch.from_numpy(np.array(rows, dtype=np.int64).reshape(len(rows), length))


def text_spec(tokenizer: Processor, data: TrainingData, store: TensorStore) -> TextSpec | None:
    """How a model for these rows tokenizes texts once exported; None if it reads something else.

    Compares tokie with the tokenizer if it is installed; the result is kept in the store.
    """
    length = data.train.max_length
    if length is None:
        return None
    version = _installed()
    if version is None:
        return TextSpec(length, reason=f"the package {PACKAGE} is not installed")
    splits = (data.train, data.validation)
    with scratch_folder() as folder:
        write_processor(tokenizer, folder)
        files = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
        rows = [split.digest for split in splits]
        key = {"tokenizer": files, "rows": rows, "fast": version, "probes": _probes()}
        compare = partial(_compare, StandardEncoder(tokenizer, length), folder, splits)
        found = store.tensors("tokenizer", key, lambda: _as_tensors(*compare()))
    alphabet, reason = (_as_text(found[name]) for name in ("alphabet", "reason"))
    if reason:
        log.info("not using %s: %s", version, reason)
        return TextSpec(length, reason=reason)
    return TextSpec(length, fast=version, alphabet=alphabet)


def deployed_encoder(folder: Path, tokenizer: Processor, spec: TextSpec | None) -> TextEncoder:
    """What tokenizes texts for the model in a verified folder."""
    if spec is None:
        return StandardEncoder(tokenizer)
    standard = StandardEncoder(tokenizer, spec.max_length, spec.reason)
    if spec.fast is None:
        return standard
    installed = _installed()
    if installed != spec.fast:
        found = "is not installed" if installed is None else f"was compared, not {installed}"
        standard.reason = f"{spec.fast} {found}"
        log.info("%s: tokenizing with transformers, to the same tokens", standard.reason)
        return standard
    tokens = Tokie(folder / TOKENIZER, tokenizer.truncation_side)
    return TokieEncoder(spec.fast, standard, tokens, frozenset(spec.alphabet))


def _installed() -> str | None:
    """Name and version of the fast tokenizer; None if it is not installed."""
    try:
        return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"
    except importlib.metadata.PackageNotFoundError:
        return None


def _compare(standard: StandardEncoder, folder: Path, splits: Sequence[Split]) -> tuple[str, str]:
    """The characters of texts with equal tokens, sorted; and why tokie is not to be used, or ""."""
    others = sorted({*standard.tokenizer.model_input_names} - INPUTS)
    if others:
        return "", f"the model reads {', '.join(others)}"
    if not (folder / TOKENIZER).is_file():
        return "", f"the tokenizer has no {TOKENIZER}"
    tokens = Tokie(folder / TOKENIZER, standard.tokenizer.truncation_side)
    try:
        tokens.row([PLAIN], len(PLAIN))
    except Exception as error:
        # It has kinds of its own, and raises what Rust does with a file that it does not know.
        return "", f"{PACKAGE} cannot read the tokenizer: {first_line(error)}"
    alphabet = set(PLAIN)
    for split in splits:
        step = max(1, -(-len(split) // SAMPLE))
        columns = [column[::step] for column in split.columns]
        alphabet.update(*map(_characters, columns))
        for texts in _different(standard, tokens, columns):
            return "", f"tokens differ for {shortened(repr(texts), SHOWN)}"
    probes = _probes()
    different = _different(standard, tokens, [probes] * len(splits[0].columns))
    unequal = {texts[0] for texts in different}
    alphabet |= _characters(each for each in probes if each not in unequal)
    for probe in sorted(unequal):
        if alphabet.issuperset(probe):
            return "", f"tokens differ for {shortened(repr(probe), SHOWN)}"
    return "".join(sorted(alphabet)), ""


def _different(
    standard: StandardEncoder, tokens: Tokie, columns: Sequence[Sequence[str]]
) -> list[tuple[str, ...]]:
    """The rows that the two encode otherwise, whatever their characters."""
    limit = standard.max_length
    assert limit is not None, "the task has one"
    alphabet = frozenset(set().union(*map(_characters, columns)))
    fast = TokieEncoder(PACKAGE, standard, tokens, alphabet)

    def equal(rows: Sequence[tuple[str, ...]]) -> bool:
        batch = [*map(list, zip(*rows, strict=True))]
        ours, theirs = (each.encode(batch, limit) for each in (fast, standard))
        return ours.keys() == theirs.keys() and all(
            torch.equal(ours[name], theirs[name]) for name in ours
        )

    # A row that tokie leaves to transformers would take its whole batch there.
    rows = [row for row in zip(*columns, strict=True) if tokens.row(row, limit) is not None]
    chunks = (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))
    return [row for chunk in chunks if not equal(chunk) for row in chunk if not equal([row])]


def _probes() -> list[str]:
    """Texts that tokenizers are apt to disagree on."""
    characters = [chr(code) for first, end in RANGES for code in range(first, end)]
    return [*STRANGE, *(f"a{character}b {character}" for character in characters)]


def _characters(texts: Iterable[str]) -> set[str]:
    return set().union(*texts)


def _as_tensors(*texts: str) -> dict[str, Tensor]:
    """Code points, for the store."""
    points = [torch.tensor([*map(ord, text)], dtype=torch.int32) for text in texts]
    return dict(zip(("alphabet", "reason"), points, strict=True))


def _as_text(points: Tensor) -> str:
    return "".join(map(chr, points.tolist()))
