"""Tokens of `tokenizers` and tokie against those of transformers, and where they are not used."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tokenizers
import transformers
from torch import Tensor

from compress.config.errors import UserError
from compress.interfaces import Split, TrainingData
from compress.problem.regression import Regression
from compress.serve.texts import (
    TRANSFORMERS,
    Batch,
    PlainEncoder,
    TextEncoder,
    TextSpec,
    deployed_encoder,
)
from compress.task.components.text import TextSplit
from compress.transformer.processors import write_processor
from compress.transformer.text_tokens import (
    STRANGE,
    TransformersEncoder,
    measured_encoder,
    text_spec,
)
from tests.vocabularies import ANGLES, CLASSIFIER, SEQUENCE_END, WORDS, Ends, make_tokenizer

needs_tokie = pytest.mark.skipif(
    importlib.util.find_spec("tokie") is None, reason="needs the extra fast-tokenizer"
)
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
PLAIN = f"tokenizers {tokenizers.__version__}"
LENGTH = 24
TEXTS = [
    f"a {first} {second} of {first}s, {i}" for i, (first, second) in enumerate(pairwise(WORDS))
]


class Computed:
    """A store that keeps nothing."""

    def tensors(
        self, name: str, inputs: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        return make()


def split(texts: Sequence[str] = TEXTS, seconds: Sequence[str] | None = None) -> TextSplit:
    columns = {"text": texts} if seconds is None else {"text": texts, "second": seconds}
    return TextSplit("rows", pd.DataFrame({**columns, "label": 0.0}), LENGTH)


def rows_of(train: Split) -> TrainingData:
    return TrainingData(train, train, train, Regression())


def tokenizer_of(
    pieces: str = "wordpiece", ends: Ends = CLASSIFIER, side: str = "right"
) -> transformers.PreTrainedTokenizerFast:
    return make_tokenizer(pieces, ends, inputs=INPUTS, pads=True, side=side)


def for_pairs() -> transformers.PreTrainedTokenizerFast:
    """BERT's: the second text has token types of its own."""
    made = tokenizer_of()
    ends = [(name, made.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")]
    made.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return made


def spec_of(tokenizer: Any, train: Split) -> TextSpec:
    spec = text_spec(tokenizer, rows_of(train), Computed())
    assert spec is not None
    return spec


def deployed(tokenizer: Any, train: Split, folder: Path, **changes: Any) -> TextEncoder:
    """As it is exported and loaded."""
    spec = replace(spec_of(tokenizer, train), **changes)
    write_processor(tokenizer, folder, spec.max_length)
    return measured_encoder(folder, tokenizer, spec)


def assert_equal(ours: Batch, theirs: Batch) -> None:
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert ours[name].dtype == expected.dtype, name
        assert np.array_equal(ours[name], expected), name


def unused(tokenizer: Any, train: Split) -> str:
    """Why tokie is not used for a tokenizer."""
    spec = spec_of(tokenizer, train)
    assert (spec.fast, spec.alphabet, spec.max_length) == (None, "", LENGTH)
    assert spec.reason is not None
    return spec.reason


@pytest.mark.parametrize("fast", [pytest.param(True, marks=needs_tokie), False])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("length", [None, 3, 9, LENGTH, 6000])
def test_batches_are_equal(fast: bool, length: int | None, side: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(side=side)
    tokenizer.truncation_side = side
    encoder = deployed(tokenizer, split(), tmp_path, **({} if fast else {"fast": None}))
    library = "tokie" if fast else "tokenizers"
    assert encoder.name == f"{library} {importlib.metadata.version(library)}"
    assert encoder.reason is None
    standard = TransformersEncoder(tokenizer, LENGTH)
    for texts in (
        [*TEXTS, *STRANGE],
        TEXTS[:1],
        [""],
        ["", TEXTS[0]],
        *([each] for each in STRANGE),
    ):
        assert_equal(encoder.encode([texts], length), standard.encode([texts], length))


@needs_tokie
@pytest.mark.parametrize("length", [9, LENGTH, 300])
def test_pairs_are_equal_and_truncated_ones_are_left_to_tokenizers(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = for_pairs()
    encoder = deployed(tokenizer, split(TEXTS, TEXTS[::-1]), tmp_path)
    assert encoder.name.startswith("tokie ")
    columns = [["glad", "a sad story", *TEXTS], ["sad", "a warm river of money", *TEXTS[::-1]]]
    standard = TransformersEncoder(tokenizer)
    assert_equal(encoder.encode(columns, length), standard.encode(columns, length))
    monkeypatch.setattr(PlainEncoder, "encode", lambda *_: {})
    short = [["glad"], ["sad"]]
    assert encoder.encode(short, LENGTH)["token_type_ids"].tolist() == [[0, 0, 0, 1, 1]]
    assert encoder.encode(short, 5) == {}, "it may have been longer"


@needs_tokie
def test_texts_with_unknown_characters_are_left_to_tokenizers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tokie takes DEL for a character and transformers for none."""
    tokenizer = tokenizer_of()
    spec = spec_of(tokenizer, split([*TEXTS, "ঠক"]))
    assert {*"aZ09 \n\t", "ঠ", "é", "😀"} <= {*spec.alphabet}
    assert not {"\x7f", "\U0010ffff", "𒀀"} & {*spec.alphabet}
    write_processor(tokenizer, tmp_path, LENGTH)
    encoder = deployed_encoder(tmp_path, spec)
    monkeypatch.setattr(PlainEncoder, "encode", lambda *_: {})
    assert encoder.encode([["glad", "ঠ"]], LENGTH) != {}
    for other in ("glad\x7f", "\U0010ffff", "𒀀"):
        assert encoder.encode([["glad", other]], LENGTH) == {}


def word_level() -> transformers.PreTrainedTokenizerFast:
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"<pad>": 0, "<unk>": 1, "glad": 2}, unk_token="<unk>")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, model_input_names=["input_ids"], **ANGLES
    )


def of_another_input() -> transformers.PreTrainedTokenizerFast:
    return make_tokenizer(
        "wordpiece", CLASSIFIER, inputs=("input_ids", "special_tokens_mask"), pads=True,
        side="right",
    )  # fmt: skip


def without_padding() -> transformers.PreTrainedTokenizerFast:
    made = tokenizer_of()
    made.pad_token = None
    return made


class Lowercase:
    """A class of transformers that changes texts before its file is used."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, *columns: Any, **options: Any) -> Any:
        return self._tokenizer(*([f"x {t}" for t in column] for column in columns), **options)


def of_python() -> transformers.PreTrainedTokenizer:
    return transformers.CanineTokenizer()


@needs_tokie
@pytest.mark.parametrize(
    ("tokenizer", "reason"),
    [
        (word_level, "tokie cannot read the tokenizer: "),
        # tokie puts no lone token behind a text.
        (lambda: tokenizer_of(ends=SEQUENCE_END), "tokens differ for ('a glad sad of glads"),
    ],
)  # fmt: skip
def test_what_tokie_does_otherwise_is_said(
    tokenizer: Callable[[], Any], reason: str, tmp_path: Path
) -> None:
    made = tokenizer()
    found = unused(made, split())
    assert found.startswith(reason)
    encoder = deployed(made, split(), tmp_path)
    assert (encoder.name, encoder.reason) == (PLAIN, found)
    expected = TransformersEncoder(made, LENGTH)
    assert_equal(encoder.encode([TEXTS], None), expected.encode([TEXTS], None))


@needs_tokie
def test_pairs_are_compared_beside_truncated_ones() -> None:
    """Without a template for pairs, tokie sets a token between them that transformers does not."""
    pairs = split(["glad", "a long story " * LENGTH], ["sad", "without an end"])
    assert unused(tokenizer_of(), pairs) == "tokens differ for ('glad', 'sad')"


@needs_tokie
def test_one_row_with_other_tokens_is_enough(tmp_path: Path) -> None:
    """Of rows, none may differ; of probes, those of unknown characters."""
    assert unused(tokenizer_of(), split([*TEXTS, "glad\x7f"])) == (
        r"tokens differ for ('glad\x7f',)"
    )


@pytest.mark.parametrize(
    ("tokenizer", "reason"),
    [
        (of_another_input, "the model reads special_tokens_mask"),
        (lambda: Lowercase(tokenizer_of()), "the tokens of tokenizers alone differ for ('a glad"),
        (without_padding, "the tokenizer has no padding token"),
        (of_python, "the tokenizer has no tokenizer.json"),
    ],
)
def test_what_its_file_alone_does_not_tokenize_rightly_is_left_to_transformers(
    tokenizer: Callable[[], Any], reason: str, tmp_path: Path
) -> None:
    made = tokenizer()
    spec = spec_of(made, split())
    assert (spec.library, spec.fast) == (TRANSFORMERS, None)
    assert spec.reason is not None
    assert spec.reason.startswith(reason)
    write_processor(made, tmp_path)
    encoder = measured_encoder(tmp_path, made, spec)
    assert (encoder.name, encoder.reason) == (TRANSFORMERS, spec.reason)


def test_a_file_without_truncation_is_damaged(tmp_path: Path) -> None:
    write_processor(tokenizer_of(), tmp_path)
    spec = TextSpec(LENGTH, INPUTS, "tokenizers")
    with pytest.raises(UserError, match=r"tokenizer\.json is damaged: it has no truncation, or no"):
        deployed_encoder(tmp_path, spec)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json is damaged: "):
        deployed_encoder(tmp_path, spec)


def version_of(found: str | None) -> Callable[[str], str]:
    """Stands in for the versions of installed packages."""

    def version(name: str) -> str:
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    return version


@pytest.mark.parametrize(
    ("installed", "reason"),
    [
        (None, "tokie 9.0 is not installed"),
        ("9.1", "tokie 9.0 was compared, not tokie 9.1"),
    ],
)
def test_an_artifact_is_loaded_without_the_tokie_that_it_was_exported_with(
    installed: str | None,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", version_of(installed))
    tokenizer = tokenizer_of()
    write_processor(tokenizer, tmp_path, LENGTH)
    spec = TextSpec(LENGTH, INPUTS, "tokenizers", "tokie 9.0", "abc")
    with caplog.at_level(logging.INFO):
        encoder = deployed_encoder(tmp_path, spec)
    assert (encoder.name, encoder.reason, encoder.max_length) == (PLAIN, reason, LENGTH)
    assert caplog.messages == [f"{reason}: tokenizing with tokenizers, to the same tokens"]
    expected = TransformersEncoder(tokenizer).encode([TEXTS], LENGTH)
    assert_equal(encoder.encode([TEXTS], LENGTH), expected)


def test_an_export_without_tokie_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", version_of(None))
    assert unused(tokenizer_of(), split()) == "the package tokie is not installed"


def test_images_and_windows_have_no_texts(images: TrainingData) -> None:
    assert text_spec(None, images, Computed()) is None  # type: ignore[arg-type]
