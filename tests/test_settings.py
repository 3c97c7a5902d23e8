from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from compress.settings import (
    ConfigError,
    ConfigTypeError,
    Settings,
    check_choice,
    check_fraction,
    check_not_negative,
    check_positive,
    parse_pattern,
    within,
)


@dataclass(frozen=True, kw_only=True)
class Inner(Settings):
    word: str = "a"


@dataclass(frozen=True, kw_only=True)
class Outer(Settings):
    count: int = 1
    share: float = 0.5
    flag: bool = False
    maybe: int | None = None
    shapes: tuple[tuple[int, int], ...] = ()
    inner: Inner = Inner()
    named: dict[str, Inner] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("count", 1.5, "Outer.count must be an integer, got 1.5"),
        ("count", True, "Outer.count must be an integer, got True"),
        ("count", "1", "Outer.count must be an integer, got '1'"),
        ("share", "half", "Outer.share must be a number, got 'half'"),
        ("share", False, "Outer.share must be a number, got False"),
        ("share", None, "Outer.share must be a number, got None"),
        ("flag", 1, "Outer.flag must be true or false, got 1"),
        ("maybe", "x", "Outer.maybe must be an integer or null, got 'x'"),
        ("shapes", 3, "Outer.shapes must be a list (a list of 2 (an integer, an integer) each)"),
        ("shapes", [[1]], "Outer.shapes[0] must be a list of 2 (an integer, an integer)"),
        ("shapes", [[1, "b"]], "Outer.shapes[0][1] must be an integer, got 'b'"),
        ("inner", "a", "Outer.inner must be a Inner, got 'a'"),
        ("named", "a", "Outer.named must be a mapping (a Inner each), got 'a'"),
        ("named", [Inner()], "Outer.named must be a mapping (a Inner each), got ["),
        ("named", {"x": 3}, "Outer.named.x must be a Inner, got 3"),
        ("named", {3: Inner()}, "Outer.named, its key must be text, got 3"),
    ],
)
def test_wrong_types_are_refused(field: str, value: object, reason: str) -> None:
    with pytest.raises(ConfigTypeError) as caught:
        Outer(**{field: value})  # type: ignore[arg-type]
    assert reason in str(caught.value)


def test_integers_are_numbers_and_lists_become_tuples() -> None:
    made = Outer(share=1, shapes=[[1, 2], [3, 4]])  # type: ignore[arg-type]
    assert made.share == 1.0
    assert isinstance(made.share, float)
    assert made.shapes == ((1, 2), (3, 4))


def test_settings_are_found_however_deep() -> None:
    inner, other = Inner(word="b"), Inner(word="c")
    made = Outer(inner=inner, named={"x": other})
    assert list(within(made, Inner)) == [inner, other]
    assert list(within((made, {"y": made}), Outer)) == [made, made]
    assert list(within(inner, Outer)) == []


def test_describe_tells_class_version_and_all_fields() -> None:
    assert Outer(shapes=((1, 2),)).describe() == {
        "class": "tests.test_settings.Outer",
        "version": 1,
        "count": 1,
        "share": 0.5,
        "flag": False,
        "maybe": None,
        "shapes": [[1, 2]],
        "inner": {"class": "tests.test_settings.Inner", "version": 1, "word": "a"},
        "named": [],
    }


def test_a_mapping_is_told_in_its_order() -> None:
    first, second = Inner(word="one"), Inner(word="two")
    told = [
        Outer(named=named).describe()["named"]
        for named in ({"a": first, "b": second}, {"b": second, "a": first})
    ]
    assert told[0] == [["a", first.describe()], ["b", second.describe()]]
    # A cache key sorts the keys of objects; it must not lose the order.
    assert json.dumps(told[0], sort_keys=True) != json.dumps(told[1], sort_keys=True)


def test_a_mapping_is_a_copy() -> None:
    given = {"a": Inner()}
    made = Outer(named=given)
    given["b"] = Inner()
    assert list(made.named) == ["a"]


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan"), float("inf")])
def test_fractions(share: float) -> None:
    with pytest.raises(ConfigError, match=r"Outer\.share must be in \[0, 1\), got"):
        check_fraction(Outer(share=share), "share")


def test_closed_fractions_take_one() -> None:
    check_fraction(Outer(share=1.0), "share", closed=True)
    with pytest.raises(ConfigError, match=r"must be in \[0, 1\], got 1\.01"):
        check_fraction(Outer(share=1.01), "share", closed=True)


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan"), float("inf")])
def test_positive(share: float) -> None:
    with pytest.raises(ConfigError, match="must be > 0"):
        check_positive(Outer(share=share), "share")


def test_null_is_positive_and_zero_is_not_negative() -> None:
    check_positive(Outer(), "maybe")
    check_not_negative(Outer(share=0.0), "share")
    with pytest.raises(ConfigError, match="must be >= 0, got -1"):
        check_not_negative(Outer(share=-1.0), "share")


def test_choices() -> None:
    with pytest.raises(ConfigError, match=r"Inner\.word must be one of b, c; got a"):
        check_choice(Inner(), "word", ("b", "c"))


@pytest.mark.parametrize("text", ["4:2", "0:4", "2-4", "2:", "a:b", "2:4:8", "", "-1:4"])
def test_bad_patterns(text: str) -> None:
    with pytest.raises(ConfigError, match=r"x must be N:M with 0 < N <= M"):
        parse_pattern("x", text)


def test_good_patterns() -> None:
    assert parse_pattern("x", "2:4") == (2, 4)
    assert parse_pattern("x", "4:4") == (4, 4)
