from __future__ import annotations

import dataclasses
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import field, replace
from typing import Annotated, Literal

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, ConfigTypeError
from compress.config.fields import (
    Fraction,
    NotNegative,
    NotNegativeInt,
    OneOf,
    OpenFraction,
    Positive,
    PositiveInt,
    UnitInterval,
)
from compress.config.settings import Settings, check_seed, parse_pattern, within


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
    pairs: Annotated[tuple[tuple[int, int], ...], Field(min_length=1)] = ((1, 2),)
    inner: Inner = Inner()
    named: dict[str, Inner] = field(default_factory=dict)
    grid: tuple[tuple[float, ...], ...] = ()
    weights: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Share(Settings):
    share: Fraction


@dataclass(frozen=True, kw_only=True)
class Ranges(Settings):
    share: UnitInterval = 1.0
    rate: Positive = 1.0
    least: NotNegative = 0.0
    count: PositiveInt | None = None
    limit: Annotated[int, Field(le=3)] = 0
    name: Annotated[str, OneOf({"b": 1, "c": 2})] = "b"
    smooth: Literal["auto"] | OpenFraction = "auto"
    sizes: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1,)
    pick: PositiveInt | tuple[NotNegativeInt, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Needy(Settings):
    a: int
    b: int
    c: int = 3


@dataclass(frozen=True, kw_only=True)
class Bare(Settings):
    pass


@dataclass(frozen=True, kw_only=True)
class Half(Settings, ABC):
    @abstractmethod
    def rest(self) -> None: ...


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("count", math.nan, "Outer.count must be an integer, got nan"),
        ("count", "x" * 1000, f"Outer.count must be an integer, got '{'x' * 79}…"),
        ("count", 1.5, "Outer.count must be an integer, got 1.5"),
        ("count", True, "Outer.count must be an integer, got True"),
        ("count", "1", "Outer.count must be an integer, got '1'"),
        ("share", "half", "Outer.share must be a number, got 'half'"),
        ("share", False, "Outer.share must be a number, got False"),
        ("share", None, "Outer.share must be a number, got None"),
        ("pairs", [[1]], "Outer.pairs[0] must be a list of 2 (an integer, an integer), got [1]"),
        ("flag", 1, "Outer.flag must be true or false, got 1"),
        ("maybe", "x", "Outer.maybe must be an integer or null, got 'x'"),
        ("shapes", 3, "Outer.shapes must be a list (a list of 2 (an integer, an integer) each)"),
        ("shapes", [[1]], "Outer.shapes[0] must be a list of 2 (an integer, an integer)"),
        ("shapes", [[1, "b"]], "Outer.shapes[0][1] must be an integer, got 'b'"),
        ("inner", "a", "Outer.inner must be an Inner, got 'a'"),
        ("named", "a", "Outer.named must be a mapping (an Inner each), got 'a'"),
        ("named", [Inner()], "Outer.named must be a mapping (an Inner each), got ["),
        ("named", {"x": 3}, "Outer.named.x must be an Inner, got 3"),
        ("named", {3: Inner()}, "Outer.named, its key must be text, got 3"),
    ],
)
def test_wrong_types_are_refused(field: str, value: object, reason: str) -> None:
    with pytest.raises(ConfigTypeError) as caught:
        Outer(**{field: value})  # type: ignore[arg-type]
    assert reason in str(caught.value)


@pytest.mark.parametrize("value", [0, 1, 2**32 - 1])
def test_seeds(value: int) -> None:
    check_seed("seed", value)


@pytest.mark.parametrize("value", [-1, 2**32, 10**30, 1.0, math.inf, True, None, "1"])
def test_no_seeds(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^x must be an integer in \[0, 4294967295\], got "):
        check_seed("x", value)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: Needy(), "Needy lacks a value for a, b"),
        (lambda: Needy(a=1), "Needy lacks a value for b"),
        (lambda: Needy(a=1, b=2, d=3, e=4), "Needy has no setting d, e; its settings: a, b, c"),
        (lambda: Needy(1, 2), "Needy takes settings by name only, got [1, 2]"),
        (lambda: replace(Needy(a=1, b=2), d=3), "Needy has no setting d"),
        (lambda: Bare(a=1), "Bare has no setting a; its settings: none"),
        (lambda: Half(), "Half is abstract"),
    ],
)
def test_arguments_are_the_fields(build: Callable[[], object], reason: str) -> None:
    with pytest.raises(ConfigTypeError) as caught:
        build()
    assert reason in str(caught.value)
    assert Needy(a=1, b=2).c == 3


def test_integers_are_numbers_and_lists_become_tuples() -> None:
    made = Outer(share=1, shapes=[[1, 2], [3, 4]])  # type: ignore[arg-type]
    assert made.share == 1.0
    assert isinstance(made.share, float)
    assert made.shapes == ((1, 2), (3, 4))


