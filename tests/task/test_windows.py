from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel
from compress.replay.rebench import MemoryStore
from compress.task.components.windows import Cutting, TextWindows, byte_offsets, read_tokens


def by_word(words: dict[str, int], **options: Any) -> Any:
    """A tokenizer with a special token in front of a text."""
    inner = Tokenizer(models.WordLevel(words, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(
        single="^ $A", special_tokens=[("^", words["^"])]
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **options)


def numbered(count: int = 40, shift: int = 0) -> Any:
    """A tokenizer of the words w0, w1, … whose token is their number and one more."""
    words = {f"w{i}": i + 1 + shift for i in range(count)}
    return by_word({"^": 0, **words, "?": count + 1 + shift})


def words(count: int) -> str:
    return " ".join(f"w{i}" for i in range(count))


def model_of(tokenizer: Any, positions: int = 8) -> CompressedModel:
    config = transformers.LlamaConfig(
        num_hidden_layers=1, hidden_size=4, num_attention_heads=1, intermediate_size=4,
        vocab_size=64, max_position_embeddings=positions,
    )  # fmt: skip
    with torch.device("meta"):
        return CompressedModel(transformers.LlamaForCausalLM(config), tokenizer, ())


def cutting(**settings: Any) -> Cutting:
    default = {"context": 8, "stride": None, "limit": None, "draws": None, "seed": 0, "least": 1}
    return Cutting(**{**default, **settings})


def rows_of(text: str, **settings: Any) -> list[list[int]]:
    tokenizer = numbered()
    made = TextWindows("a text", text, cutting(**settings)).tokenized(model_of(tokenizer))
    return made.encode(tokenizer)["input_ids"][:]


def test_a_text_becomes_tokens_once_and_what_is_left_at_the_end_goes() -> None:
    assert rows_of(words(18)) == [[0, *range(1, 8)], list(range(8, 16))]


def test_windows_are_as_long_as_the_teacher_has_positions() -> None:
    assert [len(row) for row in rows_of(words(18), context=None)] == [8, 8]


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 8])
def test_no_token_counts_twice_and_none_between_is_left_out(stride: int) -> None:
    """With less than a whole window the last `stride` tokens of each count."""
    counted = [token for row in rows_of(words(35), stride=stride) for token in row[-stride:]]
    assert counted == list(range(counted[0], counted[0] + len(counted)))
    assert counted[0] == 8 - stride


def test_a_limit_draws_windows_and_keeps_their_order() -> None:
    every, some = rows_of(words(39)), rows_of(words(39), limit=3)
    assert len(some) == 3
    assert [row for row in every if row in some] == some
    assert rows_of(words(39), limit=3) == some
    assert rows_of(words(39), limit=9) == every


def test_windows_that_are_drawn_lie_inside_the_text() -> None:
    drawn = rows_of(words(12), draws=200)
    assert {row[0] for row in drawn} == set(range(6))
    assert all(row == list(range(row[0], row[0] + 8)) for row in drawn)


@pytest.mark.parametrize(("stride", "counted"), [(None, 7), (8, 7), (3, 3)])
def test_labels_are_the_bytes_of_the_tokens_that_count(stride: int | None, counted: int) -> None:
    text = f" {words(17)}"
    made = TextWindows("a text", text, cutting(stride=stride)).tokenized(model_of(numbered()))
    for row, size in zip(made.encode(numbered())["input_ids"], made.labels, strict=True):
        # Each token with the space before it.
        assert size == len("".join(f" w{token - 1}" for token in row[-counted:]).encode())


def test_ends_are_counted_in_bytes() -> None:
    assert byte_offsets("aé€𝄞b").tolist() == [0, 1, 3, 6, 10, 11]
    tokenizer = by_word({"^": 0, "é": 1, "𝄞b": 2, "?": 3})
    found = read_tokens(tokenizer, "é x 𝄞b")
    assert found["ids"].tolist() == [0, 1, 3, 2]
    assert found["ends"].tolist() == [0, 2, 4, 10]


def test_tokens_are_kept_for_other_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    store, text = MemoryStore(), TextWindows("a text", words(18), cutting())
    first = text.tokenized(model_of(numbered()), store)
    expected = first.labels

    def forbidden(*_: object) -> None:
        raise AssertionError("made a second time")

    monkeypatch.setattr("compress.task.components.windows.read_tokens", forbidden)
    again = text.tokenized(model_of(numbered()), store)
    assert torch.equal(again.labels, expected)
    assert again.encode(numbered())["input_ids"][:] == first.encode(numbered())["input_ids"][:]


def test_a_model_with_other_tokens_is_refused() -> None:
    made = TextWindows("a text", words(18), cutting()).tokenized(model_of(numbered()))
    with pytest.raises(UserError, match="other tokens than the teacher"):
        made.encode(numbered(shift=1))


def test_a_text_that_is_too_short_is_refused() -> None:
    made = TextWindows("a text", words(9), cutting(least=2)).tokenized(model_of(numbered()))
    with pytest.raises(UserError, match="10 tokens are 1 windows of 8, expected at least 2"):
        len(made)


def test_a_stride_that_would_leave_tokens_out_is_refused() -> None:
    text = TextWindows("a text", words(18), cutting(context=None, stride=9))
    with pytest.raises(ConfigError, match="must be at most the 8 tokens of a window"):
        text.tokenized(model_of(numbered()))


def test_logits_of_a_batch_fit_into_memory() -> None:
    made = TextWindows("a text", words(18), cutting(context=512))
    assert made.tokenized(model_of(numbered())).fitting_batch(32) == 4
    assert made.tokenized(model_of(numbered())).fitting_batch(3) == 3
    longer = TextWindows("a text", words(18), cutting(context=4096))
    assert longer.tokenized(model_of(numbered())).fitting_batch(32) == 1


def test_what_was_cut_says_so() -> None:
    made = TextWindows("a book", words(18), cutting(stride=4)).tokenized(model_of(numbered()))
    assert made.name == "3 windows of 8 tokens (stride 4) of a book"
    drawn = TextWindows("a book", words(18), cutting(draws=5)).tokenized(model_of(numbered()))
    assert drawn.name == "5 windows of 8 tokens (drawn at random) of a book"


def test_how_it_is_cut_is_part_of_what_identifies_rows() -> None:
    made = [
        TextWindows("a text", text, cutting(stride=stride)).digest
        for text in ("a", "b")
        for stride in (2, 3)
    ]
    assert len(set(made)) == 4
