"""Shapes of sub-nets: which there are, and what each of them keeps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from compress.config.errors import ConfigError
from compress.shaping.subshape import (
    AXES,
    Choices,
    SubShape,
    cut_subnet_,
    every_shape,
    kept_layers,
    named_shape,
    size_of,
)
from compress.transformer.stacks import evenly_spaced
from tests.pruner.made import Teachers, skeleton
from tests.shaping.made import choices, sub


def test_every_shape_is_a_combination_from_the_largest_to_the_smallest() -> None:
    shapes = every_shape({"depth": (4, 3, 2), "neurons": (32, 16)})
    listed = [(shape.depth, shape.hidden, shape.heads, shape.neurons) for shape in shapes]
    assert listed == [
        *((None, None, None, None), (None, None, None, 16)),
        *((3, None, None, None), (3, None, None, 16)),
        *((2, None, None, None), (2, None, None, 16)),
    ]


def test_sizes_are_those_below_the_super_nets(teachers: Teachers) -> None:
    model = teachers("bert")
    sizes = choices(depths=(2, 4), neurons=(8, 32)).sizes(skeleton(model), "student.choices")
    assert sizes == {"depth": (4, 2), "neurons": (32, 8)}
    assert [size_of(model.module, axis) for axis in AXES] == [4, 16, 2, 32]


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ({}, {}),
        ({"depth": 4, "neurons": 32}, {}),
        ({"depth": 2}, {"depth": 2}),
        ({"neurons": 8, "depth": 4}, {"neurons": 8}),
    ],
)
def test_a_size_that_is_the_largest_means_the_largest(
    asked: dict[str, int], meant: dict[str, int]
) -> None:
    sizes = {"depth": (4, 2), "neurons": (32, 8)}
    assert named_shape(sub(**asked), sizes, "student.sub") == sub(**meant)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"depth": 3}, r"^student\.sub\.depth must be one of 2, 4, got 3$"),
        ({"heads": 1}, r"^student\.sub\.heads must be null, as no other size is chosen, got 1$"),
    ],
)
def test_a_sub_net_that_was_not_trained_is_refused(asked: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        named_shape(sub(**asked), {"depth": (4, 2)}, "student.sub")


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"depths": (5,)}, r"^here\.depths must be at most 4, the super-net's, got 5$"),
        ({"hidden": (17,)}, r"^here\.hidden must be at most 16, the super-net's, got 17$"),
        ({"heads": (3,)}, r"^here\.heads must be at most 2, the super-net's, got 3$"),
        ({"depths": (4,)}, r"^here has no size below the super-net's, expected one or more$"),
    ],
)
def test_choices_beyond_the_super_net_are_refused(
    lists: dict[str, Any], message: str, teachers: Teachers
) -> None:
    with pytest.raises(ConfigError, match=message):
        choices(**lists).sizes(skeleton(teachers("bert")), "here")


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({}, "Choices must have a size beside the largest, got none"),
        ({"depths": (3, 2)}, r"Choices\.depths must list sizes in ascending order, got \[3, 2\]"),
        ({"heads": (2, 2)}, r"Choices\.heads must list sizes in ascending order, got \[2, 2\]"),
        ({"neurons": (0,)}, r"Choices\.neurons\[0\] must be > 0, got 0"),
    ],
)
def test_choices_that_say_nothing_are_refused(lists: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Choices(**{"depths": (), "hidden": (), "heads": (), "neurons": (), **lists})


def test_layers_of_an_unknown_kind_have_depths_alone(teachers: Teachers) -> None:
    module = teachers("bert").module
    for block in module.bert.encoder.layer:
        block.extra = torch.nn.Linear(16, 16)
    assert choices(depths=(2,)).sizes(module, "here") == {"depth": (4, 2)}
    with pytest.raises(ConfigError, match=r"^here\.heads: .* match no known layout"):
        choices(heads=(1,)).sizes(module, "here")


def test_a_sub_net_has_the_first_units_and_even_layers(teachers: Teachers) -> None:
    module: Any = teachers("bert").module
    small = copy.deepcopy(module)
    cut_subnet_(small, SubShape(depth=2, hidden=12, heads=1, neurons=20), "student.sub")
    assert kept_layers(module, sub(depth=2)) == (0, 3)
    for number, layer in zip((0, 3), small.bert.encoder.layer, strict=True):
        whole = module.bert.encoder.layer[number]
        query = whole.attention.self.query.weight[:8, :12]
        assert torch.equal(layer.attention.self.query.weight, query)
        up = whole.intermediate.dense.weight[:20, :12]
        assert torch.equal(layer.intermediate.dense.weight, up)
        norm = whole.output.LayerNorm.weight[:12]
        assert torch.equal(layer.output.LayerNorm.weight, norm)


def test_the_layers_that_the_documentation_lists() -> None:
    listed = [evenly_spaced(count, 12) for count in (1, 2, 3, 4)]
    assert listed == [(0,), (0, 11), (0, 6, 11), (0, 4, 7, 11)]
