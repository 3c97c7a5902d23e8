from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compress.analysis.pareto import Direction
from compress.records.schema import FinishedRun, Speedup
from compress.report.points import (
    AS_GOOD,
    BEATEN,
    FRONT,
    Figure,
    alike,
    latency_figure,
    places,
    run_name,
    score_figure,
    shape_name,
    shapes_of,
    size_figure,
    speedup_at,
    teacher_ms,
)
from tests.records.test_schema import judged_by, make_record

NAN = float("nan")


def at_shapes(*shapes: tuple[int, int], ms: float = 5.0, teacher: float = 10.0) -> FinishedRun:
    """A run timed at these shapes, twice as long at each next one."""
    base = make_record()
    (ours,), (theirs,) = base.metrics.latency, base.baseline.latency
    times = [(2.0**i, *shape) for i, shape in enumerate(shapes)]
    return replace(
        base,
        metrics=replace(base.metrics, latency=tuple(
            replace(ours, batch=b, length=n, median_ms=ms * k) for k, b, n in times)),
        baseline=replace(base.baseline, latency=tuple(
            replace(theirs, batch=b, length=n, median_ms=teacher * k) for k, b, n in times)),
        speedup=tuple(Speedup(b, n, teacher / ms, teacher / ms - 0.5, teacher / ms + 0.5)
                      for _, b, n in times),
    )  # fmt: skip


def test_shapes_come_by_how_many_runs_were_timed_at_them() -> None:
    records = [at_shapes((1, 8)), at_shapes((1, 32), (1, 8)), at_shapes((1, 32), (4, 16), (1, 8))]
    assert shapes_of(records) == ((1, 8), (1, 32), (4, 16))
    assert shapes_of([at_shapes((1, 32), (1, 8))]) == ((1, 32), (1, 8))


def test_latency_is_the_teachers_median_over_all_runs_divided_by_the_runs_own_ratio() -> None:
    records = [
        at_shapes((1, 32), ms=5.0, teacher=10.0),
        at_shapes((1, 32), (1, 8), ms=8.0, teacher=16.0),
        at_shapes((1, 32), ms=3.0, teacher=12.0),
    ]
    assert teacher_ms(records, (1, 32)) == 12.0
    found = latency_figure(records, (1, 32))
    assert found.values.tolist() == [6.0, 6.0, 3.0]
    assert found.low.tolist() == pytest.approx([12 / 2.5, 12 / 2.5, 12 / 4.5])
    assert found.high.tolist() == pytest.approx([12 / 1.5, 12 / 1.5, 12 / 3.5])
    other = latency_figure(records, (1, 8)).values
    assert np.isnan(other).tolist() == [True, False, True]
    assert other[1] == 16.0
    assert speedup_at(records[0], (1, 8)) is None


def figure(better: Direction, values: Sequence[float], half: float) -> Figure:
    middle = np.array(values)
    return Figure(better, middle, middle - half, middle + half)


@pytest.mark.parametrize(
    ("accuracy", "cost", "expected"),
    [
        ([0.9], [5], [FRONT]),
        # Each better in one figure.
        ([0.9, 0.8], [9, 5], [FRONT, FRONT]),
        # Beaten in both, and beyond its intervals in both, in one, in none.
        ([0.9, 0.8], [5, 9], [FRONT, BEATEN]),
        ([0.9, 0.89], [5, 9], [FRONT, BEATEN]),
        ([0.9, 0.8], [5, 5.5], [FRONT, BEATEN]),
        ([0.9, 0.89], [5, 5.5], [FRONT, AS_GOOD]),
        # Intervals that touch overlap.
        ([0.5, 0.25], [5, 7], [FRONT, BEATEN]),
        ([0.5, 0.5], [5, 7], [FRONT, AS_GOOD]),
        # Near one point of the front in accuracy and near another one in cost: beaten.
        ([0.9, 0.6, 0.59], [9, 2, 8.9], [FRONT, FRONT, BEATEN]),
        # Equal points are on the front together.
        ([0.9, 0.9], [5, 5], [FRONT, FRONT]),
        # What lacks a figure neither beats nor is drawn.
        ([0.9, 0.99], [5, NAN], [FRONT, BEATEN]),
        ([0.9], [NAN], [BEATEN]),
    ],
)
def test_places(accuracy: list[float], cost: list[float], expected: list[str]) -> None:
    assert places([figure("higher", accuracy, 0.02), figure("lower", cost, 1.0)]) == expected


@pytest.mark.parametrize(("size", "same"), [(1009, True), (1010, True), (1011, False)])
def test_sizes_within_a_hundredth_are_alike(size: int, same: bool) -> None:
    for sizes in ((1000, size), (size, 1000)):
        records = [make_record(0.9, each) for each in sizes]
        found = alike([size_figure(records)], np.array([True, False]))
        assert found.tolist() == [True, same]


@pytest.mark.parametrize(
    ("folder", "root", "name"),
    [
        ("a/b/10", "a/b", "10"),
        ("a/b/10", "a", "b/10"),
        ("a/b/10", "c", "a/b/10"),
        ("a/b/10", "a/b/10", "10"),  # one run alone
    ],
)
def test_run_names(folder: str, root: str, name: str) -> None:
    assert run_name(Path(folder), Path(root)) == name


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        ("spearman", (0.9, 0.5, 0.4), [FRONT, FRONT, BEATEN]),
        ("perplexity", (20.0, 40.0, 60.0), [FRONT, FRONT, BEATEN]),
        ("perplexity", (60.0, 40.0, 20.0), [BEATEN, FRONT, FRONT]),
    ],
)
def test_the_front_hugs_the_better_corner(
    metric: str, values: tuple[float, ...], expected: list[str]
) -> None:
    """The sizes of the first and the last are equal, the one between is smaller."""
    sizes = (1000, 500, 1000)
    records = [judged_by(metric, v, v, size=s) for v, s in zip(values, sizes, strict=True)]
    assert places([score_figure(records), size_figure(records)]) == expected


def test_of_images_no_tokens_are_told() -> None:
    texts = make_record()
    (timed,) = texts.metrics.latency
    images = replace(
        texts, metrics=replace(texts.metrics, latency=(replace(timed, tokens_per_second=None),))
    )
    assert shape_name([texts], (1, 32)) == "1 × 32 tokens"
    assert shape_name([images], (1, 32)) == "1 × 32"
