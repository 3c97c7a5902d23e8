"""Which shapes there are, and in which order they are measured."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from compress.config.errors import ConfigError
from compress.costs.space import Sizes, latin_hypercube, plan
from compress.student.layers import LayersStudent
from tests.configs import settings_of
from tests.costs.made import space


def test_the_corners_come_first() -> None:
    found = space(layers=(1, 3), hidden=(None, 12, 8), activation=("gelu", "relu"))
    assert found.corners() == [
        Sizes(3, activation="gelu"),
        Sizes(1, hidden=8, activation="relu"),
        Sizes(1, activation="gelu"),
        Sizes(3, hidden=8, activation="gelu"),
        Sizes(3, activation="relu"),
    ]
    assert list(islice(plan(found, 0), 5)) == found.corners()


def test_a_plan_has_every_shape_once_in_the_order_of_its_seed() -> None:
    found = space(layers=(1, 2, 3, 4), hidden=(None, 12, 8), neurons=(None, 16), heads=(None, 1))
    every = list(plan(found, 0))
    assert len(every) == 4 * 3 * 2 * 2
    assert set(every) == set(found.grid())
    assert every == list(plan(found, 0))
    assert every != list(plan(found, 1))


def test_a_table_is_no_wider_than_the_residual_stream() -> None:
    found = space(hidden=(None, 8), embedding=(None, 12))
    assert set(found.grid()) == {Sizes(1), Sizes(1, hidden=8), Sizes(1, embedding=12)}
    assert set(plan(found, 0)) == set(found.grid())


def test_a_hypercube_has_a_point_in_every_interval() -> None:
    points = latin_hypercube(7, 3, np.random.default_rng(0))
    assert points.shape == (7, 3)
    assert (np.sort(np.floor(7 * points), axis=0) == np.arange(7)[:, None]).all()


CHECKED = {
    "layers": (2, 4), "hidden": (None, 12, 8), "heads": (None,), "embedding": (None, 4, 8),
    "activation": (None, "relu"), "vocabulary": (300, 100),
}  # fmt: skip
WITHIN = Sizes(3, vocabulary=200)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"layers": 2, "hidden": 10, "embedding": 6, "activation": "relu", "vocabulary": 100},
        {"hidden": 14},  # between 12 and the teacher's own
    ],
)
def test_what_lies_between_is_covered(sizes: dict[str, Any]) -> None:
    space(**CHECKED).check(replace(WITHIN, **sizes))


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"layers": 5}, r"layers must be within costs.space.layers=\[2,4\], got 5"),
        ({"layers": 1}, r"layers must be within .*, got 1"),
        ({"hidden": 6}, r"hidden must be within costs.space.hidden=\[null,12,8\], got 6"),
        ({"heads": 1}, r"heads must be within costs.space.heads=\[null\], got 1"),
        ({"embedding": 9}, "embedding must be within"),
        ({"activation": "tanh"}, r"activation must be within .*'relu'\], got 'tanh'"),
        ({"vocabulary": None}, "vocabulary must be within .*, got None"),
        ({"positions": 64}, "positions must be within"),
    ],
)
def test_what_was_not_measured_is_refused(sizes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        space(**CHECKED).check(replace(WITHIN, **sizes))


def test_a_value_is_listed_once() -> None:
    with pytest.raises(ConfigError, match=r"Space.heads must list each value once, got \[2, 2\]"):
        space(heads=(2, 2))


def test_overrides_make_a_student_of_the_shape() -> None:
    sizes = Sizes(3, hidden=12, activation="relu", vocabulary=100)
    student = settings_of("student", "layers", *sizes.overrides()[1:])
    assert isinstance(student, LayersStudent)
    assert student.keep == 3
    assert replace(student.shape, vocabulary=None, importance="l1") == sizes.shape()
    assert student.shape.vocabulary == 100
