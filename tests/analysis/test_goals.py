from __future__ import annotations

import math
from dataclasses import replace

import pytest

from compress.analysis.goals import parse_goals
from compress.config.errors import ConfigError
from compress.records.schema import Comparison
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


@pytest.mark.parametrize(
    ("text", "accuracy", "said"),
    [
        (
            ">= baseline - 0.3", 0.4,
            "accuracy 0.4 is below 0.5 (>= baseline - 0.3, which has 0.8) on the validation rows",
        ),
        (
            ">= 0.5*baseline", 0.3,
            "accuracy 0.3 is below 0.4 (>= 0.5 * baseline, which has 0.8) on the validation rows",
        ),
        ("<= .5e0", 0.75, "accuracy 0.75 is above 0.5 on the validation rows"),
    ],
)  # fmt: skip
def test_a_broken_bound_is_said_in_figures(text: str, accuracy: float, said: str) -> None:
    goals = parse_goals(OBJECTIVES, {"accuracy": text}, "validation")
    assert list(goals.broken(record_of(validation=accuracy))) == [said]
    met = 0.1 if text[0] == "<" else 0.8
    assert list(goals.broken(record_of(validation=met))) == []


def test_a_figure_that_was_not_measured_is_nan_and_breaks_its_bound() -> None:
    goals = parse_goals({"resident_bytes": "minimize"}, {"resident_bytes": "<= 1e9"}, "validation")
    assert math.isnan(goals.values(record_of())[0])
    assert next(iter(goals.excesses(record_of()).values())) > 0


def test_quality_is_evaluated_on_the_split_that_was_asked_for() -> None:
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
        (
            OBJECTIVES,
            {"quality": ">= 0.95 * baseline"},
            "validation",
            r"there are no shares; got '>= 0.95 \* baseline'",
        ),
    ],
)
def test_what_is_no_goal_is_refused(
    objectives: object, constraints: object, split: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_goals(objectives, constraints, split)


def test_null_switches_a_constraint_off() -> None:
    found = parse_goals(OBJECTIVES, {"accuracy": None, "size_bytes": "<= 10e6"}, "validation")
    assert [each.metric for each in found.constraints] == ["size_bytes"]


def test_the_baseline_is_no_better_than_itself() -> None:
    goals = parse_goals(OBJECTIVES, {"speedup": ">= 2 * baseline"}, "validation")
    assert goals.baseline(replace(record_of(speedup=5.0))) == {"speedup": 1.0}


@pytest.mark.parametrize(
    ("metric", "objective", "way", "best"),
    [
        ("perplexity", "perplexity", "minimize", 20.0),
        ("perplexity", "quality", "maximize", 20.0),
        ("spearman", "spearman", "maximize", 40.0),
        ("spearman", "quality", "maximize", 40.0),
    ],
)
def test_other_scores_have_their_directions(
    metric: str, objective: str, way: str, best: float
) -> None:
    goals = parse_goals({objective: way}, {}, "validation")
    records = [record_of(validation=each, metric=metric) for each in (20.0, 40.0)]
    assert goals.front(records) == [best == 20.0, best == 40.0]


@pytest.mark.parametrize(
    ("metric", "objectives", "ours", "share"),
    [
        ("perplexity", {"perplexity": "minimize"}, 25.0, 0.8),
        ("perplexity", {"perplexity": "minimize"}, 10.0, 2.0),
        ("perplexity", {"quality": "maximize"}, 25.0, 0.8),  # not the ratio of two logarithms
        ("spearman", {"spearman": "maximize"}, 10.0, 0.5),
        ("accuracy", {"quality": "maximize"}, 10.0, 0.5),
        ("spearman", {"spearman": "maximize"}, -1.0, 0.0),
    ],
)
def test_what_is_kept_of_a_score_is_a_share_of_the_baselines(
    metric: str, objectives: dict[str, str], ours: float, share: float
) -> None:
    record = record_of(validation=ours, metric=metric, baseline=20.0)
    assert parse_goals(objectives, {}, "validation").shares(record) == pytest.approx([share])


@pytest.mark.parametrize("ours", [-0.2, 0.0, 0.3])
def test_a_baseline_without_any_correlation_leaves_a_volume(ours: float) -> None:
    record = record_of(validation=ours, metric="mcc", baseline=0.0)
    goals = parse_goals({"mcc": "maximize"}, {}, "validation")
    assert goals.volume([record]) == max(0.0, ours)


@pytest.mark.parametrize(
    ("metric", "text", "ours", "meets"),
    [
        # A quality is a logarithm, and its bound a difference.
        ("quality", ">= baseline - 0.05", 20.9, True),  # log(20.9 / 20) = 0.044
        ("quality", ">= baseline - 0.05", 21.1, False),
        ("quality", ">= -3", 20.0, True),  # log(20) = 2.996
        ("quality", ">= -3", 20.2, False),
        # That of a perplexity is one from above.
        ("perplexity", "<= 1.05 * baseline", 20.9, True),
        ("perplexity", "<= 1.05 * baseline", 21.1, False),
    ],
)
def test_bounds_of_a_perplexity_of_20(metric: str, text: str, ours: float, meets: bool) -> None:
    goals = parse_goals({"quality": "maximize"}, {metric: text}, "validation")
    record = record_of(validation=ours, metric="perplexity", baseline=20.0)
    [excess] = goals.excesses(record).values()
    assert (excess <= 0) == meets


def test_predictions_are_compared_on_the_rows_that_are_evaluated() -> None:
    record = replace(
        record_of(),
        comparison=Comparison(0.9, 1, 1, 1.0),
        validation_comparison=Comparison(0.7, 1, 1, 1.0),
    )
    for split, expected in (("validation", 0.7), ("evaluation", 0.9)):
        goals = parse_goals({"agreement": "maximize"}, {"agreement": ">= 0.5 * baseline"}, split)
        assert goals.values(record) == [expected]
        assert goals.baseline(record) == {"agreement": 1.0}
    nothing = replace(record, comparison=Comparison(None, None, None, 1.0))
    agreement = parse_goals({"agreement": "maximize"}, {"agreement": ">= 0.5"}, "evaluation")
    assert math.isnan(agreement.baseline(nothing)["agreement"])
