"""The space of a search: its dimensions, the conditions under which they are set, its points."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import optuna
from optuna import Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler

from compress.config.errors import ConfigError

Value: TypeAlias = str | int | float
# What the active dimensions are set to. A choice is the text of an override.
Point: TypeAlias = Mapping[str, Value]

SIGNIFICANT_DIGITS = 12  # steps add up to 0.30000000000000004


@dataclass(frozen=True)
class Dimension:
    """One thing that the search decides.

    Attributes:
        key: a config group, or a setting by its dotted name.
        values: what it may be.
        when: it is set only if each of these earlier dimensions has one of the values.
    """

    key: str
    values: BaseDistribution
    when: Mapping[str, tuple[str, ...]]

    def active(self, point: Point) -> bool:
        """Whether it is set, given the dimensions before it."""
        return all(str(point.get(key)) in allowed for key, allowed in self.when.items())

    def read(self, written: Any) -> Value:
        """A value that was written down, in the type that the dimension draws, checked.

        Raises:
            ConfigError: the dimension does not have it.
        """
        try:
            match self.values:
                case IntDistribution():
                    value: Value = int(written)
                case FloatDistribution():
                    value = float(written)
                case _:
                    value = str(written).lower() if isinstance(written, bool) else str(written)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.key}={written} is not a number") from error
        self._check(value)
        return value

    def suggest(self, trial: Trial) -> Value:
        """Has Optuna draw it."""
        match self.values:
            case CategoricalDistribution(choices=choices):
                return str(trial.suggest_categorical(self.key, choices))
            case IntDistribution(low=low, high=high, step=step, log=log):
                return trial.suggest_int(self.key, low, high, step=step, log=log)
            case FloatDistribution(low=low, high=high, step=step, log=log):
                return trial.suggest_float(self.key, low, high, step=step, log=log)
        raise AssertionError(self.values)

    def every_value(self) -> list[Value] | None:
        """All that it may be; None if there is no end of them."""
        match self.values:
            case CategoricalDistribution(choices=choices):
                return [str(choice) for choice in choices]
            case IntDistribution(low=low, high=high, step=step):
                return list(range(low, high + 1, step))
            case FloatDistribution(low=low, high=high, step=float(step)):
                count = round((high - low) / step) + 1
                return [low + number * step for number in range(count)]
        return None

    def _check(self, value: Value) -> None:
        match self.values:
            case CategoricalDistribution(choices=choices):
                held = value in choices
            case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
                every = self.every_value()
                held = low <= float(value) <= high and (
                    every is None or any(math.isclose(float(value), float(v)) for v in every)
                )
        if not held:
            raise ConfigError(f"{self.key}={value} is outside of {describe_values(self.values)}")


@dataclass(frozen=True)
class Space:
    """All dimensions; one comes after those that its condition names."""

    dimensions: tuple[Dimension, ...]

    def draw(self, trial: Trial) -> Point:
        """A point, by Optuna's sampler or as it was enqueued."""
        return self._build(lambda dimension: dimension.suggest(trial))

    def random(self, seed: int) -> Point:
        """A point with a random value in every dimension."""
        return self.draw(optuna.create_study(sampler=RandomSampler(seed)).ask())

    def parse_point(self, values: Mapping[str, Any]) -> Point:
        """The point with these values, checked.

        Raises:
            ConfigError: an active dimension is missing, or one is given that is not active.
        """

        def given(dimension: Dimension) -> Value:
            if dimension.key not in values:
                raise ConfigError(f"the point {dict(values)} lacks {dimension.key}")
            return dimension.read(values[dimension.key])

        point = self._build(given)
        if unused := sorted(values.keys() - point.keys()):
            raise ConfigError(
                f"the point {dict(values)} sets {', '.join(unused)}, not active there; "
                f"dimensions are {', '.join(each.key for each in self.dimensions)}"
            )
        return point

    def points(self) -> Iterator[Point] | None:
        """Every point there is, in a fixed order; None if there is no end of them."""
        every = [dimension.every_value() for dimension in self.dimensions]
        return None if None in every else self._enumerate({}, self.dimensions)

    def _enumerate(self, before: Point, rest: Sequence[Dimension]) -> Iterator[Point]:
        if not rest:
            yield before
            return
        first, *others = rest
        if not first.active(before):
            yield from self._enumerate(before, others)
            return
        for value in first.every_value() or ():
            yield from self._enumerate({**before, first.key: value}, others)

    def _build(self, value: Callable[[Dimension], Value]) -> Point:
        point: dict[str, Value] = {}
        for dimension in self.dimensions:
            if dimension.active(point):
                point[dimension.key] = value(dimension)
        return point

    def describe(self) -> dict[str, str]:
        """Every dimension in words, to tell two spaces apart."""
        words = {}
        for dimension in self.dimensions:
            conditions = [f"{key} in {', '.join(of)}" for key, of in dimension.when.items()]
            when = f" when {' and '.join(conditions)}" if conditions else ""
            words[dimension.key] = describe_values(dimension.values) + when
        return words

    def restricted(self, has_key: Callable[[str, str, str], bool]) -> Space:
        """The space in which no setting is given to a choice that lacks it.

        Args:
            has_key: of a group, one of its choices and a key, whether the choice has that.

        Raises:
            ConfigError: no choice has a key, or a condition names one that has not.
        """
        groups = {each.key: each for each in self.dimensions if "." not in each.key}
        return Space(tuple(_bound(each, groups, has_key) for each in self.dimensions))


def point_key(point: Point) -> str:
    """The same text for equal points."""
    return json.dumps({key: overrides_value(value) for key, value in sorted(point.items())})


def differences(one: Point, other: Point) -> int:
    """How many dimensions two points differ in."""
    return sum(one.get(key) != other.get(key) for key in {*one, *other})


def overrides_of(point: Point) -> list[str]:
    """The point as Hydra takes it."""
    return [f"{key}={overrides_value(value)}" for key, value in point.items()]


def overrides_value(value: Value) -> str:
    """A value in the words of an override."""
    return f"{value:.{SIGNIFICANT_DIGITS}g}" if isinstance(value, float) else str(value)


def describe_values(values: BaseDistribution) -> str:
    """A distribution in the grammar that it was written in."""
    match values:
        case CategoricalDistribution(choices=choices):
            return f"choice({', '.join(str(choice) for choice in choices)})"
        case IntDistribution() | FloatDistribution():
            step = f", step={values.step}" if values.step not in (None, 1) else ""
            words = f"interval({values.low}, {values.high}{step})"
            words = f"int({words})" if isinstance(values, IntDistribution) else words
            return f"tag(log, {words})" if values.log else words
    raise AssertionError(values)


def _bound(
    dimension: Dimension,
    groups: Mapping[str, Dimension],
    has_key: Callable[[str, str, str], bool],
) -> Dimension:
    group = dimension.key.partition(".")[0]
    if "." not in dimension.key or group not in groups:
        return dimension
    choices = [str(choice) for choice in groups[group].every_value() or ()]
    fitting = tuple(choice for choice in choices if has_key(group, choice, dimension.key))
    asked = dimension.when.get(group, fitting)
    if lacking := [choice for choice in asked if choice not in fitting]:
        raise ConfigError(
            f"search.space.{dimension.key}: {group}={', '.join(lacking)} has no such key"
        )
    if not asked:
        raise ConfigError(
            f"search.space.{dimension.key}: no choice of {group} among {', '.join(choices)} has it"
        )
    if len(asked) == len(choices):
        return dimension
    return replace(dimension, when={**dimension.when, group: asked})
