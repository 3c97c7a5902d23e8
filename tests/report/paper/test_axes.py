from __future__ import annotations

import numpy as np
import pytest

from compress.records.schema import FinishedRun, Speedup
from compress.report.paper.axes import Axis, latency_axis, score_axis, size_axis
from compress.report.points import Figure
from tests.records.test_schema import evaluated_by, make_metrics, make_record


def run(accuracy: float, size: int, ratio: float, baseline_ms: float = 10.0) -> FinishedRun:
    """Intervals: accuracy ± 0.05, the ratio ± 10 %."""
    speed = Speedup(1, 32, ratio, 0.9 * ratio, 1.1 * ratio)
    return make_record(  # type: ignore[no-any-return]
        accuracy, size, speedup=(speed,), baseline=make_metrics(0.91, 2_000_000, baseline_ms)
    )


def test_latencies_are_those_of_one_teacher() -> None:
    """The teachers' median is 12 ms, whatever else the machine did meanwhile."""
    records = [run(0.9, 1, 2.0, 10.0), run(0.9, 1, 3.0, 12.0), run(0.9, 1, 1.0, 40.0)]
    found = latency_axis(records, (1, 32))
    assert found.values.tolist() == pytest.approx([6.0, 4.0, 12.0])
    assert (found.baseline, found.title) == (12.0, "latency of 1 × 32 (ms)")


def test_sizes_are_exact_and_accuracies_are_not() -> None:
    records = [run(0.9, 1_500_000, 2.0), run(0.8, 500_000, 2.0)]
    size, accuracy = size_axis(records), score_axis(records)
    assert size.values.tolist() == [1.5, 0.5]
    assert size.baseline == 2.0
    assert not size.bars().any()
    assert accuracy.bars() == pytest.approx(np.full((2, 2), 0.05))
    assert accuracy.baseline == 0.91


def test_an_interval_beside_its_value_has_no_negative_bar() -> None:
    """matplotlib refuses one; a bootstrap of old records may have such an end."""
    beside = Figure("lower", np.array([5.0]), np.array([5.5]), np.array([6.0]))
    assert Axis("", beside, False, 0.0, np.array([])).bars().tolist() == [[0.0], [1.0]]


@pytest.mark.parametrize(
    ("metric", "values", "title", "logarithmic"),
    [
        ("accuracy", (0.9, 0.8), "accuracy on held-out rows", False),
        ("spearman", (0.9, 0.8), "Spearman correlation on held-out rows", False),
        ("perplexity", (20.0, 30.0), "perplexity (lower is better)", False),
        ("perplexity", (20.0, 300.0), "perplexity (lower is better)", True),
    ],
)
def test_scores_are_shown_as_they_are_with_the_better_end_named(
    metric: str, values: tuple[float, float], title: str, logarithmic: bool
) -> None:
    found = score_axis([evaluated_by(metric, value, values[0]) for value in values])
    assert (found.title, found.logarithmic) == (title, logarithmic)
    assert found.values.tolist() == list(values)
    assert found.baseline == values[0]
    assert found.bars() == pytest.approx(0.05 * np.array([values, values]))
