from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel, StageContext
from compress.student.components.neighbors import (
    Neighbors,
    known_words,
    nearest_rows,
    replaced,
    word_tokens,
)
from compress.task.components.text import TextSplit
from tests.configs import settings_of
from tests.vocabularies import CLASSIFIER, WORDS, make_tokenizer, numbered

ON = "+student/augmentation=neighbors"
PIECES = ("wordpiece", "bytes", "unigram")
Teachers = Callable[[str], CompressedModel]


def neighbors(**changed: Any) -> Neighbors:
    return Neighbors(**{"copies": 1, "probability": 0.4, "nearest": 15, **changed})


def tokenizer(pieces: str) -> PreTrainedTokenizerFast:
    inputs = ("input_ids", "attention_mask")
    return make_tokenizer(pieces, CLASSIFIER, inputs=inputs, pads=True, side="right")


def changed(settings: Neighbors, texts: list[str], teacher: CompressedModel, seed: int = 0) -> Any:
    return settings.changed(texts, teacher, torch.Generator().manual_seed(seed))


def with_table(teacher: CompressedModel, tokens: Any, vectors: dict[str, list[float]]) -> Any:
    """A teacher whose words have these embeddings, and all else one of its own direction."""
    table = teacher.module.get_input_embeddings().weight
    with torch.no_grad():
        table.zero_()
        table[:, -1] = 1
        words = known_words(tokens)
        for word, vector in vectors.items():
            row = table[words.tokens[words.spelling.index(word)]]
            row.zero_()
            row[: len(vector)] = torch.tensor(vector)
    return replace(teacher, tokenizer=tokens)


def test_the_command_line_adds_it() -> None:
    made = settings_of("student", "layers", ON, "student.augmentation.nearest=3")
    assert made.augmentation == neighbors(nearest=3)  # type: ignore[attr-defined]


def test_the_nearest_by_hand() -> None:
    """Directions of 0, 10, 30, 90, 180 and 185 degrees; lengths do not matter."""
    degrees = torch.tensor([0.0, 10, 30, 90, 180, 185]).deg2rad()
    lengths = torch.tensor([1.0, 9, 2, 0.1, 5, 3])[:, None]
    table = torch.stack([degrees.cos(), degrees.sin()], dim=1) * lengths
    asked = torch.tensor([0, 3, 5])
    assert nearest_rows(table, asked, 1).tolist() == [[1], [2], [4]]
    assert nearest_rows(table, asked, 2).tolist() == [[1, 2], [1, 2], [3, 4]]


def test_what_is_computed_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    table = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    whole = nearest_rows(table, torch.arange(40), 5)
    monkeypatch.setattr("compress.student.components.neighbors.COSINES", 120)
    assert torch.equal(nearest_rows(table, torch.arange(40), 5), whole)
    tokens, texts = tokenizer("wordpiece"), ["glad sad", "", "slow  river"] * 5
    found = word_tokens(texts, tokens)
    monkeypatch.setattr("compress.student.components.neighbors.TEXTS", 2)
    assert torch.equal(word_tokens(texts, tokens), found)


@pytest.mark.parametrize("pieces", PIECES)
def test_words_are_known_whatever_marks_them(pieces: str) -> None:
    """All of the list but what this BPE did not merge; no letters, pieces or special tokens."""
    words = known_words(tokenizer(pieces))
    assert set(words.spelling) <= set(WORDS)
    assert len(words.spelling) == (len(WORDS) if pieces != "bytes" else 23)
    names = tokenizer(pieces).convert_ids_to_tokens(words.tokens.tolist())
    mark = {"wordpiece": "", "bytes": "Ġ", "unigram": "▁"}[pieces]
    assert names == [mark + word for word in words.spelling]


@pytest.mark.parametrize("pieces", PIECES)
def test_places_are_whole_words(pieces: str) -> None:
    tokens = tokenizer(pieces)
    words = known_words(tokens)
    text = "fast glad, unfast (fast) fast's fast2 glads  fast-glad 'glad\nfast"
    found = words.places(["", text], tokens).tolist()
    # Not in "unfast", "fast's", "fast2", "glads" and "'glad".
    spans = [(0, 4), (5, 9), (19, 23), (45, 49), (50, 54), (61, 65)]
    if pieces == "unigram":  # it has no token for a word after a sign or a line's end
        spans = [(0, 4), (5, 9), (45, 49)]
    assert [(row, start, end) for row, start, end, _ in found] == [(1, *span) for span in spans]
    spelled = [words.spelling[word] for _, _, _, word in found]
    assert spelled == [text[start:end] for start, end in spans]


