from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from compress.core.model import Later, OnDemand


@dataclass(frozen=True)
class Box:
    value: OnDemand[int] = OnDemand()  # noqa: RUF009
    name: str  # type: ignore[misc]


def test_a_value_is_made_once_and_when_it_is_read() -> None:
    made: list[int] = []
    box = Box(Later(lambda: made.append(1) or 3), "a")
    assert box.name == "a"
    assert made == []
    assert (box.value, box.value) == (3, 3)
    assert made == [1]
    assert replace(box, name="b").value == 3
    assert made == [1]


def test_a_value_may_be_given() -> None:
    assert Box(5, "a").value == 5
    assert Box(5, "a") == Box(Later(lambda: 5), "a")


def test_there_is_no_default() -> None:
    with pytest.raises(TypeError, match="'value' and 'name'"):
        Box()  # type: ignore[call-arg]
