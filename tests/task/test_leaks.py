"""The same text in two splits, in whatever spelling; and what is not the same."""

from __future__ import annotations

import pandas as pd
import pytest

from compress.task.components.leaks import LEAST, HeldOut, keys, normalized, without_shared


def rows(*texts: str | tuple[str, str]) -> pd.DataFrame:
    """Rows of texts or pairs, all with one label."""
    names = ["text"] if isinstance(texts[0], str) else ["text", "second"]
    return pd.DataFrame(list(texts), columns=names).assign(label=0)


SAME = [
    ("It's great!", "it 's great !"),  # Penn Treebank tokens
    ("You can't, won't.", "you ca n't , wo n't ."),
    ("(a film)", "-LRB- a film -RRB-"),
    ("[a] {film}", "-lsb- a -rsb- -lcb- film -rcb-"),
    ('"Read my lips"', "`` read my lips ''"),
    ("“Read” my ‘lips’", "\"read\" my 'lips'"),
    ("self-absorbed", "self - absorbed"),
    ("and/or", "and \\/ or"),
    ("it's", "it&#8217;s"),
    ("it's", "it&#8217 ; s"),
    ("Tom & Jerry", "tom &amp;amp; jerry"),
    ("one. two", "one.<br /><br />two"),
    ("A FILM", "a\tfilm\u00a0"),
    ("clichés", "cliche\u0301s"),
    ("clichés", "CLICHES"),
    ("ﬁlm № 5", "film No 5"),
    ("Ｆｉｌｍ　１２", "film 12"),
    ("Straße", "STRASSE"),
    ("so\u00adft hy\u200bphen", "soft hyphen"),
    ("10,000 of 1.5", "10 , 000 of 1 . 5"),
    ("ভালো ছবি", "ভালো, ছবি!"),
    ("好电影。", "好 电影"),
    ("(:", "( :"),
    ("so ❤\ufe0f good", "so good"),  # with the selector that shows it as an emoji
    ("so ❤\ufe0f good", "so ❤ good"),
    ("❤\ufe0f", "❤"),
    ("good☹\ufe0e\ufe0f film", "good film"),
    ("1\ufe0f\u20e3 good", "1 good"),  # a key's cap around a digit
    ("12\u200b34", "1234"),
    ("👩\u200d🚀 good", "good"),
    ("a ◌\u0941 b", "a b"),  # a vowel sign on no letter
]
OTHER = [
    ("a good film", "not a good film"),
    ("a good film", "a good films"),
    ("it is 1.5", "it is 15"),
    ("a film of 12", "a film of 1 2"),
    ("part 2", "part 3"),
    ("কি", "কা"),  # these differ in a vowel sign alone
    ("か", "が"),
    ("ы", "и"),
    (":)", ":("),
    ("👍", "👎"),
    ("❤\ufe0f", "☹\ufe0f"),
    ("✔\ufe0f", "✖\ufe0f"),
    ("1\ufe0f\u20e3", "2\ufe0f\u20e3"),
    ("🏴\U000e0067\U000e0062\U000e007f", "🏴\U000e0067\U000e0063\U000e007f"),  # flags
    ("a < b and c > d", "a d"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_text(one: str, other: str) -> None:
    assert normalized(one) == normalized(other) != ""


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_other_texts(one: str, other: str) -> None:
    assert normalized(one) != normalized(other)


def test_a_pair_is_one_in_either_order_and_both_its_texts() -> None:
    first, swapped, half, joined = keys(rows(("A.", "b"), ("B", "a"), ("a", "c"), ("ab", "")))
    assert first == swapped == ("a", "b")
    assert first not in (half, joined)


def test_shared_texts_stay_in_the_first_split() -> None:
    splits = {
        "evaluation": rows("a", "a."),
        "validation": rows("b", "A", "e"),
        "train": rows("c", "B", "'a'", "c", "e"),
    }
    kept, words = without_shared(splits)
    assert {role: table["text"].tolist() for role, table in kept.items()} == {
        "evaluation": ["a", "a."], "validation": ["b", "e"], "train": ["c", "c"],
    }  # fmt: skip
    assert words == (
        "; 1 row dropped from validation whose texts are in evaluation"
        "; 3 rows dropped from train whose texts are in validation and evaluation"
    )


ROW = "the second of two sentences is this one here ."
INSIDE = "a first one . the second of two sentences is this one here . and more"
SHORT = "is this one here"


@pytest.mark.parametrize(
    ("held", "text", "leaks"),
    [
        (ROW, "The second of two sentences is this one here!", True),
        (ROW, INSIDE, True),  # the row is in the text
        (INSIDE, ROW, True),  # the text is in the row
        (ROW, "the second of two sentences is this one", True),
        (ROW, "the second of two sentences is that one here", False),
        (ROW, SHORT, False),  # too short to be no coincidence
        (SHORT, ROW, False),
        (SHORT, "Is this one here?", True),
    ],
)
def test_what_leaks_a_row(held: str, text: str, leaks: bool) -> None:
    found = HeldOut({"evaluation": rows("another", held)}).split_of((normalized(text),))
    assert found == ("evaluation" if leaks else None)


@pytest.mark.parametrize("length", range(LEAST - 1, LEAST + 3))
@pytest.mark.parametrize("start", range(40))
def test_a_part_of_a_row_is_found_wherever_it_begins(start: int, length: int) -> None:
    """Letters that repeat only after 26 · 27 of them."""
    letters = "".join(f"{chr(97 + a)}{chr(97 + (a + b) % 26)}" for b in range(5) for a in range(26))
    held = HeldOut({"validation": rows(letters), "evaluation": rows("x" * 40)})
    part = letters[start : start + length]
    assert held.split_of((part,)) == ("validation" if length >= LEAST else None)
    inside = HeldOut({"validation": rows(part)})
    assert inside.split_of((letters,)) == ("validation" if length >= LEAST else None)


def test_a_row_of_two_splits_counts_for_the_first() -> None:
    held = HeldOut({"evaluation": rows("a"), "validation": rows("A", "b")})
    assert [held.split_of((text,)) for text in "abc"] == ["evaluation", "validation", None]


def test_pairs_leak_equal_pairs_alone() -> None:
    held = HeldOut({"evaluation": rows((ROW, INSIDE))})
    found = keys(rows((INSIDE.upper(), ROW), (ROW, ROW), (f"{ROW} a", INSIDE)))
    assert [held.split_of(key) for key in found] == ["evaluation", None, None]
