from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from compress.search.front import Found, Front
from compress.search.goals import parse_goals
from compress.search.ledger import Ledger
from tests.search.records import record_of


def front_of(metric: str, way: str) -> Front:
    goals = parse_goals({metric: way, "size_bytes": "minimize"}, {}, "validation")
    return Front(Mock(spec=Ledger), goals, Path("search"), "all")


def found_of(metric: str, baseline: float, *trials: tuple[float, int]) -> list[Found]:
    records = (
        record_of(accuracy=value, validation=value, size=size, metric=metric, baseline=baseline)
        for value, size in trials
    )
    return [Found(n, Path(str(n)), record) for n, record in enumerate(records)]


@pytest.mark.parametrize(
    ("metric", "way", "baseline", "values", "little", "more", "shown"),
    [
        ("accuracy", "maximize", 0.9, (0.895, 0.88, 0.8), "at most 1 % of accuracy lost",
         "at most 3 % of accuracy lost", "accuracy 0.8800, "),
        ("spearman", "maximize", 0.9, (0.895, 0.88, 0.8),
         "at most 0.01 of Spearman correlation lost", "at most 0.03 of Spearman correlation lost",
         "Spearman correlation 0.8800, "),
        ("perplexity", "minimize", 20.0, (20.1, 20.5, 30.0), "perplexity at most 1 % higher",
         "perplexity at most 3 % higher", "perplexity 20.500, "),
    ],
)  # fmt: skip
def test_trials_are_picked_within_budgets_of_the_score(
    metric: str, way: str, baseline: float, values: tuple[float, ...], little: str, more: str,
    shown: str,
) -> None:  # fmt: skip
    front = front_of(metric, way)
    found = found_of(metric, baseline, *zip(values, (90, 50, 10), strict=True))
    assert [each.number for each in front.best(found)] == [0, 1, 2]
    assert 0 < front.volume(found) < 1
    picks = {name: pick["smallest"].number for name, pick in front.picks(found).items()}
    assert picks == {little: 0, more: 1}
    lines = "\n".join(front.pick_lines(found))
    assert f"smallest, fastest, balanced: {more}" in lines
    assert shown in lines
    row = front._row(found[1])
    assert (row[metric], row[f"objective_{metric}"]) == (values[1], values[1])
    assert row["score_low"] < row[metric] < row["score_high"]


def test_without_a_trial_there_is_nothing_to_pick() -> None:
    front = front_of("accuracy", "maximize")
    assert front.picks([]) == {}
    assert list(front.pick_lines([])) == []
