from __future__ import annotations

import pandas as pd
import pytest

from compress.interfaces import CompressedModel
from compress.settings import UserError
from compress.task.text import TextSplit, check_rows, split_off, stratified_sample
from tests.conftest import make_split

ROWS = pd.DataFrame({"text": [f"text {i}" for i in range(100)], "label": [0] * 80 + [1] * 20})


def test_samples_keep_the_shares_and_repeat() -> None:
    sample = stratified_sample(ROWS, 10, seed=0)
    assert sample["label"].value_counts().to_dict() == {0: 8, 1: 2}
    assert sample.equals(stratified_sample(ROWS, 10, seed=0))
    assert not sample.equals(stratified_sample(ROWS, 10, seed=1))


@pytest.mark.parametrize("limit", [None, 100, 1000])
def test_no_limit_takes_all(limit: int | None) -> None:
    assert stratified_sample(ROWS, limit, seed=0) is ROWS


def test_a_limit_below_the_classes_is_refused() -> None:
    with pytest.raises(UserError, match="limit must be at least the 2 classes, got 1"):
        stratified_sample(ROWS, 1, seed=0)


def test_split_off_is_disjoint_and_whole() -> None:
    rest, part = split_off(ROWS, 0.25, seed=0)
    assert len(part) == 25
    assert sorted([*rest["text"], *part["text"]]) == sorted(ROWS["text"])


def test_digest_follows_content_and_length() -> None:
    assert make_split(4).digest == make_split(4, "another name").digest
    assert make_split(4).digest != make_split(6).digest
    rows = pd.DataFrame({"text": ["a", "b"], "label": [0, 1]})
    assert TextSplit("x", rows, 8).digest != TextSplit("x", rows, 9).digest
    other = pd.DataFrame({"text": ["a", "b"], "label": [1, 1]})
    assert TextSplit("x", rows, 8).digest != TextSplit("x", other, 8).digest


def test_encoding_cuts_and_tells_the_length(teacher: CompressedModel) -> None:
    rows = pd.DataFrame({"text": ["good " * 50, "good"], "label": [0, 1]})
    encoded = TextSplit("x", rows, 8).encode(teacher.tokenizer)
    assert encoded["length"][0] == len(encoded["input_ids"][0]) == 8
    assert encoded["length"][1] == len(encoded["input_ids"][1]) < 8


@pytest.mark.parametrize(
    ("text", "label", "reason"),
    [
        ("", "0", "row 2 has no text"),
        ("  ", "0", "row 2 has no text"),
        (None, "0", "row 2 has no text"),
        ("fine", "2", "row 2 has label '2', allowed: 0, 1"),
        ("fine", "", "row 2 has label '', allowed"),
    ],
)
def test_bad_rows_are_named(text: str | None, label: str, reason: str) -> None:
    rows = pd.DataFrame({"text": ["good", text], "label": ["0", label]})
    with pytest.raises(UserError, match=f"file: {reason}"):
        check_rows("file", rows, allowed=("0", "1"))
