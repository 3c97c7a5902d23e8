"""Settings: frozen dataclasses that refuse wrong types and values the moment they are built."""

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

# What the libraries behind the settings take: their integers have 64 bits.
LARGEST_INTEGER = 2**63 - 1


class Checked(ABCMeta):
    """Says in one line, in the words of a config, what pydantic finds wrong with the arguments."""

    def __call__(cls, *values: Any, **named: Any) -> Any:
        """Builds an object.

        Raises:
            ConfigTypeError: a setting is missing, is not one of the class, or has a value of
                another kind than it declares.
            ConfigError: a value is outside what its setting may be.
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
    """Base of everything a yaml can construct. A field's type says what it may hold: see `fields`.

    Attributes:
        kind: the name of the class in files and cache keys. Its own unless it says another one;
            the module that it stands in is no part of it.
        knobs: fields that a run's recipe names even where they were not set.
        version: raised whenever the same settings would give another result than before, so that
            the stage cache forgets what older code made.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False
    )
    kind: ClassVar[str]
    knobs: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1

    def __init_subclass__(cls) -> None:
        """Gives the class its kind."""
        super().__init_subclass__()
        if "kind" not in vars(cls):
            cls.kind = cls.__name__

    def __post_init__(self) -> None:
        """Checks what the types of the fields cannot; subclasses check pairs of fields here.

        Raises:
            ConfigError: an integer has more than 64 bits.
        """
        for field in dataclasses.fields(self):
            _check_size(f"{type(self).__name__}.{field.name}", getattr(self, field.name))

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
        ConfigError: it is not of that form, or not 0 < N <= M.
    """
    match = re.fullmatch(r"(\d+):(\d+)", pattern)
    kept, group = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < kept <= group:
        raise ConfigError(f"{where} must be N:M with 0 < N <= M such as 2:4, got {pattern}")
    return kept, group


def _tuples(value: Any) -> Any:
    """Lists as tuples, as the fields declare them."""
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
