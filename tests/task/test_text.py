from __future__ import annotations

import pandas as pd
import pytest

from compress.interfaces import CompressedModel
from compress.task.components.text import TextSplit
from tests.tiny import make_split


def test_digest_follows_content_and_length() -> None:
    assert make_split(4).digest == make_split(4, "another name").digest
    assert make_split(4).digest != make_split(6).digest
    rows = pd.DataFrame({"text": ["a", "b"], "label": [0, 1]})
    assert TextSplit("x", rows, 8).digest != TextSplit("x", rows, 9).digest
    other = pd.DataFrame({"text": ["a", "b"], "label": [1, 1]})
    assert TextSplit("x", rows, 8).digest != TextSplit("x", other, 8).digest


# As they were before there were pairs: the stage cache goes by them.
@pytest.mark.parametrize(
    ("rows", "max_length", "digest"),
    [
        ({"text": ["a", "b"], "label": [0, 1]}, 8, "fda5c33c083f8396"),
        ({"text": ["ä \t", ""], "label": [2, 2]}, 128, "9ba27cefb734e569"),
    ],
)
def test_digests_of_single_texts_stay(
    rows: dict[str, object], max_length: int, digest: str
) -> None:
    assert TextSplit("x", pd.DataFrame(rows), max_length).digest == digest


def pairs(*seconds: str) -> TextSplit:
    rows = {"text": ["glad film"] * len(seconds), "second": seconds, "label": [0] * len(seconds)}
    return TextSplit("x", pd.DataFrame(rows), 12)


def test_digests_cover_both_texts() -> None:
    assert pairs("a").digest == pairs("a").digest
    assert pairs("a").digest != pairs("b").digest
    swapped = pd.DataFrame({"text": ["a"], "second": ["glad film"], "label": [0]})
    assert pairs("a").digest != TextSplit("x", swapped, 12).digest


def test_pairs_are_encoded_as_pairs_and_the_longer_text_is_cut(teacher: CompressedModel) -> None:
    tokenizer = teacher.tokenizer
    encoded = pairs("end", "good " * 50).encode(tokenizer)
    words = [tokenizer.decode(ids).split() for ids in encoded["input_ids"]]
    assert words[0] == ["[CLS]", "glad", "film", "[SEP]", "end", "[SEP]"]
    assert words[1][:4] == ["[CLS]", "glad", "film", "[SEP]"]
    assert words[1][4:11] == ["good"] * 7
    assert encoded["length"][:] == [6, 12]


def test_truncation_is_the_share_of_longer_rows(teacher: CompressedModel) -> None:
    assert pairs("end", "good " * 50, "end", "end").truncated(teacher.tokenizer) == 0.25
    # With its two ends the first text is as long as the limit, the second one longer by one.
    rows = pd.DataFrame({"text": ["good " * 6, "good " * 7], "label": [0, 0]})
    assert TextSplit("x", rows, 8).truncated(teacher.tokenizer) == 0.5


def test_extended_pairs_stay_pairs() -> None:
    more = pairs("a", "b").extended("y", (list("cdef"), list("ghij")))
    assert more.columns == [["glad film"] * 2 + list("cdef"), list("abghij")]
    assert more.labels.tolist() == pairs("a", "b").labels.tolist() * 3


def test_texts_without_labels_are_extended_and_encoded_as_others(teacher: CompressedModel) -> None:
    bare = TextSplit("x", pd.DataFrame({"text": ["glad film", "sad end"]}), 12)
    with pytest.raises(AssertionError, match="the rows of x have no labels"):
        bare.labels  # noqa: B018
    assert bare.extended("y", [["a", "b"]]).columns == [["glad film", "sad end", "a", "b"]]
    assert len(bare) == len(bare.encode(teacher.tokenizer)) == 2
    labeled = TextSplit("x", pd.DataFrame({"text": ["glad film", "sad end"], "label": [0, 1]}), 12)
    assert bare.digest != labeled.digest


def test_rows_encoded_in_chunks_are_the_same(
    teacher: CompressedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = pairs("end", "good " * 50, "a", "b", "c")
    whole = split.encode(teacher.tokenizer).to_dict()
    monkeypatch.setattr("compress.task.components.text.CHUNK", 2)
    assert split.encode(teacher.tokenizer).to_dict() == whole
