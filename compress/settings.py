"""Settings: frozen dataclasses that refuse wrong types and values the moment they are built."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

S = TypeVar("S", bound="Settings")


class UserError(Exception):
    """A mistake of the user's, said in one line: what, got, allowed. Shown without a traceback."""


class ConfigError(UserError, ValueError):
    """A setting has a value that it cannot have."""


class ConfigTypeError(UserError, TypeError):
    """A setting has a value of the wrong kind."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of everything a yaml can construct. Building one checks the type of every field.

    Attributes:
        version: raised whenever the same settings would give another result than before, so that
            the stage cache forgets what older code made.
    """

    version: ClassVar[int] = 1

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
        """The class, its version and every field as JSON values: what a cache key is made of."""
        fields = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        target = f"{type(self).__module__}.{type(self).__qualname__}"
        return {"class": target, "version": self.version, **fields}

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
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and not _bool_for_int(value, hint):
        return value
    raise ConfigTypeError(f"{where} must be {_kind(hint)}, got {value!r}")


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
