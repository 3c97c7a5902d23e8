from __future__ import annotations

import pytest

from compress.analysis.effects import Settings, change, effects

Row = tuple[str, str, str, int, float]  # key, level, reference, pairs, mean change


def grid(*runs: tuple[str, float]) -> tuple[list[Settings], list[float]]:
    """Runs as "pruner=wanda quantizer=none" and their figures."""
    settings = [dict(word.split("=") for word in words.split()) for words, _ in runs]
    return settings, [figure for _, figure in runs]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param(
            [
                ("p=none q=none", 0.9),
                ("p=wanda q=none", 0.8),
                ("p=none q=int8", 0.88),
                ("p=wanda q=int8", 0.76),
            ],
            [("p", "wanda", "none", 2, -0.11), ("q", "int8", "none", 2, -0.03)],
            id="a grid has a pair for each level of the others",
        ),
        pytest.param(
            [("p=a q=1", 1.0), ("p=b q=2", 5.0), ("p=c q=3", 9.0)],
            [],
            id="runs that differ twice are no pair",
        ),
        pytest.param(
            [
                ("k=2 s=0", 1.0),
                ("k=10 s=0", 2.0),
                ("k=2 s=1", 3.0),
                ("k=10 s=1", 6.0),
                ("k=2 s=2", 0.0),
            ],
            [("k", "10", "2", 2, 2.0)],
            id="the most frequent level is the reference, seeds are matched but no effect",
        ),
        pytest.param(
            [("k=10 s=0", 1.0), ("k=9 s=0", 2.0)],
            [("k", "10", "9", 1, -1.0)],
            id="of equally frequent numbers the smallest",
        ),
        pytest.param(
            [("p=none", 0.9), ("p=wanda p.x=0.3", 0.8), ("p=wanda p.x=0.5", 0.7)],
            [("p", "wanda", "none", 1, -0.15), ("p.x", "0.5", "0.3", 1, -0.1)],
            id="over a setting that one choice lacks the other is averaged: one pair, not two",
        ),
        pytest.param(
            [("p=a p.x=1", 1.0), ("p=b p.x=2", 5.0)],
            [],
            id="a setting that both choices have must be equal",
        ),
        pytest.param(
            [("p=a p.x=1", 1.0), ("p=b p.x=1", 5.0), ("p=b p.x=2", 100.0)],
            [("p", "a", "b", 1, -4.0), ("p.x", "2", "1", 1, 95.0)],
            id="and only the equal ones are pairs",
        ),
        pytest.param(
            [("p=a q=1", 1.0), ("p=a q=1", 2.0), ("p=b q=1", 5.0)],
            [("p", "b", "a", 1, 3.5)],
            id="runs with the same settings are averaged",
        ),
        pytest.param(
            [("p=a q=x q.y=1", 1.0), ("p=b q=z", 5.0)],
            [],
            id="what another group lacks is a difference",
        ),
        pytest.param([("p=a", 1.0), ("p=a", 2.0)], [], id="one level has no effect"),
        pytest.param([], [], id="no runs"),
    ],
)
def test_pairs_are_equal_in_everything_else(
    runs: list[tuple[str, float]], expected: list[Row]
) -> None:
    settings, figures = grid(*runs)
    found = effects(settings, {"figure": figures}, ["s"])
    rows = [(e.key, e.level, e.reference, e.pairs, e.changes["figure"].mean) for e in found]
    assert rows == [(*row[:4], pytest.approx(row[4])) for row in expected]


def test_every_outcome_is_paired_alike() -> None:
    settings, accuracy = grid(("p=none", 0.9), ("p=wanda", 0.7))
    [found] = effects(settings, {"accuracy": accuracy, "size": [5.0, 2.0]}, [])
    assert {k: round(c.mean, 6) for k, c in found.changes.items()} == {"accuracy": -0.2, "size": -3}


def test_settings_come_behind_their_group_and_numbers_in_their_order() -> None:
    settings, figures = grid(
        ("p=a q=1 p.x=2", 0.0),
        ("p=a q=1 p.x=10", 0.0),
        ("p=a q=1 p.x=9", 0.0),
        ("p=b q=1 p.x=2", 0.0),
        ("p=a q=2 p.x=2", 0.0),
    )
    found = effects(settings, {"figure": figures}, [])
    assert [(e.key, e.level) for e in found] == [
        ("p", "b"),
        ("p.x", "9"),
        ("p.x", "10"),
        ("q", "2"),
    ]


@pytest.mark.parametrize(
    ("differences", "mean", "low", "high"),
    [
        ([0.5], 0.5, None, None),
        ([1.0, 3.0], 2.0, 2 - 12.7062047, 2 + 12.7062047),  # t = 12.706, spread √2 / √2
        ([1.0, 2.0, 3.0], 2.0, 2 - 2.4841377, 2 + 2.4841377),  # t = 4.3027, spread 1 / √3
        ([2.0, 2.0, 2.0], 2.0, 2.0, 2.0),
    ],
)
def test_students_interval(
    differences: list[float], mean: float, low: float | None, high: float | None
) -> None:
    found = change(differences)
    assert found.mean == pytest.approx(mean)
    assert found.low == (None if low is None else pytest.approx(low))
    assert found.high == (None if high is None else pytest.approx(high))
