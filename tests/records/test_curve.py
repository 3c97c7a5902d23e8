from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from compress.config.errors import Diverged
from compress.records.curve import (
    MATCHING_CURVE,
    SUPERNET_CURVE,
    CurvePoint,
    CurveRecorder,
    curve_notes,
    curves,
)


def recorded(losses: list[float], steps: int) -> tuple[CurveRecorder, list[CurvePoint]]:
    """The curve of these losses, one for each step, in epochs of ten steps; and what was told."""
    told: list[CurvePoint] = []
    recorder = CurveRecorder(told.append)
    for step, loss in enumerate(losses, start=1):
        recorder.add(torch.tensor(loss))
        recorder.end_step(step, steps, step / 10)
    return recorder, told


def test_a_point_is_the_mean_since_the_one_before() -> None:
    recorder, told = recorded([1.0, 3.0, 5.0, 6.0, 0.5], 200)
    assert recorder.points == told
    assert told == [CurvePoint(2, 0.2, 2.0, None), CurvePoint(4, 0.4, 5.5, None)]


@pytest.mark.parametrize(
    ("steps", "points"), [(1, 1), (10, 10), (100, 100), (101, 51), (250, 84), (10_000, 100)]
)
def test_a_short_training_has_every_step_and_a_long_one_a_hundred_points(
    steps: int, points: int
) -> None:
    recorder, _ = recorded([1.0] * steps, steps)
    assert len(recorder.points) == points
    assert recorder.points[-1].step == steps


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("steps", [4, 1000])  # at a point, and between two
def test_a_loss_that_is_no_number_ends_the_training_at_its_step(loss: float, steps: int) -> None:
    with pytest.raises(Diverged, match=f"the loss is {'nan' if math.isnan(loss) else 'inf|-inf'}"):
        recorded([1.0, 1.0, loss], steps)


def test_a_validation_joins_the_point_of_its_step() -> None:
    recorder, told = recorded([1.0, 2.0, 3.0], 150)  # a point every second step
    recorder.validate(3, 0.3, math.nan)
    assert recorder.points[1:] == [CurvePoint(3, 0.3, None, None)]
    recorder, told = recorded([1.0, 2.0], 150)
    recorder.validate(2, 0.2, 0.123456789)
    assert recorder.points == [CurvePoint(2, 0.2, 1.5, 0.123457)]
    assert told == [CurvePoint(2, 0.2, 1.5, None), CurvePoint(2, 0.2, None, 0.123457)]


def curve_of(losses: Sequence[float]) -> list[CurvePoint]:
    return [CurvePoint(i, 1.0, loss, None) for i, loss in enumerate(losses)]


def step(stage: str, *losses: float) -> dict[str, Any]:
    return {"stage": stage, "notes": {"kept": 3, **curve_notes(curve_of(losses))}}


def matched(*losses: float) -> dict[str, Any]:
    return curve_notes(curve_of(losses), MATCHING_CURVE)


def trained_before(*losses: float) -> dict[str, Any]:
    return curve_notes(curve_of(losses), SUPERNET_CURVE)


@pytest.mark.parametrize(
    ("history", "names"),
    [
        ([], {}),
        ([{"stage": "teacher"}, step("pruner")], {}),
        ([step("teacher", 1.0), step("student", 2.0)], {"teacher": [1.0], "student": [2.0]}),
        (
            [step("teacher", 1.0), step("pruner", 2.0), step("pruner"), step("pruner", 3.0, 4.0)],
            {"teacher": [1.0], "pruner": [2.0], "pruner_2": [3.0, 4.0]},
        ),
        (
            [{**step("student", 2.0), "notes": {**matched(1.0, 1.5), **step("", 2.0)["notes"]}}],
            {"student": [1.0, 1.5], "student_2": [2.0]},
        ),
        (
            [{"stage": "student", "notes": {**trained_before(1.0), **step("", 2.0)["notes"]}}],
            {"supernet": [1.0], "student": [2.0]},
        ),
        (
            [step("teacher", 1.0), step("pruner", 2.0), step("teacher"), step("pruner", 3.0)],
            {"pruner": [3.0]},
        ),
    ],
)
def test_curves_are_found_in_the_history_of_this_run(
    history: list[dict[str, Any]], names: dict[str, list[float]]
) -> None:
    found = dict(curves(history))
    assert {name: [point.loss for point in points] for name, points in found.items()} == names
