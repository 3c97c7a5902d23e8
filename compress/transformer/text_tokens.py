"""Whose tokens a deployed text classifier takes: those of transformers, from something lighter.

`compress/serve/texts.py` has the encoders. Their tokens are compared with those of transformers on
rows of the task and on the probes below; if one row's differ, that encoder is not used.
"""

from __future__ import annotations

import logging
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, final

import numpy as np
import tokenizers
import torch
from torch import Tensor

from compress.config.errors import first_line
from compress.config.legible import shortened
from compress.interfaces import Split, TensorStore, TrainingData
from compress.serve.texts import (
    INPUTS,
    TOKENIZER,
    TOKENIZERS,
    TOKIE,
    TRANSFORMERS,
    Batch,
    PlainEncoder,
    TextEncoder,
    TextSpec,
    Tokie,
    TokieEncoder,
    deployed_encoder,
    installed_tokie,
)
from compress.system.digests import file_digest
from compress.system.files import scratch_folder
from compress.transformer.processors import read_written_processor, write_processor

if TYPE_CHECKING:
    from compress.interfaces import Processor

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

NAMES = ("alphabet", "unequal", "reason")  # of what the store keeps

Row: TypeAlias = tuple[str, ...]

log = logging.getLogger(__name__)


@final
class TransformersEncoder(TextEncoder):
    """The tokenizer of transformers."""

    def __init__(
        self, tokenizer: Processor, max_length: int | None = None, reason: str | None = None
    ) -> None:
        """Without `max_length`, texts are truncated to the tokenizer's `model_max_length`."""
        self.tokenizer, self.max_length = tokenizer, max_length
        self.name, self.reason = TRANSFORMERS, reason

    def encode(self, columns: Sequence[Sequence[str]], max_length: int | None) -> Batch:
        """One padded batch."""
        lists, limit = map(list, columns), max_length or self.max_length
        return dict(
            self.tokenizer(
                *lists, truncation=True, max_length=limit, padding=True, return_tensors="np"
            )
        )

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Where the tokens of each text begin and end in it."""
        found = self.tokenizer(list(texts), return_offsets_mapping=True, verbose=False)
        return [[(begin, end) for begin, end in row] for row in found["offset_mapping"]]


def processor_and_encoder(
    folder: Path, texts: TextSpec | None
) -> tuple[Processor, TextEncoder | None]:
    """The processor in a verified folder, and what encodes texts with it if the model reads such.

    For models whose texts `tokenizers` alone does not tokenize rightly, and for those that read
    images, or texts that they continue.
    """
    processor = read_written_processor(folder)
    if texts is None:
        return processor, None
    return processor, TransformersEncoder(processor, texts.max_length, texts.reason)


def measured_encoder(folder: Path, tokenizer: Processor, texts: TextSpec | None) -> TextEncoder:
    """What tokenizes texts where a folder's model is timed: what serves it."""
    if texts is None:
        return TransformersEncoder(tokenizer)
    if texts.library == TRANSFORMERS:
        return TransformersEncoder(tokenizer, texts.max_length, texts.reason)
    return deployed_encoder(folder, texts)


def text_spec(tokenizer: Processor, data: TrainingData, store: TensorStore) -> TextSpec | None:
    """How a model for these rows tokenizes texts once exported; None if it reads something else.

    The result of the comparisons is kept in the store.
    """
    length = data.train.max_length
    if length is None:
        return None
    version, splits = installed_tokie(), (data.train, data.validation)
    inputs, columns = tuple(tokenizer.model_input_names), len(data.train.columns)
    spec = TextSpec(length, inputs, TOKENIZERS, columns=columns)
    with scratch_folder() as folder:
        write_processor(tokenizer, folder, length)
        files = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
        key = {
            "tokenizer": files,
            "rows": [split.digest for split in splits],
            "libraries": [version or "", tokenizers.__version__],
            "probes": _probes(),
        }
        standard = TransformersEncoder(tokenizer, length)
        compare = partial(_compare, standard, folder, spec, splits, version is not None)
        found = store.tensors("tokenizer", key, lambda: _as_tensors(*compare()))
    alphabet, unequal, reason = (_as_text(found[name]) for name in NAMES)
    if unequal:
        log.info("tokenizing with %s: %s", TRANSFORMERS, unequal)
        return replace(spec, library="transformers", reason=unequal)
    if reason:
        if version is not None:
            log.info("not using %s: %s", version, reason)
        return replace(spec, reason=reason)
    return replace(spec, fast=version, alphabet=alphabet)


