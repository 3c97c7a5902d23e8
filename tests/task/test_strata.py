from __future__ import annotations

from collections import Counter

import pandas as pd
import pytest

from compress.task.components.sampling import hold_out, split_off, stratified_sample
from compress.task.components.strata import strata


def test_classes_are_their_own_groups() -> None:
    assert strata(pd.Series([2, 0, 2, 5]), least=3).tolist() == [2, 0, 2, 5]


@pytest.mark.parametrize(
    ("numbers", "least", "groups"),
    [
        ([5.0, 1.0, 4.0, 2.0, 3.0, 6.0], 2, [2, 0, 1, 0, 1, 2]),
        ([5.0, 1.0, 4.0, 2.0, 3.0, 6.0], 4, [0, 0, 0, 0, 0, 0]),
        # Equal numbers fill groups that are as large as each other.
        ([1.0, 1.0, 1.0, 1.0, 2.0, 1.0], 2, [0, 0, 1, 1, 2, 2]),
    ],
)
def test_numbers_are_grouped_by_size(numbers: list[float], least: int, groups: list[int]) -> None:
    assert strata(pd.Series(numbers), least).tolist() == groups


def test_there_are_at_most_ten_groups_of_numbers() -> None:
    assert Counter(strata(pd.Series(range(100), dtype="float32"), 2).tolist()) == dict.fromkeys(
        range(10), 10
    )


def labeled(*rows: str) -> pd.Series:
    return pd.Series([tuple(map(int, row)) for row in rows])


@pytest.mark.parametrize(
    ("rows", "least", "groups"),
    [
        ("10 01 10 01", 2, [0, 1, 0, 1]),
        # Rare sets go by the label that fewest rows have: c of the last three.
        ("100 100 010 010 101 011 001", 2, [0, 0, 1, 1, 2, 2, 2]),
        # What is alone even then, with a label or with none, is one group.
        ("100 100 010 000", 2, [0, 0, 1, 1]),
        # And part of the largest if it is too small by itself.
        ("100 100 100 010 010 001", 2, [0, 0, 0, 1, 1, 0]),
        ("10 01 11", 5, [0, 0, 0]),
    ],
)
def test_rows_of_several_labels_are_grouped_by_what_they_share(
    rows: str, least: int, groups: list[int]
) -> None:
    assert strata(labeled(*rows.split()), least).tolist() == groups


MANY = labeled(*(["100"] * 40 + ["110"] * 30 + ["000"] * 20 + ["001"] * 9 + ["111"]))


def test_parts_have_each_set_of_labels_in_its_share() -> None:
    rows = pd.DataFrame({"text": range(100), "label": MANY})
    rest, part = split_off(rows, 0.1, seed=0)
    counts = Counter(part["label"])
    assert (counts[1, 0, 0], counts[1, 1, 0], counts[0, 0, 0]) == (4, 3, 2)
    assert counts[0, 0, 1] + counts[1, 1, 1] == 1
    assert sorted([*rest["text"], *part["text"]]) == list(range(100))
    assert len(stratified_sample(rows, 99, seed=0)) == 99
    assert len(stratified_sample(rows, 1, seed=0)) == 1


def test_parts_have_numbers_of_every_size() -> None:
    rows = pd.DataFrame({"label": pd.Series(range(100), dtype="float32")})
    splits = hold_out("f", rows, {"evaluation": 0.2, "validation": 0.1}, (), seed=0)
    assert [len(splits[role]) for role in ("evaluation", "validation", "train")] == [20, 10, 70]
    tenths = Counter((splits["evaluation"]["label"] // 10).astype(int).tolist())
    assert tenths == dict.fromkeys(range(10), 2)
