"""Finalists among candidates, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compress.frontier.choose import Candidate, choose


def made(
    name: str,
    quality: float,
    *,
    margin: float | None = None,
    fast: float = 2.0,
    small: float = 2.0,
    layers: int = 2,
    at_best: float | None = None,
) -> Candidate:
    """A candidate of the sub-net before the slash, in the format behind it."""
    net = name.partition("/")[0]
    costs = (fast,), small, 1e6 / small
    return Candidate({"name": name}, net, quality, *costs, margin, layers, at_best)


def test_the_quality_of_a_language_model_counts_too() -> None:
    """It is below 0: the better of two that cost the same comes first."""
    found = choose([made("a", -4.0), made("b", -3.0), made("c", -3.5, fast=1.5)], 3)
    assert names(found)[0] == "b"


def names(found: list[Candidate]) -> list[str]:
    return [str(each.point["name"]) for each in found]


# Two formats of net a: the one with more margin stands for it.
MEETING = [
    made("a/int8", 0.80, margin=1.1),
    made("a/int4", 0.80, margin=1.2),
    made("b/int8", 0.85, margin=1.0),
    made("c/int8", 0.90, margin=0.9),
    made("d/int8", 0.95, margin=0.79),
    made("e/int8", 0.70, margin=2.0),
]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, ["b/int8"]),
        (2, ["b/int8", "a/int4"]),
        # From three on one may miss the targets by a fifth, if it is better than all that do not.
        (3, ["b/int8", "a/int4", "c/int8"]),
        (6, ["b/int8", "a/int4", "e/int8", "c/int8"]),
    ],
)
def test_with_targets_the_best_that_meet_them(count: int, expected: list[str]) -> None:
    assert names(choose(MEETING, count)) == expected


def test_the_best_of_each_depth_comes_before_the_second_of_any() -> None:
    """As on SST-2: the super-net ranks the three-layer net last, and it was the best by itself."""
    every = [
        made("2x384", 0.9381, margin=1.02),
        made("2x384 of 8 heads", 0.9369, margin=1.17),
        made("3x256", 0.9266, margin=1.03, layers=3),
    ]
    assert names(choose(every, 2)) == ["2x384", "3x256"]
    assert names(choose(every, 3)) == ["2x384", "3x256", "2x384 of 8 heads"]


def test_what_meets_the_targets_within_the_error_comes_after_what_does() -> None:
    """The closest one first: that it meets them is likelier."""
    every = [
        made("a", 0.90, margin=1.2),
        made("b", 0.85, margin=1.1),
        made("c", 0.80, margin=0.97, at_best=1.02, layers=3),
        made("d", 0.82, margin=0.95, at_best=1.00, layers=3),
        made("e", 0.83, margin=0.96, at_best=0.99, layers=4),
    ]
    assert names(choose(every, 2)) == ["a", "c"]
    assert names(choose(every, 9)) == ["a", "c", "b", "d"]
    assert names(choose(every[2:], 1)) == ["c"]
    # In the format in which it may meet them, though it has more of a margin in another.
    both = [made("f/int4", 0.8, margin=0.94, at_best=0.98), made("f/int8", 0.8, margin=0.91)]
    assert names(choose([*every[:2], both[0], replace(both[1], at_best=1.01, layers=3)], 2)) == [
        "a", "f/int8"
    ]  # fmt: skip


def test_where_none_meets_the_targets_the_closest() -> None:
    far = [made("a", 0.9, margin=0.3), made("b", 0.8, margin=0.5), made("c", 0.7, margin=0.4)]
    assert names(choose(far, 2)) == ["b", "c"]


def test_without_targets_what_adds_most_to_the_volume() -> None:
    # Shares: quality, time saved, bytes saved. Volumes: a 0.9 · 0.5 · 0.5 = 0.225, b 0.8 · 0.9 ·
    # 0.9 = 0.648, c 0.79 · 0.89 · 0.89 lies inside of b, d 0.85 · 0.8 · 0.8 = 0.544.
    every = [
        made("a", 0.9, fast=2, small=2),
        made("b", 0.8, fast=10, small=10),
        made("c", 0.79, fast=1 / 0.11, small=1 / 0.11),
        made("d", 0.85, fast=5, small=5),
    ]
    assert names(choose(every, 2)) == ["b", "d"]
    assert set(names(choose(every, 3))) == {"a", "b", "d"}
    assert len(choose(every, 9)) == 4
