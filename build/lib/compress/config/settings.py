"""Settings: frozen dataclasses that refuse wrong types and values the moment they are built."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import types
import typing
from abc import ABCMeta
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from compress.config.errors import ConfigError, ConfigTypeError

S = TypeVar("S", bound="Settings")

# What random generators take: numpy's legacy one has the narrowest seed, of 32 bits.
LARGEST_SEED = 2**32 - 1
# What the libraries behind the settings take: their integers have 64 bits.
LARGEST_INTEGER = 2**63 - 1
SHOWN = 80  # characters of a refused value, which may be a page long


class Checked(ABCMeta):
    """Holds a call's arguments against the fields, and the finished object against all of numbers.

    Both are beyond `__post_init__`: it runs when all arguments are there, and that of a subclass,
    which knows the range of a field and so the better words, runs after that of `Settings`.
    """

    def __call__(cls, *values: Any, **named: Any) -> Any:
        """Builds an object.

        Raises:
            ConfigTypeError: a setting is missing, is not one of the class, or has no name.
            ConfigError: a number is not finite.
        """
        _check_names(cls, values, named)
        made = super().__call__(**named)
        for name in named:
            if not _is_finite(value := getattr(made, name)):
                raise ConfigError(f"{cls.__name__}.{name} must be finite, got {shown(value)}")
        return made


@dataclass(frozen=True, kw_only=True)
class Settings(metaclass=Checked):
    """Base of everything a yaml can construct. Building one checks the type of every field.

    Attributes:
        kind: the name of the class in files and cache keys. Its own unless it says another one;
            the module that it stands in is no part of it.
        knobs: fields that a run's recipe names even where they were not set.
        version: raised whenever the same settings would give another result than before, so that
            the stage cache forgets what older code made.
    """

    kind: ClassVar[str]
    knobs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1

    def __init_subclass__(cls) -> None:
        """Gives the class its kind."""
        super().__init_subclass__()
        if "kind" not in vars(cls):
            cls.kind = cls.__name__

    def __post_init__(self) -> None:
        """Checks the type of every field, turns lists into tuples and copies mappings.

        Raises:
            ConfigTypeError: a field holds a value of another kind than it declares.
        """
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            where = f"{type(self).__name__}.{field.name}"
            value = _typed(where, getattr(self, field.name), hints[field.name])
            object.__setattr__(self, field.name, value)

    def describe(self) -> dict[str, Any]:
        """The kind, the version and every field as JSON values: what a cache key is made of."""
        fields = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"kind": self.kind, "version": self.version, **fields}

    def content_digest(self) -> str:
        """Digest of the files that the settings point to; "" when they point to none.

        A path says where something was, not what it was: a stage that reads files overrides this,
        so that the stage cache notices when they change.
        """
        return ""


def within(value: Any, kind: type[S]) -> Iterator[S]:
    """The settings of a kind among these, however deep; these themselves too.

    Args:
        value: of a field, or settings as a whole.
        kind: a class of settings.
    """
    if isinstance(value, kind):
        yield value
    inner: Iterable[Any] = ()
    if isinstance(value, Settings):
        inner = (getattr(value, field.name) for field in dataclasses.fields(value))
    elif isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, tuple):
        inner = value
    for each in inner:
        yield from within(each, kind)


def shown(value: Any) -> str:
    """A value as an error message quotes it: its start is enough to find it."""
    words = repr(value)
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}…"


def check_seed(where: str, value: Any) -> None:
    """Checks that a value is a seed.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_SEED:
        raise ConfigError(f"{where} must be an integer in [0, {LARGEST_SEED}], got {shown(value)}")


def check_fraction(settings: Settings, name: str, *, closed: bool = False) -> None:
    """Checks that a field lies in [0, 1), or in [0, 1] when `closed`.

    Raises:
        ConfigError: it does not.
    """
    value = getattr(settings, name)
    if not 0 <= value <= 1 or (value == 1 and not closed):
        allowed = "[0, 1]" if closed else "[0, 1)"
        raise ConfigError(f"{type(settings).__name__}.{name} must be in {allowed}, got {value}")


