from __future__ import annotations

import pandas as pd
import pytest

from compress.config.errors import UserError
from compress.task.components.sampling import split_off, stratified_sample

ROWS = pd.DataFrame({"text": [f"text {i}" for i in range(100)], "label": [0] * 80 + [1] * 20})


def test_samples_keep_the_shares_and_repeat() -> None:
    sample = stratified_sample(ROWS, 10, seed=0)
    assert sample["label"].value_counts().to_dict() == {0: 8, 1: 2}
    assert sample.equals(stratified_sample(ROWS, 10, seed=0))
    assert not sample.equals(stratified_sample(ROWS, 10, seed=1))


def test_a_sample_of_nearly_all_rows_needs_no_stratification() -> None:
    assert len(stratified_sample(ROWS, 99, seed=0)) == 99


@pytest.mark.parametrize("limit", [None, 100, 1000])
def test_no_limit_takes_all(limit: int | None) -> None:
    assert stratified_sample(ROWS, limit, seed=0) is ROWS


def test_a_limit_below_the_classes_is_refused() -> None:
    with pytest.raises(UserError, match="limit must be at least the 2 classes, got 1"):
        stratified_sample(ROWS, 1, seed=0)


def test_too_few_rows_to_split_are_refused_in_one_line() -> None:
    rows = pd.DataFrame({"label": [0, 0, 0, 1]})
    with pytest.raises(UserError, match=r"4 rows cannot be split: .*least populated class"):
        split_off(rows, 2, seed=0)
