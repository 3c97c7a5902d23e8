"""Validation rows of tables that have phrases of their sentences as rows."""

from __future__ import annotations

import pandas as pd

from compress.task.components.phrases import split_off_sentences


def table(*texts: str) -> pd.DataFrame:
    return pd.DataFrame({"text": texts, "label": [number % 2 for number in range(len(texts))]})


def made_up(count: int) -> pd.DataFrame:
    """Sentences of four words: two phrases of each are its own, one has two sentences, one all."""
    texts = ["good"]
    for number in range(count):
        own, pair = f"a{number} b{number}", f"p{number // 2} good"
        texts += [f"{own} {pair}", own, f"a{number}"]
        texts += [pair] if number % 2 else []
    return table(*texts)


def test_held_out_rows_are_sentences_and_their_own_phrases_are_in_neither_part() -> None:
    rows = made_up(40)
    rest, part = split_off_sentences(rows, 8, seed=0)
    assert len(part) == 8
    assert {len(text.split()) for text in part["text"]} == {4}
    for sentence in part["text"]:
        first, second, pair, _ = sentence.split()
        assert not {sentence, first, f"{first} {second}"} & set(rest["text"])
        sibling = any(f"{pair} good" in text for text in rest["text"] if len(text.split()) == 4)
        assert (f"{pair} good" in set(rest["text"])) == sibling
    assert "good" in set(rest["text"])
    gone = set(rows["text"]) - set(rest["text"]) - set(part["text"])
    assert all(any(phrase in sentence for sentence in part["text"]) for phrase in gone)


def test_at_most_a_fifth_of_the_sentences_and_the_same_for_the_same_seed() -> None:
    rows = made_up(40)
    drawn = [set(split_off_sentences(rows, 872, seed)[1].index) for seed in (0, 0, 1)]
    assert len(drawn[0]) == 8
    assert drawn[0] == drawn[1] != drawn[2]


def test_words_are_compared_and_not_letters() -> None:
    rows = table("art of it", "art", "a", "of a kind", "kind", "an art", "other words", *"bcdefgh")
    rest, part = split_off_sentences(rows, 2, seed=0)
    left = {text for text in rows["text"] if text not in set(part["text"])}
    own = {"of a kind": {"kind", "a"}, "art of it": set(), "an art": set()}
    lost = set().union(*(own.get(text, set()) for text in part["text"]))
    if {"art of it", "an art"} <= set(part["text"]):
        lost.add("art")
    assert set(rest["text"]) == left - lost


def test_a_text_twice_is_not_in_both_parts() -> None:
    rows = pd.concat([made_up(20), made_up(20)], ignore_index=True)
    rest, part = split_off_sentences(rows, 5, seed=3)
    assert not set(rest["text"]) & set(part["text"])
