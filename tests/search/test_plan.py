"""The plan of a search from its file and its command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from compress.config.errors import ConfigError
from compress.search.plan import _narrow_conditions_, _read

CONDITION = {"space": "choice(1, 2)", "when": {"pruner": ["lowrank", "heads"]}}


@pytest.mark.parametrize(
    ("pruner", "left", "lines"),
    [
        ("choice(none)", None, ["left out: pruner.x, which needs pruner=lowrank,heads"]),
        ("choice(lowrank)", ["lowrank"], []),
        ("none,heads", ["heads"], []),
        ("choice(heads, lowrank)", ["lowrank", "heads"], []),
    ],
)
def test_conditions_of_the_file_follow_the_command_line(
    pruner: str, left: list[str] | None, lines: list[str]
) -> None:
    entries: dict[str, Any] = {"pruner": pruner, "pruner.x": dict(CONDITION), "seed": "choice(0)"}
    assert list(_narrow_conditions_(entries, {"pruner"})) == lines
    found = entries.get("pruner.x")
    assert (found["when"]["pruner"] if isinstance(found, Mapping) else None) == left


def test_conditions_that_are_named_are_left_to_be_refused() -> None:
    entries: dict[str, Any] = {"pruner": "choice(none)", "pruner.x": dict(CONDITION)}
    assert list(_narrow_conditions_(entries, {"pruner", "pruner.x"})) == []
    assert entries["pruner.x"] == CONDITION


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_a_dimension_is_set_by_its_own_key(prefix: str) -> None:
    word = f"{prefix}search.space.pruner.sparsity=interval(0.1,0.4)"
    words = r"set by its own key, pruner\.sparsity=interval\(0\.1,0\.4\); got "
    with pytest.raises(ConfigError, match=words):
        _read({"space": {"pruner": "choice(wanda)"}}, [word])
    entries, named, fixed = _read(
        {"space": {"pruner": "choice(wanda)", "pruner.sparsity": "interval(0.2,0.5)"}},
        ["pruner.sparsity=interval(0.1,0.4)"],
    )
    assert entries["pruner.sparsity"] == "interval(0.1,0.4)"
    assert named == {"pruner.sparsity"}
    assert fixed == []
