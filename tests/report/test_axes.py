from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compress.records import RunRecord, Speedup
from compress.report.axes import Axis, accuracy_axis, close_to, front_of, latency_axis, size_axis
from tests.test_records import make_metrics, make_record


def run(accuracy: float, size: int, ratio: float, baseline_ms: float = 10.0) -> RunRecord:
    """Intervals: accuracy ± 0.05, the ratio ± 10 %."""
    speed = Speedup(1, 32, ratio, 0.9 * ratio, 1.1 * ratio)
    return make_record(  # type: ignore[no-any-return]
        accuracy, size, speedup=(speed,), baseline=make_metrics(0.91, 2_000_000, baseline_ms)
    )


def axis(values: list[float], spread: float, better: str = "lower") -> Axis:
    exact = np.array(values)
    return Axis("", better, exact, exact - spread, exact + spread, 0.0)  # type: ignore[arg-type]


def test_latencies_are_those_of_one_teacher() -> None:
    """The teachers' median is 12 ms, whatever else the machine did meanwhile."""
    found = latency_axis([run(0.9, 1, 2.0, 10.0), run(0.9, 1, 3.0, 12.0), run(0.9, 1, 1.0, 40.0)])
    assert found.values.tolist() == pytest.approx([6.0, 4.0, 12.0])
    assert found.low.tolist() == pytest.approx([12 / 2.2, 12 / 3.3, 12 / 1.1])
    assert found.high.tolist() == pytest.approx([12 / 1.8, 12 / 2.7, 12 / 0.9])
    assert (found.baseline, found.title) == (12.0, "latency of 1 × 32 (ms)")


def test_sizes_are_exact_and_accuracies_are_not() -> None:
    records = [run(0.9, 1_500_000, 2.0), run(0.8, 500_000, 2.0)]
    size, accuracy = size_axis(records), accuracy_axis(records)
    assert size.values.tolist() == size.low.tolist() == size.high.tolist() == [1.5, 0.5]
    assert size.baseline == 2.0
    assert not size.bars().any()
    assert accuracy.bars() == pytest.approx(np.full((2, 2), 0.05))
    assert accuracy.baseline == 0.91


def test_an_interval_beside_its_value_has_no_negative_bar() -> None:
    """matplotlib refuses one; a bootstrap of old records may have such an end."""
    beside = replace(axis([5.0], 1.0), low=np.array([5.5]))
    assert beside.bars().tolist() == [[0.0], [1.0]]


@pytest.mark.parametrize(
    ("first", "second", "front", "close"),
    [
        # The second is beaten by 1 in the one figure, by 1 in the other.
        (axis([1, 2], 0.6), axis([1, 2], 0.6), [True, False], [False, True]),
        (axis([1, 2], 0.5), axis([1, 2], 0.5), [True, False], [False, True]),  # ends touch
        (axis([1, 2], 0.4), axis([1, 2], 0.6), [True, False], [False, False]),
        (axis([1, 2], 0.6), axis([1, 2], 0.0), [True, False], [False, False]),  # exact
        (axis([1, 2], 0.6), axis([1, 1], 0.0), [True, False], [False, True]),  # exact and equal
        (axis([2, 1], 0.6, "higher"), axis([1, 2], 0.6), [True, False], [False, True]),
        # Close to each other, but both on the front.
        (axis([1, 2], 0.6), axis([2, 1], 0.6), [True, True], [False, False]),
        # The third is near the second only, which is not on the front.
        (axis([1, 3, 4], 0.6), axis([1, 3, 4], 0.6), [True, False, False], [False] * 3),
        (axis([1.0], 0.5), axis([1.0], 0.5), [True], [False]),
    ],
)
def test_what_cannot_be_told_apart_from_the_front(
    first: Axis, second: Axis, front: list[bool], close: list[bool]
) -> None:
    found = front_of([first, second])
    assert found.tolist() == front
    assert close_to(found, [first, second]).tolist() == close
