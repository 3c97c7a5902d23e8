"""Lazily computed dataclass fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Later(Generic[T]):
    """A factory of a value, called at first access."""

    make: Callable[[], T]


class OnDemand(Generic[T]):
    """The descriptor of such a field: `value: OnDemand[T] = OnDemand()`."""

    def __set_name__(self, owner: type, name: str) -> None:
        """Stores the attribute's name."""
        self._name = f"_{name}"

    def __get__(self, instance: object | None, owner: type) -> T:
        """The value, computed at first access."""
        if instance is None:
            # A dataclass asks the class for the field's default: there is none.
            raise AttributeError(self._name)
        kept: dict[str, Any] = instance.__dict__
        if isinstance(kept[self._name], Later):
            kept[self._name] = kept[self._name].make()
        value: T = kept[self._name]
        return value

    def __set__(self, instance: object, value: T | Later[T]) -> None:
        """Stores a value or its factory."""
        instance.__dict__[self._name] = value
