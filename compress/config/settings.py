"""Settings: frozen dataclasses that validate types and values on construction."""

from __future__ import annotations

import dataclasses
import inspect
import re
from abc import ABCMeta
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, TypeVar

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass, is_pydantic_dataclass

from compress.config.errors import ConfigError, ConfigTypeError
from compress.config.explain import explained, shown
from compress.config.fields import LARGEST_SEED

S = TypeVar("S", bound="Settings")

# The libraries that use the settings have 64-bit integers.
LARGEST_INTEGER = 2**63 - 1


class Checked(ABCMeta):
    """Metaclass that turns pydantic's validation errors into one-line config errors."""

    def __call__(cls, *values: Any, **named: Any) -> Any:
        """Constructs an object.

        Raises:
            ConfigTypeError: a setting is missing, unknown, or has a value of another type.
            ConfigError: a value is out of range.
        """
        if inspect.isabstract(cls):
            raise ConfigTypeError(f"{cls.__name__} is abstract and cannot be chosen")
        if "__dataclass_fields__" in vars(cls) and not is_pydantic_dataclass(cls):
            raise ConfigTypeError(
                f"{cls.__name__} must be decorated with dataclass of pydantic.dataclasses, "
                "frozen and keyword-only: only then are its settings checked"
            )
        if values:
            raise ConfigTypeError(
                f"{cls.__name__} takes settings by name only, got {shown(values)}"
            )
        named = {name: _tuples(value) for name, value in named.items()}
        try:
            return super().__call__(**named)
        except ValidationError as error:
            raise explained(cls, named, error) from None


@dataclass(frozen=True, kw_only=True)
class Settings(metaclass=Checked):
    """Base class of everything a yaml can construct. Field types are in `fields`.

    Attributes:
        kind: stable name of the class in files and cache keys, by default the class name; the
            module path is not part of it.
        knobs: fields that a run's recipe names even if they have their default.
        version: increased whenever the same settings would give another result, so that the stage
            cache ignores results of older code.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False
    )
    kind: ClassVar[str]
    knobs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1

    def __init_subclass__(cls) -> None:
        """Sets the default kind of a subclass."""
        super().__init_subclass__()
        if "kind" not in vars(cls):
            cls.kind = cls.__name__

    def __post_init__(self) -> None:
        """Checks what field types cannot express; subclasses check combinations of fields here.

        Raises:
            ConfigError: an integer has more than 64 bits.
        """
        for field in dataclasses.fields(self):
            _check_size(f"{type(self).__name__}.{field.name}", getattr(self, field.name))

    def describe(self) -> dict[str, Any]:
        """The kind, the version and every field as JSON values, for the cache key."""
        fields = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"kind": self.kind, "version": self.version, **fields}

    def content_digest(self) -> str:
        """Digest of the files that the settings name themselves; "" if they name none.

        Settings that name files override this, so that the cache key of the stage that they are of,
        or are nested in, changes with the content.
        """
        return ""


def within(value: Any, kind: type[S], key: str) -> Iterator[tuple[str, S]]:
    """Settings of a class inside settings or a value of theirs, at any depth, itself included.

    With each its dotted key, given that of the value.
    """
    if isinstance(value, kind):
        yield key, value
    inner: Iterable[tuple[str, Any]] = ()
    if isinstance(value, Settings):
        names = (field.name for field in dataclasses.fields(value))
        inner = ((f"{key}.{name}", getattr(value, name)) for name in names)
    elif isinstance(value, dict):
        inner = ((f"{key}.{name}", each) for name, each in value.items())
    elif isinstance(value, tuple):
        inner = ((f"{key}[{place}]", each) for place, each in enumerate(value))
    for where, each in inner:
        yield from within(each, kind, where)


def check_seed(where: str, value: Any) -> None:
    """Checks that a value is a seed.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_SEED:
        raise ConfigError(f"{where} must be an integer in [0, {LARGEST_SEED}], got {shown(value)}")


def parse_pattern(where: str, pattern: str) -> tuple[int, int]:
    """Reads an N:M pattern such as "2:4": at most N of every M consecutive weights stay.

    Raises:
        ConfigError: it does not have that form, or not 0 < N <= M.
    """
    match = re.fullmatch(r"(\d+):(\d+)", pattern)
    kept, group = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < kept <= group:
        raise ConfigError(f"{where} must be N:M with 0 < N <= M such as 2:4, got {pattern}")
    return kept, group


def _tuples(value: Any) -> Any:
    """Converts lists to tuples, as the fields declare them."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _check_size(where: str, value: Any) -> None:
    """Checks that integers have at most 64 bits.

    Raises:
        ConfigError: one has more.
    """
    if isinstance(value, tuple):
        for i, item in enumerate(value):
            _check_size(f"{where}[{i}]", item)
    if isinstance(value, dict):
        for key, item in value.items():
            _check_size(f"{where}.{key}", item)
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise ConfigError(f"{where} must be an integer of 64 bits, got {shown(value)}")


def _plain(value: Any) -> Any:
    """Converts nested settings, tuples and mappings to JSON values.

    A mapping becomes a list of pairs, because a cache key sorts the keys of objects and the order
    of a mapping matters.
    """
    if isinstance(value, Settings):
        return value.describe()
    if isinstance(value, dict):
        return [[key, _plain(item)] for key, item in value.items()]
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
