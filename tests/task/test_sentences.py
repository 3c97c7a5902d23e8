from __future__ import annotations

import pytest

from compress.task.components.sentences import sentences


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two!  Three? four", ["One.", "Two!", "Three? four"]),
        ('He said "No." Then he left...', ['He said "No."', "Then he left..."]),
        ("What?! (Really.) 10 of them.", ["What?!", "(Really.)", "10 of them."]),
        ("Mr. Jackson and Samuel L. Jackson vs. Dr. No. End.",
         ["Mr. Jackson and Samuel L. Jackson vs. Dr. No. End."]),
        ("At 1.5 a.m. it began. It ended.", ["At 1.5 a.m. it began.", "It ended."]),
        ("one <br /><br />two<br>three\nfour", ["one", "two", "three", "four"]),
        ("wait... what", ["wait... what"]),
        (" \n ", []),
        ("tabs\tand   spaces", ["tabs and spaces"]),
    ],
)  # fmt: skip
def test_by_hand(text: str, found: list[str]) -> None:
    assert sentences(text) == found
