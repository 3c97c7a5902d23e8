"""What an experiment's yaml may say, and how a row meets the command line."""

from __future__ import annotations

import math
from typing import Any

import pytest

from compress.config.errors import ConfigError
from compress.experiment.definition import check_row, figure, joined, parse_experiment, points
from compress.records.schema import Comparison
from tests.records.test_schema import make_record

SETTINGS: dict[str, Any] = {
    "name": "mine",
    "source": "a paper",
    "metric": "accuracy",
    "row": None,
    "options": {},
    "rows": {"plain": [], "small": [["student=layers", "student.keep=2"], "student.keep=3"]},
    "cross": None,
    "published": {"small": {"accuracy": {"rte": 0.7}, "saved": 0.5}},
    "goals": {"small": {"size_bytes": "<= 0.5 * baseline"}},
}


def test_lists_in_a_row_are_spliced_and_the_last_word_counts() -> None:
    row = parse_experiment(SETTINGS).rows["small"]
    assert row.overrides == ("student=layers", "student.keep=3")
    assert str(row.goals[0]) == "<= 0.5 * baseline"
    assert [row.published_on("accuracy", task) for task in ("rte", "sst2")] == [0.7, None]
    assert row.published_on("saved", "sst2") == 0.5
    assert row.published_on("speedup", "rte") is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), ["student=layers", "student.keep=3"]),
        (("seed=1",), ["student=layers", "student.keep=3", "seed=1"]),
        (("student.keep=1",), ["student=layers", "student.keep=1"]),
        (("student=none",), ["student=none"]),
        (("++student.keep=1",), ["student=layers", "++student.keep=1"]),
        (
            ("+pruner@student.x=wanda",),
            ["student=layers", "student.keep=3", "+pruner@student.x=wanda"],
        ),
    ],
)
def test_what_is_given_has_the_last_word(given: tuple[str, ...], expected: list[str]) -> None:
    assert joined(["student=layers", "student.keep=3"], given) == expected


def test_points_are_every_combination() -> None:
    assert points([]) == [()]
    assert points(["task=a,b", "seed=range(2)", "x=choice([1,2])"]) == [
        ("task=a", "seed=0", "x=[1,2]"),
        ("task=a", "seed=1", "x=[1,2]"),
        ("task=b", "seed=0", "x=[1,2]"),
        ("task=b", "seed=1", "x=[1,2]"),
    ]
    assert points(["seed=3"]) == [("seed=3",)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": {}}, "experiment.rows must be a mapping"),
        ({"rows": {"a b": []}, "published": {}, "goals": {}}, "'a b' is not a valid row name"),
        ({"rows": {"plain": "seed=1", "small": []}}, "rows.plain must be a list of overrides"),
        ({"rows": {"plain": ["x=("], "small": []}}, "rows.plain: 'x=(' is not an override"),
        ({"metric": "beauty"}, "experiment.metric must be among"),
        ({"published": {"large": {}}}, "published has large; the rows are plain, small"),
        ({"published": {"small": {"beauty": 1}}}, "published.small must be among"),
        ({"published": {"small": {"saved": "much"}}}, "saved must be a number, or one for each"),
        ({"goals": {"small": {"accuracy": "high"}}}, "goals.small.accuracy must be such as"),
        ({"goals": {"small": {"beauty": "<= 1"}}}, "goals.small must be among"),
        ({"goal": {}}, "experiment must have"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_experiment({**SETTINGS, **changes})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("row", "overrides", "refused"),
    [
        (None, (), "is 2 runs (plain, small), started by python run.py -m +experiment=mine"),
        (None, ("student=layers", "student.keep=3"), "is 2 runs"),
        ("small", (), "started by python run.py -m +experiment=mine experiment.row=small"),
        ("small", ("student.keep=3",), "is 2 runs"),
        ("large", (), "experiment.row must be among plain, small; got large"),
        ("plain", (), None),
        ("small", ("student=layers", "student.keep=3"), None),
        ("small", ("student=none",), None),
    ],
)
def test_a_run_is_one_of_the_rows(
    row: str | None, overrides: tuple[str, ...], refused: str | None
) -> None:
    settings = {**SETTINGS, "row": row}
    if refused is None:
        check_row(settings, overrides)
        return
    with pytest.raises(ConfigError) as caught:
        check_row(settings, overrides)
    assert refused in str(caught.value)


def test_figures_by_name() -> None:
    record = make_record(0.9, 500)  # of a baseline of 2000 bytes
    assert figure(record, "saved") == 0.75
    assert figure(record, "accuracy") == 0.9
    assert math.isnan(
        figure(make_record(comparison=Comparison(None, None, None, 1.0)), "agreement")
    )