def check_positive(settings: Settings, *names: str) -> None:
    """Checks that fields are finite and greater than zero.

    Raises:
        ConfigError: one is not.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(f"{type(settings).__name__}.{name} must be > 0, got {value}")


def check_not_negative(settings: Settings, *names: str) -> None:
    """Checks that fields are finite and not below zero.

    Raises:
        ConfigError: one is not.
    """
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value < float("inf"):
            raise ConfigError(f"{type(settings).__name__}.{name} must be >= 0, got {value}")


def check_choice(settings: Settings, name: str, allowed: tuple[str, ...]) -> None:
    """Checks that a field is one of the allowed words.

    Raises:
        ConfigError: it is not.
    """
    value = getattr(settings, name)
    if value not in allowed:
        choices = ", ".join(allowed)
        raise ConfigError(f"{type(settings).__name__}.{name} must be one of {choices}; got {value}")


def parse_pattern(where: str, pattern: str) -> tuple[int, int]:
    """Reads an N:M pattern such as "2:4": at most N of every M consecutive weights stay.

    Raises:
        ConfigError: it is not of that form, or not 0 < N <= M.
    """
    match = re.fullmatch(r"(\d+):(\d+)", pattern)
    kept, group = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < kept <= group:
        raise ConfigError(f"{where} must be N:M with 0 < N <= M such as 2:4, got {pattern}")
    return kept, group


def _typed(where: str, value: Any, hint: Any) -> Any:
    """The value as the hint wants it (a list becomes a tuple), or a ConfigTypeError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in arguments:
            try:
                return _typed(where, value, option)
            except ConfigTypeError:
                continue
    elif origin is tuple and isinstance(value, (list, tuple)):
        item_hints = [arguments[0]] * len(value) if arguments[-1] is ... else list(arguments)
        if len(item_hints) == len(value):
            pairs = zip(value, item_hints, strict=True)
            return tuple(_typed(f"{where}[{i}]", *pair) for i, pair in enumerate(pairs))
    elif origin is dict and isinstance(value, dict):
        return {
            _typed(f"{where}, its key", key, arguments[0]): _typed(
                f"{where}.{key}", item, arguments[1]
            )
            for key, item in value.items()
        }
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _float(where, value)
    elif hint is int and isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise ConfigError(f"{where} must be an integer of 64 bits, got {shown(value)}")
    elif isinstance(hint, type) and isinstance(value, hint) and not _bool_for_int(value, hint):
        return value
    raise ConfigTypeError(f"{where} must be {_kind(hint)}, got {shown(value)}")


def _float(where: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise ConfigError(f"{where} must be finite, got {shown(value)}") from error


def _is_finite(value: Any) -> bool:
    """Whether every number in a field's value is; nested settings have seen to theirs."""
    if isinstance(value, tuple):
        return all(map(_is_finite, value))
    if isinstance(value, dict):
        return all(_is_finite(item) for pair in value.items() for item in pair)
    return not isinstance(value, float) or math.isfinite(value)


def _check_names(cls: type, values: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Checks that there is a value for each field that needs one, and for nothing else."""
    if inspect.isabstract(cls):
        raise ConfigTypeError(
            f"{cls.__name__} is abstract: it is what choices are made of, not one"
        )
    if values:
        raise ConfigTypeError(f"{cls.__name__} takes settings by name only, got {shown(values)}")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    if unknown := [name for name in named if name not in fields]:
        allowed = ", ".join(fields) or "none"
        raise ConfigTypeError(
            f"{cls.__name__} has no setting {', '.join(unknown)}; its settings: {allowed}"
        )
    missing = [name for name in fields if name not in named and _needed(fields[name])]
    if missing:
        raise ConfigTypeError(f"{cls.__name__} lacks a value for {', '.join(missing)}")


def _needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def _bool_for_int(value: Any, hint: type) -> bool:
    """Whether a bool stands where a number is wanted: Python takes it for one, we do not."""
    return isinstance(value, bool) and hint is not bool


def _kind(hint: Any) -> str:
    """A type in words, for error messages."""
    words = {float: "a number", int: "an integer", str: "text", bool: "true or false"}
    words[types.NoneType] = "null"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_kind(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)
        if inner[-1] is ...:
            return f"a list ({_kind(inner[0])} each)"
        return f"a list of {len(inner)} ({', '.join(_kind(item) for item in inner)})"
    if typing.get_origin(hint) is dict:
        return f"a mapping ({_kind(typing.get_args(hint)[1])} each)"
    return words.get(hint) or f"a {hint.__name__}"


def _plain(value: Any) -> Any:
    """Nested settings, tuples and mappings as JSON values.

    A mapping becomes a list of pairs: a cache key sorts the keys of objects, so one that differs
    from another in nothing but its order would pass for it.
    """
    if isinstance(value, Settings):
        return value.describe()
    if isinstance(value, dict):
        return [[key, _plain(item)] for key, item in value.items()]
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
