"""The space of a search: dimensions, their conditions, and points."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
# Values of the active dimensions. A choice is the text of an override.
Point: TypeAlias = Mapping[str, Value]

SIGNIFICANT_DIGITS = 12  # hides rounding errors such as 0.30000000000000004


@dataclass(frozen=True)
class Dimension:
    """One dimension of the search space.

    Attributes:
        key: a config group, or a setting by its dotted name.
        values: distribution of its values.
        when: it is active only if each of these earlier dimensions has one of the values.
    """

    key: str
    values: BaseDistribution
    when: Mapping[str, tuple[str, ...]]

    def active(self, point: Point) -> bool:
        """Whether it is active, given the values of the dimensions before it."""
        return all(str(point.get(key)) in allowed for key, allowed in self.when.items())

    def read(self, written: Any) -> Value:
        """Parses and checks a value.

        Raises:
            ConfigError: the value is outside the dimension.
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
        match self.values:
            case CategoricalDistribution(choices=choices):
                held = value in choices
            case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
                every = self.every_value()
                held = low <= float(value) <= high and (
                    every is None or any(math.isclose(float(value), float(v)) for v in every)
                )
        if not held:
            raise ConfigError(f"{self.key}={value} must be in {describe_values(self.values)}")
        return value

    def suggest(self, trial: Trial) -> Value:
        """Value suggested by an Optuna trial."""
        match self.values:
            case CategoricalDistribution(choices=choices):
                return str(trial.suggest_categorical(self.key, choices))
            case IntDistribution(low=low, high=high, step=step, log=log):
                return trial.suggest_int(self.key, low, high, step=step, log=log)
            case FloatDistribution(low=low, high=high, step=step, log=log):
                return trial.suggest_float(self.key, low, high, step=step, log=log)
        raise AssertionError(self.values)

    def every_value(self) -> list[Value] | None:
        """All values; None if there are infinitely many."""
        match self.values:
            case CategoricalDistribution(choices=choices):
                return [str(choice) for choice in choices]
            case IntDistribution(low=low, high=high, step=step):
                return list(range(low, high + 1, step))
            case FloatDistribution(low=low, high=high, step=float(step)):
                count = round((high - low) / step) + 1
                return [low + number * step for number in range(count)]
        return None


@dataclass(frozen=True)
class Space:
    """The dimensions, each after those that its condition names."""

    dimensions: tuple[Dimension, ...]

    def draw(self, trial: Trial) -> Point:
        """Point suggested by an Optuna trial."""
        return self._build(lambda dimension: dimension.suggest(trial))

    def random(self, seed: int) -> Point:
        """Point with a random value in every active dimension."""
        return self.draw(optuna.create_study(sampler=RandomSampler(seed)).ask())

    def parse_point(self, values: Mapping[str, Any]) -> Point:
        """Parses and checks a point.

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
        """All points in a fixed order; None if there are infinitely many."""
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
        """Text of every dimension by key; equal for equal spaces."""
        words = {}
        for dimension in self.dimensions:
            conditions = [f"{key} in {', '.join(of)}" for key, of in dimension.when.items()]
            when = f" when {' and '.join(conditions)}" if conditions else ""
            words[dimension.key] = describe_values(dimension.values) + when
        return words

    def lacking(
        self, choices: Mapping[str, str], has_key: Callable[[str, str, str], bool]
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The dimensions that are settings no choice has, each with the choices of its group.

        Args:
            choices: by group, where it is no dimension.
            has_key: whether a choice of a group has a key, from (group, choice, key).
        """
        groups = {each.key: each for each in self.dimensions if "." not in each.key}
        # A choice within a group, such as task/transfer, brings settings of its own.
        within = tuple(f"{each.replace('/', '.')}." for each in groups if "/" in each)
        for dimension in self.dimensions:
            if dimension.key.startswith(within):
                continue
            group = dimension.key.partition(".")[0]
            values = groups[group].every_value() if group in groups else (choices.get(group),)
            found = tuple(str(value) for value in values or () if value is not None)
            if "." not in dimension.key or not found:
                continue
            if not any(has_key(group, choice, dimension.key) for choice in found):
                yield dimension.key, found

    def without(self, keys: Collection[str]) -> Space:
        """The space without some dimensions."""
        return Space(tuple(each for each in self.dimensions if each.key not in keys))

    def restricted(self, has_key: Callable[[str, str, str], bool]) -> Space:
        """The space restricted so that a setting is active only for choices that have it.

        Args:
            has_key: whether a choice of a group has a key, from (group, choice, key).

        Raises:
            ConfigError: no choice has a key, or a condition names a choice without it.
        """
        groups = {each.key: each for each in self.dimensions if "." not in each.key}
        return Space(tuple(_restricted(each, groups, has_key) for each in self.dimensions))


def point_key(point: Point) -> str:
    """Key of a point, equal for equal points."""
    return json.dumps({key: overrides_value(value) for key, value in sorted(point.items())})


def differences(one: Point, other: Point) -> int:
    """Number of dimensions in which two points differ."""
    return sum(one.get(key) != other.get(key) for key in {*one, *other})


def overrides_of(point: Point) -> list[str]:
    """Hydra overrides of a point."""
    return [f"{key}={overrides_value(value)}" for key, value in point.items()]


def overrides_value(value: Value) -> str:
    """Text of a value in an override."""
    return f"{value:.{SIGNIFICANT_DIGITS}g}" if isinstance(value, float) else str(value)


def describe_values(values: BaseDistribution) -> str:
    """Text of a distribution in the grammar of search.space."""
    match values:
        case CategoricalDistribution(choices=choices):
            return f"choice({', '.join(str(choice) for choice in choices)})"
        case IntDistribution() | FloatDistribution():
            step = f", step={values.step}" if values.step not in (None, 1) else ""
            words = f"interval({values.low}, {values.high}{step})"
            words = f"int({words})" if isinstance(values, IntDistribution) else words
            return f"tag(log, {words})" if values.log else words
    raise AssertionError(values)


def no_choice_has(key: str, choices: Sequence[str]) -> ConfigError:
    """The error of a dimension that is a setting of none of its group's choices."""
    group, among = key.partition(".")[0], ", ".join(choices)
    return ConfigError(f"search.space.{key}: no choice of {group} among {among} has it")


def _restricted(
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
        raise no_choice_has(dimension.key, choices)
    if len(asked) == len(choices):
        return dimension
    return replace(dimension, when={**dimension.when, group: asked})
