from __future__ import annotations

import math
from dataclasses import replace

import pytest

from compress.search.goals import parse_goals
from compress.settings import ConfigError
from tests.search.records import record_of

OBJECTIVES = {"accuracy": "maximize", "size_bytes": "minimize", "speedup": "maximize"}


@pytest.mark.parametrize(
    ("text", "accuracy", "excess"),
    [
        # The baseline has 0.8 on the validation split.
        (">= 0.5 * baseline", 0.5, -0.25),
        (">= 0.5 * baseline", 0.3, 0.25),
        (">= baseline - 0.3", 0.4, 0.2),
        (">= baseline", 0.8, 0.0),
        (">= 0.4", 0.3, 0.25),
        ("<= .5e0", 1.0, 1.0),
    ],
)
def test_excess_is_a_share_of_the_bound(text: str, accuracy: float, excess: float) -> None:
    goals = parse_goals(OBJECTIVES, {"accuracy": text}, "validation")
    [found] = goals.excesses(record_of(validation=accuracy)).values()
    assert found == pytest.approx(excess)


def test_a_figure_that_was_not_measured_breaks_its_bound() -> None:
    goals = parse_goals(OBJECTIVES, {"resident_bytes": "<= 1e9"}, "validation")
    assert next(iter(goals.excesses(record_of()).values())) > 0


def test_quality_is_judged_on_the_split_that_was_asked_for() -> None:
    record = record_of(accuracy=0.9, validation=0.7)
    for split, expected in (("validation", 0.7), ("evaluation", 0.9)):
        assert parse_goals(OBJECTIVES, {}, split).values(record)[0] == expected


def test_front_is_over_the_objectives() -> None:
    goals = parse_goals(OBJECTIVES, {}, "validation")
    records = [
        record_of(validation=0.7, size=50, speedup=2.0),
        record_of(validation=0.6, size=50, speedup=2.0),
        record_of(validation=0.6, size=40, speedup=2.0),
    ]
    assert goals.front(records) == [True, False, True]


def test_volume_is_of_shares_saved() -> None:
    goals = parse_goals(OBJECTIVES, {}, "validation")
    # Half of the baseline's accuracy (0.4 of 0.8), 75 % of its bytes and half of its time saved.
    assert goals.volume([record_of(validation=0.4, size=25, speedup=2.0)]) == pytest.approx(
        0.5 * 0.75 * 0.5
    )
    assert goals.volume([record_of(validation=0.4, size=200, speedup=2.0)]) == 0
    assert goals.volume([]) == 0


def test_an_objective_that_was_not_measured_is_nan() -> None:
    goals = parse_goals({"resident_bytes": "minimize"}, {}, "evaluation")
    assert math.isnan(goals.values(record_of())[0])


@pytest.mark.parametrize(
    ("objectives", "constraints", "split", "words"),
    [
        ({}, {}, "validation", "must be a mapping"),
        (["accuracy"], {}, "validation", "must be a mapping"),
        ({"acc": "maximize"}, {}, "validation", "search.objectives must be among quality"),
        ({"accuracy": "up"}, {}, "validation", "one of maximize, minimize; got up"),
        (OBJECTIVES, {"acc": "> 1"}, "validation", "search.constraints must be among quality"),
        (OBJECTIVES, {"accuracy": "> 0.9"}, "validation", "got '> 0.9'"),
        (OBJECTIVES, {"accuracy": ">= 0.9 * basline"}, "validation", "basline"),
        (OBJECTIVES, {}, "test", "validation, evaluation; got test"),
    ],
)
def test_what_is_no_goal_is_refused(
    objectives: object, constraints: object, split: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_goals(objectives, constraints, split)


def test_the_baseline_is_no_better_than_itself() -> None:
    goals = parse_goals(OBJECTIVES, {"speedup": ">= 2 * baseline"}, "validation")
    assert goals.baseline(replace(record_of(speedup=5.0))) == {"speedup": 1.0}
