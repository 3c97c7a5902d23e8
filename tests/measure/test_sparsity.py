from __future__ import annotations

import pytest
import torch

from compress.interfaces import Step
from compress.measure.sparsity import (
    WeightCount,
    broken_groups,
    check_history,
    count_weights,
    live_patterns,
    live_shapes,
    live_zeros,
)
from compress.records.schema import LayerWeights

WEIGHTS = [
    ("inner", torch.tensor([[0.0, 1.0], [0.0, 0.0]])),
    ("packed", torch.tensor([[0, 3]], dtype=torch.int8)),
    ("outer", torch.tensor([0.0, 5.0])),
]


def test_by_hand() -> None:
    found = count_weights(WEIGHTS, {"inner", "packed"})
    layers = (LayerWeights("inner", (2, 2), zeros=3), LayerWeights("packed", (1, 2), zeros=1))
    assert found == WeightCount(total=8, zeros=5, layers=layers, subnormal=False)
    assert (found.compressible, found.compressible_zeros) == (6, 4)


def test_expectations_hold_for_the_last_stage_that_made_them() -> None:
    first = Step("pruner", {}, expected_zeros={"inner": 4, "packed": 1})
    second = Step("pruner", {}, expected_zeros={"inner": 3})
    check_history([first, second], WEIGHTS)
    with pytest.raises(AssertionError, match="inner has 3 zeros, 4 were expected"):
        check_history([second, first], WEIGHTS)
    with pytest.raises(AssertionError, match="gone was pruned and is gone"):
        check_history([Step("pruner", {}, expected_zeros={"gone": 1})], WEIGHTS)


ROW = [[1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0, 4.0]]


@pytest.mark.parametrize(
    ("weight", "pattern", "broken"),
    [
        (ROW, (2, 4), 0),
        (ROW, (1, 4), 2),
        (ROW, (1, 2), 1),
        (ROW, (4, 8), 0),
        (ROW, (3, 8), 1),
        (ROW, (2, 3), None),  # rows of eight are no groups of three
        ([*ROW, [0.0] * 8, [-1.0] * 8], (2, 4), 2),
        ([ROW, [[5.0] * 8]], (2, 4), 2),  # a stack of matrices, such as of experts
    ],
)
def test_groups_are_counted_along_the_rows(
    weight: list[object], pattern: tuple[int, int], broken: int | None
) -> None:
    assert broken_groups(torch.tensor(weight), *pattern) == broken
    assert broken_groups(torch.tensor(weight).to(torch.int8), *pattern) == broken
    assert broken_groups(torch.tensor(weight).half(), *pattern) == broken


PATTERN = Step("pruner", {}, expected_zeros={"a": 4}, expected_patterns={"a": (2, 4)})
CLAIMS = [
    ([PATTERN], {"a": (2, 4)}),
    ([PATTERN, Step("pruner", {}, expected_zeros={"b": 1})], {"a": (2, 4)}),
    ([PATTERN, Step("pruner", {}, expected_zeros={"a": 4})], {}),
    ([PATTERN, Step("pruner", {}, expected_shapes={"a": (1, 4)})], {}),
    (
        [
            PATTERN,
            Step("pruner", {}, expected_shapes={"a": (1, 4)}, expected_patterns={"a": (1, 2)}),
        ],
        {"a": (1, 2)},
    ),
    ([PATTERN, Step("student", {})], {}),
    ([PATTERN, Step("student", {}), PATTERN], {"a": (2, 4)}),
]


@pytest.mark.parametrize(("history", "live"), CLAIMS)
def test_a_pattern_holds_until_something_else_is_expected(
    history: list[Step], live: dict[str, tuple[int, int]]
) -> None:
    assert live_patterns(history) == live


def test_a_broken_pattern_is_named() -> None:
    check_history([PATTERN], [("a", torch.tensor(ROW))])
    with pytest.raises(AssertionError, match="a has 1 groups with more, the pattern 2:4 was"):
        check_history([PATTERN], [("a", torch.tensor([[0.0, 1, 0, 0, 0, 1, 1, 1]]))])
    with pytest.raises(AssertionError, match="a has no whole groups, the pattern 2:4 was expected"):
        check_history([PATTERN], [("a", torch.zeros(1, 6))])
    alone = Step("pruner", {}, expected_patterns={"a": (2, 4)})
    with pytest.raises(AssertionError, match="a was pruned as 2:4 and is gone"):
        check_history([alone], [])


def test_a_student_starts_anew() -> None:
    made = Step("pruner", {}, expected_zeros={"a": 4}, expected_shapes={"b": (1, 2)})
    student = Step("student", {}, expected_shapes={"c": (3,)})
    assert (live_zeros([made, student]), live_shapes([made, student])) == ({}, {"c": (3,)})
    assert live_zeros([student, made]) == {"a": 4}
