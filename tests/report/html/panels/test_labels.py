from __future__ import annotations

from pathlib import Path

import pytest

from compress.report.html.panels.labels import run_label, run_sign, short
from tests.report.records import plain


@pytest.mark.parametrize(
    ("text", "most", "label"),
    [
        ("short", 8, "short"),
        ("a  b\nc", 8, "a b c"),
        ("abcdefghijkl", 10, "abcdef…jkl"),
        ("abcdefgh", 8, "abcdefgh"),
        ("abcdefghi", 8, "abcd…ghi"),
        ("$$x$$", 20, "$\u200b$x$\u200b$"),
        (r"\(x\) \[y\] \n", 30, "\\\u200b(x\\\u200b) \\\u200b[y\\\u200b] \\n"),
        ("", 8, ""),
    ],
)
def test_labels_are_one_line_that_fits_and_no_formula(text: str, most: int, label: str) -> None:
    assert short(text, most) == label
    assert len(short("x" * 500, most)) == most


def test_runs_are_named_as_in_the_plots() -> None:
    assert run_sign(Path("sweep/3")) == "#3"
    assert run_sign(Path("mine")) == "mine"
    assert run_label(Path("sweep/3"), plain()) == "#3 wanda sparsity=0.5"