def test_spellings_of_other_scripts_and_cases() -> None:
    """Vowels of Bengali are marks; an uncased tokenizer finds a capitalized word."""
    listed = ["[PAD]", "[UNK]", "ভালো", "film", "1984", "a", "##film"]
    made = Tokenizer(models.WordPiece(numbered(listed), unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.decoder = decoders.WordPiece()
    tokens = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]")
    words = known_words(tokens)
    assert words.spelling == ["ভালো", "film"]
    assert words.places(["a ভালো 1984 film"], tokens).tolist() == [[0, 2, 6, 0], [0, 12, 16, 1]]
    uncased = tokenizer("wordpiece")
    found = known_words(uncased).places(["Glad SAD"], uncased)
    assert found[:, 1:3].tolist() == [[0, 4], [5, 8]]


def test_words_at_places_are_replaced() -> None:
    texts = ["a b a", "none", "b"]
    places = torch.tensor([[0, 0, 1, 0], [0, 4, 5, 0], [2, 0, 1, 1]])
    assert replaced(texts, places, ["long", "x", ""]) == ["long b x", "none", ""]
    assert replaced(texts, places[:0], []) == texts


@pytest.mark.parametrize("pieces", PIECES)
def test_the_only_neighbor_replaces_every_word(pieces: str, teacher: CompressedModel) -> None:
    vectors = {"fast": [1.0, 0.1], "glad": [1.0, 0.2], "loud": [0.0, 1.0], "dull": [0.1, 1.0]}
    made = with_table(teacher, tokenizer(pieces), vectors)
    texts = ["The fast glad  and loud 7 glads: x dull", "fast"]
    copies = changed(neighbors(probability=1.0, nearest=1, copies=2), texts, made)
    assert copies == ["The glad fast  and dull 7 glads: x loud", "glad"] * 2


def test_a_share_of_the_words_by_the_seed(teacher: CompressedModel) -> None:
    made = replace(teacher, tokenizer=tokenizer("wordpiece"))
    texts = [" ".join(WORDS)] * 600
    first, again, other = (changed(neighbors(), texts, made, seed) for seed in (0, 0, 1))
    assert first == again != other
    pairs = [pair for text in first for pair in zip(text.split(), WORDS, strict=True)]
    assert sum(a != b for a, b in pairs) / len(pairs) == pytest.approx(0.4, abs=0.03)
    near = {word: {a for a, b in pairs if b == word} - {word} for word in WORDS}
    assert all(len(found) == 15 for found in near.values())


def test_both_texts_of_a_pair_and_the_labels(teacher: CompressedModel) -> None:
    made = with_table(teacher, tokenizer("wordpiece"), {"sad": [1.0, 0], "glad": [1.0, 0.1]})
    texts = {"text": ["sad x"], "second": ["glad y"], "label": [1]}
    rows = TextSplit("x", pd.DataFrame(texts), 16)
    more = neighbors(probability=1.0, nearest=1, copies=2).augment(rows, made, 0)
    assert more.columns == [["sad x", "glad x", "glad x"], ["glad y", "sad y", "sad y"]]
    assert more.labels.tolist() == [1, 1, 1]
    assert more.name == "x, with 2 changed copies of each"


def test_a_student_learns_from_the_copies(
    teacher: CompressedModel, context: Callable[[CompressedModel], StageContext]
) -> None:
    ctx = context(teacher)
    student: Any = settings_of("student", "layers", ON, "student.augmentation.nearest=3")
    student.check(ctx.teacher.module)
    with_copies = student.distill(ctx)
    without = replace(student, augmentation=None).distill(ctx)
    steps = [len(made.history[-1].notes["curve"]) for made in (with_copies, without)]
    assert steps[0] > steps[1] or with_copies.history[-1].notes != without.history[-1].notes


def test_what_has_no_words_is_refused(teacher: CompressedModel) -> None:
    letters = Tokenizer(models.WordPiece(numbered(["[UNK]", "a", "##a"]), unk_token="[UNK]"))
    letters.pre_tokenizer = pre_tokenizers.Whitespace()
    spelled = PreTrainedTokenizerFast(tokenizer_object=letters, unk_token="[UNK]")
    with pytest.raises(UserError, match=r"more than nearest=15 words that are one token, .* has 0"):
        changed(neighbors(), ["aa a"], replace(teacher, tokenizer=spelled))
    words = replace(teacher, tokenizer=tokenizer("wordpiece"))
    with pytest.raises(UserError, match=r"more than nearest=30 words .* has 30"):
        changed(neighbors(nearest=30), ["sad"], words)
    with pytest.raises(UserError, match="no word of the rows is one token of the teacher's"):
        changed(neighbors(), ["sad2 42 xyz"], words)
    slow = SimpleNamespace(is_fast=False)
    with pytest.raises(UserError, match="needs a fast tokenizer, got SimpleNamespace"):
        changed(neighbors(), ["sad"], replace(teacher, tokenizer=slow))  # type: ignore[arg-type]


def test_models_that_do_not_classify_texts_are_refused_up_front(teachers: Teachers) -> None:
    with pytest.raises(ConfigError, match="ViTForImageClassification reads pixel_values"):
        settings_of("student", "layers", ON).check(teachers("vit").module)  # type: ignore[attr-defined]
    writes = settings_of("teacher", "tiny_random", "teacher.architecture=gpt2")
    with pytest.raises(ConfigError, match="but GPT2LMHeadModel reads windows"):
        neighbors().check(writes.skeleton("language_model"))  # type: ignore[attr-defined]
    model = teachers("bert").module
    model.set_input_embeddings(torch.nn.Identity())
    with pytest.raises(ConfigError, match="needs a table of token embeddings, BertForSequence"):
        neighbors().check(model)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"copies": 0}, "copies must be > 0, got 0"),
        ({"probability": 0.0}, r"probability must be in \(0, 1\], got 0.0"),
        ({"probability": 1.5}, r"probability must be in \(0, 1\], got 1.5"),
        ({"nearest": 0}, "nearest must be > 0, got 0"),
    ],
)
def test_bad_settings_are_refused(setting: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        neighbors(**setting)
