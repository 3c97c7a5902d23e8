from __future__ import annotations

import io

import pandas as pd
import pytest

from compress.records.csv_text import cell, csv_text

ACTIVE = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+cache.dir=x",
    "-m",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "-1+1",
    "-0.5.1",
    "\uff1d1+1",
    "'quoted'",
    "'=1",
]
PLAIN = ["", "wanda", "a=b", "-0.5", "+1", "-.5", "-1e-3", "1e5", "0.5", "a\n=b", " =1"]


@pytest.mark.parametrize("text", ACTIVE)
def test_what_would_be_calculated_is_text(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [*PLAIN, -0.5, -3, None, True, float("-inf")])
def test_anything_else_is_as_it_was(value: object) -> None:
    assert cell(value) is value


def test_a_table_comes_back() -> None:
    """Numbers as numbers, and every text as it was once the first apostrophe is gone."""
    texts = [*ACTIVE, *PLAIN[1:]]
    table = pd.DataFrame(
        {
            "number": pd.Series([-0.5, None, *range(len(texts) - 2)], dtype="Float64"),
            "whole": pd.Series([-3, None, *range(len(texts) - 2)], dtype="Int64"),
            "text": pd.Series(texts, dtype="string"),
            "=column": [None, *texts[1:]],
            "mixed": [-0.5, *texts[1:]],
        }
    )
    written = csv_text(table)
    read = pd.read_csv(
        io.StringIO(written, newline=""), dtype={"text": str, "mixed": str}, keep_default_na=False
    )
    assert list(read) == ["number", "whole", "text", "'=column", "mixed"]
    assert read["number"].tolist()[:2] == ["-0.5", ""]
    assert read["whole"].tolist()[:2] == ["-3", ""]
    assert [text.removeprefix("'") for text in read["text"]] == texts
    assert [text.removeprefix("'") for text in read["mixed"]] == ["-0.5", *texts[1:]]
    assert csv_text(table[["number", "whole"]]) == table[["number", "whole"]].to_csv(index=False)
