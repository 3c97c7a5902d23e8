"""The shapes of students that a table of costs covers, and those of them that are measured."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from compress.config.compose import literal
from compress.config.errors import ConfigError
from compress.config.explain import shown
from compress.config.fields import NotNegative, OneOf, PositiveInt
from compress.config.settings import Settings
from compress.shaping.shape import CUTS, Shape
from compress.transformer.activations import ACTIVATIONS

WHERE = "costs.space"
DRAWN = 16  # shapes of one Latin hypercube
NUMBERS = Annotated[tuple[PositiveInt | None, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Sizes:
    """The sizes of one student: its depth and those of a `Shape`; None keeps the teacher's."""

    layers: int
    hidden: int | None = None
    heads: int | None = None
    neurons: int | None = None
    embedding: int | None = None
    activation: str | None = None
    vocabulary: int | None = None
    positions: int | None = None

    def shape(self) -> Shape:
        """The cuts beside that of the vocabulary, which depends on rows."""
        none = dict.fromkeys(("vocabulary", *CUTS))
        return Shape(**{**none, **self.cuts()}, importance="l1")

    def cuts(self) -> dict[str, Any]:
        """The sizes of those cuts."""
        asked = {name: getattr(self, name) for name in CUTS}
        return {name: size for name, size in asked.items() if size is not None}

    def overrides(self) -> list[str]:
        """What gives a run a student of these sizes."""
        cuts = {k: v for k, v in asdict(self).items() if k != "layers" and v is not None}
        words = [f"student.shape.{name}={value}" for name, value in cuts.items()]
        return ["student=layers", f"student.keep={self.layers}", *words]


@settings(frozen=True, kw_only=True)
class Space(Settings):
    """Values of each size of a student, all combinations of which are shapes; null: the teacher's.

    Attributes:
        layers: transformer layers, evenly spaced in the teacher.
        hidden: width of the residual stream.
        heads: attention heads per layer.
        neurons: width of the feed-forward.
        embedding: width of a factorized token table; null for a plain one.
        activation: activation function of the feed-forward.
        vocabulary: tokens in all.
        positions: tokens of the longest text.
    """

    layers: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    hidden: NUMBERS
    heads: NUMBERS
    neurons: NUMBERS
    embedding: NUMBERS
    activation: Annotated[
        tuple[Annotated[str, OneOf(ACTIVATIONS)] | None, ...], Field(min_length=1)
    ]
    vocabulary: NUMBERS
    positions: NUMBERS

    def __post_init__(self) -> None:
        """Checks that the values of a size differ."""
        super().__post_init__()
        for name, values in self.axes().items():
            if len(set(values)) < len(values):
                raise ConfigError(f"Space.{name} must list each value once, got {list(values)}")

    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The values of each size, by name."""
        return {field.name: getattr(self, field.name) for field in fields(Sizes)}

    def largest(self) -> Sizes:
        """The largest value of each size, of several activations the first."""
        return Sizes(**{name: _ordered(values)[-1] for name, values in self.axes().items()})

    def grid(self) -> Iterator[Sizes]:
        """Every shape, but for tables that would be wider than the residual stream."""
        for values in itertools.product(*self.axes().values()):
            sizes = Sizes(*values)
            if _can_be(sizes):
                yield sizes

    def corners(self) -> list[Sizes]:
        """The largest shape, the smallest, and the largest with one size at its smallest."""
        largest = self.largest()
        smallest = {name: _ordered(values)[0] for name, values in self.axes().items()}
        sides = [replace(largest, **{name: value}) for name, value in smallest.items()]
        return list(filter(_can_be, dict.fromkeys([largest, Sizes(**smallest), *sides])))

    def check(self, sizes: Sizes) -> None:
        """Checks that sizes lie between those of the space.

        Raises:
            ConfigError: one does not, so that a prediction would be a guess.
        """
        for name, values in self.axes().items():
            asked = getattr(sizes, name)
            numbers = [value for value in values if isinstance(value, int)]
            if asked in values:
                continue
            # Null is the teacher's own size, the largest there is, but for the embedding's.
            most = math.inf if None in values and name != "embedding" else max(numbers, default=0)
            if isinstance(asked, int) and min(numbers, default=math.inf) <= asked <= most:
                continue
            raise ConfigError(
                f"{name} must be within {WHERE}.{name}={_listed(values)}, got {shown(asked)}"
            )


@settings(frozen=True, kw_only=True)
class Costs(Settings):
    """How a table of costs is measured.

    Attributes:
        minutes: time to measure shapes, including that of earlier calls; what a fit needs, the
            corners of the space, is measured however long it takes; 0 only reads what there is.
        rounds: at each of the benchmark's shapes, in turns with the teacher.
        space: shapes that the table covers.
    """

    minutes: NotNegative
    rounds: PositiveInt
    space: Space


def plan(space: Space, seed: int) -> Iterator[Sizes]:
    """The shapes of a space in the order in which they are measured, each once.

    First corners, then Latin hypercubes (McKay, Beckman, Conover, Technometrics 21, 1979), drawn
    from a seed; a longer plan begins with a shorter one.
    """
    count = sum(1 for _ in space.grid())
    seen: set[Sizes] = set()
    for sizes in itertools.chain(space.corners(), _draws(space, seed)):
        if _can_be(sizes) and sizes not in seen:
            seen.add(sizes)
            yield sizes
        if len(seen) == count:
            return


def latin_hypercube(
    count: int, axes: int, generator: np.random.Generator
) -> Float[np.ndarray, "count axes"]:
    """Points in the unit cube: of each axis every one of `count` equal intervals has one."""
    ranks = generator.random((count, axes)).argsort(axis=0)
    drawn: Float[np.ndarray, "count axes"] = (ranks + generator.random((count, axes))) / count
    return drawn


def _draws(space: Space, seed: int) -> Iterator[Sizes]:
    """Shapes without end, some of them more than once."""
    generator, axes = np.random.default_rng(seed), space.axes()
    while True:
        for point in latin_hypercube(DRAWN, len(axes), generator):
            pairs = zip(axes.items(), point, strict=True)
            yield Sizes(**{name: v[int(place * len(v))] for (name, v), place in pairs})


def _ordered(values: tuple[Any, ...]) -> list[Any]:
    """Numbers from the smallest, the teacher's own size last; names as they are, the first last."""
    if any(isinstance(value, str) for value in values):
        return list(reversed(values))
    return sorted(values, key=lambda value: (value is None, value))


def _can_be(sizes: Sizes) -> bool:
    if sizes.embedding is None or sizes.hidden is None:
        return True
    return sizes.embedding <= sizes.hidden


def _listed(values: tuple[Any, ...]) -> str:
    return f"[{','.join(literal(value) for value in values)}]"