def _compare(
    standard: TransformersEncoder,
    folder: Path,
    spec: TextSpec,
    splits: Sequence[Split],
    with_tokie: bool,
) -> tuple[str, str, str]:
    """The characters of texts with equal tokens, sorted, and why an encoder is not to be used.

    The first reason is of `tokenizers`, the second of tokie; "" for none.
    """
    others = sorted({*spec.inputs} - {*INPUTS})
    if others:
        return "", f"the model reads {', '.join(others)}", ""
    if not (folder / TOKENIZER).is_file():
        return "", f"the tokenizer has no {TOKENIZER}", ""
    if standard.tokenizer.pad_token is None:
        return "", "the tokenizer has no padding token", ""
    plain = PlainEncoder(folder / TOKENIZER, spec, None)
    probes = _probes()
    samples = [_sample(split) for split in splits]
    for rows in (*samples, [(probe,) * len(splits[0].columns) for probe in probes]):
        for texts in _unequal(standard, plain, rows):
            shown = shortened(repr(texts), SHOWN)
            return "", f"the tokens of {TOKENIZERS} alone differ for {shown}", ""
    if not with_tokie:
        return "", "", f"the package {TOKIE} is not installed"
    alphabet, reason = _compare_tokie(standard, plain, folder, spec, samples)
    return alphabet, "", reason


def _compare_tokie(
    standard: TransformersEncoder,
    plain: PlainEncoder,
    folder: Path,
    spec: TextSpec,
    samples: Sequence[Sequence[Row]],
) -> tuple[str, str]:
    """The characters of texts with equal tokens, sorted; and why tokie is not to be used, or ""."""
    tokens = Tokie(folder / TOKENIZER, plain.side)
    try:
        tokens.row([PLAIN], len(PLAIN))
    except Exception as error:
        # It has kinds of its own, and raises what Rust does with a file that it does not know.
        return "", f"{TOKIE} cannot read the tokenizer: {first_line(error)}"

    def different(rows: Sequence[Row]) -> Iterator[Row]:
        """Of the rows that tokie does not leave to `tokenizers`, which would take their batch."""
        known = "".join(set().union(*(_characters(row) for row in rows)))
        fast = TokieEncoder(TOKIE, plain, tokens, spec, known)
        some = [row for row in rows if tokens.row(row, spec.max_length) is not None]
        return _unequal(standard, fast, some)

    alphabet = set(PLAIN)
    for rows in samples:
        alphabet.update(*map(_characters, rows))
        for texts in different(rows):
            return "", f"tokens differ for {shortened(repr(texts), SHOWN)}"
    probes, width = _probes(), len(samples[0][0]) if samples[0] else 1
    unequal = {texts[0] for texts in different([(probe,) * width for probe in probes])}
    alphabet |= _characters(each for each in probes if each not in unequal)
    for probe in sorted(unequal):
        if alphabet.issuperset(probe):
            return "", f"tokens differ for {shortened(repr(probe), SHOWN)}"
    return "".join(sorted(alphabet)), ""


def _sample(split: Split) -> list[Row]:
    """Rows of a split, evenly spread."""
    step = max(1, -(-len(split) // SAMPLE))
    return [*zip(*(column[::step] for column in split.columns), strict=True)]


def _unequal(
    standard: TransformersEncoder, encoder: TextEncoder, rows: Sequence[Row]
) -> Iterator[Row]:
    """The rows that the two encode otherwise."""

    def equal(some: Sequence[Row]) -> bool:
        batch = [*map(list, zip(*some, strict=True))]
        ours, theirs = (each.encode(batch, standard.max_length) for each in (encoder, standard))
        return ours.keys() == theirs.keys() and all(
            np.array_equal(ours[name], theirs[name]) for name in ours
        )

    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        if not equal(chunk):
            yield from (row for row in chunk if not equal([row]))


def _probes() -> list[str]:
    """Texts that tokenizers are apt to disagree on."""
    characters = [chr(code) for first, end in RANGES for code in range(first, end)]
    return [*STRANGE, *(f"a{character}b {character}" for character in characters)]


def _characters(texts: Iterable[str]) -> set[str]:
    return set().union(*texts)


def _as_tensors(*texts: str) -> dict[str, Tensor]:
    """Code points, for the store."""
    points = [torch.tensor([*map(ord, text)], dtype=torch.int32) for text in texts]
    return dict(zip(NAMES, points, strict=True))


def _as_text(points: Tensor) -> str:
    return "".join(map(chr, points.tolist()))
