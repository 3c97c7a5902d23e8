from __future__ import annotations

import itertools

import pytest

from compress.pruner.components.schedule import CURVES, SparsitySchedule, progress_of, scheduled


@pytest.mark.parametrize(
    ("curve", "progress", "first", "last", "sparsity"),
    [
        ("linear", 0.25, 0.2, 0.6, 0.3),
        ("cubic", 0.5, 0.0, 0.8, 0.7),  # 0.8 - 0.8 / 8
        ("cubic", 0.5, 0.2, 0.6, 0.55),  # 0.6 - 0.4 / 8
        ("exponential", 0.5, 0.0, 0.75, 0.5),  # the density halves twice: 1, 1/2, 1/4
        ("exponential", 1 / 3, 0.5, 0.9375, 0.75),  # 1/2, 1/4, 1/8, 1/16
    ],
)
def test_by_hand(curve: str, progress: float, first: float, last: float, sparsity: float) -> None:
    assert scheduled(curve, progress, first, last) == pytest.approx(sparsity)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(("first", "last"), [(0.0, 0.3), (0.1, 0.7), (0.5, 0.5), (0.0, 0.0)])
def test_it_grows_from_first_to_exactly_last(curve: str, first: float, last: float) -> None:
    values = [scheduled(curve, step / 7, first, last) for step in range(8)]
    assert values[0] == pytest.approx(first)
    assert values[-1] == last
    assert all(b >= a - 1e-12 for a, b in itertools.pairwise(values))


def test_progress_stands_still_before_start_and_after_end() -> None:
    assert [progress_of(p, 0.2, 0.6) for p in (0.0, 0.2, 0.6, 1.0)] == [0, 0, 1, 1]
    assert progress_of(0.3, 0.2, 0.6) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("steps", "start", "end", "frequency", "updates"),
    [
        (100, 0.1, 0.5, 10, (10, 20, 30, 40, 50)),
        (100, 0.1, 0.5, 15, (10, 25, 40, 50)),  # 55 would be past the end
        (10, 0.0, 1.0, 4, (0, 4, 8, 10)),
        (10, 0.0, 1.0, 1000, (0, 10)),
        (2, 0.1, 0.7, 10, (0, 1)),
        (1, 0.1, 0.4, 1, (0,)),
        (1, 0.6, 1.0, 1, (1,)),
    ],
)
def test_updates_always_end_at_the_end(
    steps: int, start: float, end: float, frequency: int, updates: tuple[int, ...]
) -> None:
    schedule = SparsitySchedule(
        curve="cubic", start_sparsity=0.0, start=start, end=end, frequency=frequency
    )
    assert schedule.update_steps(steps) == updates
