from __future__ import annotations

import pandas as pd
import pytest
import torch

from compress.config.errors import UserError
from compress.task.components.cleaning import (
    class_labels,
    cleaned,
    number_labels,
)
from compress.task.components.labels import Classes


def table(*rows: tuple[object, ...]) -> pd.DataFrame:
    columns = ["text", "second", "label"] if len(rows[0]) == 3 else ["text", "label"]
    index = range(1, len(rows) + 1)
    return pd.DataFrame(list(rows), columns=columns, index=index, dtype=object)


def test_pairs_are_equal_when_both_texts_are() -> None:
    rows = table(("a", "x", "1"), ("a", "y", "0"), ("a", "x", "0"), ("a", "x", "1"))
    found, words = cleaned("f", rows, ["duplicates"])
    assert found.index.tolist() == [1, 2]
    assert words == ", 1 texts under more than one label, 2 duplicate texts dropped"


def test_a_pair_lacks_a_text_if_one_is_empty() -> None:
    with pytest.raises(UserError, match="f: row 2 has an empty text"):
        cleaned("f", table(("a", "x", "1"), ("a", None, "0")), [])


@pytest.mark.parametrize("label", ["1", 0.5, (0, 1)])
def test_nan_is_missing_as_none_is(label: object) -> None:
    rows = table(("a", label), ("b", float("nan")), ("c", None), (float("nan"), label))
    found, words = cleaned("f", rows, ["empty", "unlabeled"])
    assert found.to_dict("list") == {"text": ["a"], "label": [label]}
    assert words == ", 1 rows with an empty text dropped, 2 rows with no label dropped"


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([" b ", True, None, " "], ["b", "true", None, None]),
        ([1.0, "02", float("nan")], ["1", "02", None]),
        ([1.5, "x"], ["1.5", "x"]),
    ],
)
def test_classes_have_names(labels: list[object], names: list[str | None]) -> None:
    assert class_labels("f", pd.Series(labels, dtype=object)) == names


def test_numbers_are_as_precise_as_float32() -> None:
    labels = pd.Series(["2.4", " -1e3 ", 7, 0.5, None, "", float("nan")], dtype=object)
    found = number_labels("f", labels)
    assert found == [pytest.approx(2.4), -1000.0, 7.0, 0.5, None, None, None]
    assert found[0] != 2.4
    assert found[0] == torch.tensor(2.4).item()


@pytest.mark.parametrize(
    "label", ["abc", "nan", "inf", "1e39", "1,5", "1_000", True, [1.0], 10**400]
)
def test_what_is_no_number_is_named(label: object) -> None:
    labels = pd.Series([1.0, label], index=[1, 2], name="stars", dtype=object)
    with pytest.raises(UserError, match=r"f: row 2 has stars '.*', expected a finite number"):
        number_labels("f", labels)


def test_indices_follow_the_classes() -> None:
    rows = table(("a", "10"), ("b", "9"))
    assert Classes(None).names("f", rows) == ("9", "10")
    assert Classes(None).encoded("f", rows, ("9", "10"))["label"].tolist() == [1, 0]