def test_settings_are_found_however_deep() -> None:
    inner, other = Inner(word="b"), Inner(word="c")
    made = Outer(inner=inner, named={"x": other})
    assert list(within(made, Inner, "a")) == [("a.inner", inner), ("a.named.x", other)]
    assert list(within((made, {"y": made}), Outer, "a")) == [("a[0]", made), ("a[1].y", made)]
    assert list(within(inner, Outer, "a")) == []


def test_describe_tells_kind_version_and_all_fields() -> None:
    assert Outer(shapes=((1, 2),)).describe() == {
        "kind": "Outer",
        "version": 1,
        "count": 1,
        "share": 0.5,
        "flag": False,
        "maybe": None,
        "shapes": [[1, 2]],
        "pairs": [[1, 2]],
        "inner": {"kind": "Inner", "version": 1, "word": "a"},
        "named": [],
        "grid": [],
        "weights": [],
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
    with pytest.raises(ConfigError, match=r"^Share\.share must be in \[0, 1\), got"):
        Share(share=share)


@pytest.mark.parametrize(
    ("cls", "field", "value", "reason"),
    [
        (Outer, "count", 2**63, "Outer.count must be an integer of 64 bits, got 92233"),
        (Outer, "maybe", -(2**63), "Outer.maybe must be an integer of 64 bits, got -9223"),
        (Outer, "shapes", [[1, 10**30]], "Outer.shapes[0][1] must be an integer of 64 bits"),
        (Outer, "share", 10**400, f"Outer.share must be finite, got 1{'0' * 79}…"),
        (Outer, "share", math.nan, "Outer.share must be finite, got nan"),
        (Outer, "share", -math.inf, "Outer.share must be finite, got -inf"),
        (Outer, "grid", [[0.5], [math.inf]], "Outer.grid[1][0] must be finite, got inf"),
        (Outer, "weights", {"a": 1.0, "b": math.nan}, "Outer.weights.b must be finite, got nan"),
        (Ranges, "share", 1.01, "Ranges.share must be in [0, 1], got 1.01"),
        (Ranges, "rate", 0, "Ranges.rate must be > 0, got 0"),
        (Ranges, "rate", math.inf, "Ranges.rate must be > 0, got inf"),
        (Ranges, "least", -1.0, "Ranges.least must be >= 0, got -1.0"),
        (Ranges, "count", 0, "Ranges.count must be > 0 or null, got 0"),
        (Ranges, "count", 10**30, "Ranges.count must be an integer of 64 bits, got 1000"),
        (Ranges, "limit", 4, "Ranges.limit must be <= 3, got 4"),
        (Ranges, "name", "a", "Ranges.name must be one of b, c; got a"),
        (Ranges, "name", 3, "Ranges.name must be one of b, c; got 3"),
        (Ranges, "smooth", "none", "Ranges.smooth must be auto or a number in (0, 1); got none"),
        (Ranges, "smooth", 1.0, "Ranges.smooth must be in (0, 1), got 1.0"),
        (Ranges, "sizes", [], "Ranges.sizes must be a list of one or more, got []"),
        (Ranges, "sizes", [1, 0], "Ranges.sizes[1] must be > 0, got 0"),
        (Ranges, "pick", 0, "Ranges.pick must be > 0 or null, got 0"),
        (
            Ranges,
            "pick",
            [1, -1],
            "Ranges.pick must be an integer > 0 or a list (an integer >= 0 each) or null, got",
        ),
    ],
)
def test_ranges_and_choices(cls: type, field: str, value: object, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cls(**{field: value})
    assert reason in str(caught.value)


def test_the_ends_of_ranges() -> None:
    made = Ranges(share=0, rate=1e-9, least=0, count=1, limit=3, smooth=0.5, pick=[0, 2])  # type: ignore[arg-type]
    assert (made.share, made.count, made.smooth, made.pick) == (0.0, 1, 0.5, (0, 2))
    assert Ranges(count=None).count is None


def test_what_subclasses_find_wrong_is_said_in_their_words() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Pair(Settings):
        low: int
        high: int

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ConfigError("Pair.low must be at most high")

    with pytest.raises(ConfigError, match=r"^Pair\.low must be at most high$"):
        Pair(low=2, high=1)


def test_a_decorator_that_checks_nothing_is_refused() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Unchecked(Settings):
        count: int

    with pytest.raises(ConfigTypeError, match=r"must be decorated with .* pydantic\.dataclasses"):
        Unchecked(count=1)


@pytest.mark.parametrize("text", ["4:2", "0:4", "2-4", "2:", "a:b", "2:4:8", "", "-1:4"])
def test_bad_patterns(text: str) -> None:
    with pytest.raises(ConfigError, match=r"x must be N:M with 0 < N <= M"):
        parse_pattern("x", text)


def test_good_patterns() -> None:
    assert parse_pattern("x", "2:4") == (2, 4)
    assert parse_pattern("x", "4:4") == (4, 4)
