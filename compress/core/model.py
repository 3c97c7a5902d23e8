"""A model between stages, and its history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from compress.records.step import Step

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerBase

    from compress.serve.texts import TextSpec

    # What turns a row into model inputs. It is called `tokenizer` throughout, images included.
    Processor: TypeAlias = PreTrainedTokenizerBase | BaseImageProcessor

T = TypeVar("T")


@dataclass(frozen=True)
class Later(Generic[T]):
    """A factory of a value, called at first access."""

    make: Callable[[], T]


class OnDemand(Generic[T]):
    """Descriptor of a dataclass field that may be `Later`: `value: OnDemand[T] = OnDemand()`."""

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


@dataclass(frozen=True)
class CompressedModel:
    """A model between stages. A stage returns a new one and does not change its input.

    Attributes:
        module: like the tokenizer, read from the disk when a stage first wants it.
        digest: identifies the model's recipe; models with equal digests have equal weights.
        folder: where the stage store keeps it.
        texts: how it tokenizes texts once it is exported; null between stages.
    """

    module: OnDemand[PreTrainedModel] = OnDemand()
    tokenizer: OnDemand[Processor] = OnDemand()
    # Mypy takes the descriptors for defaults.
    history: tuple[Step, ...]  # type: ignore[misc]
    digest: str = ""
    folder: Path | None = None
    texts: TextSpec | None = None

    def then(self, module: PreTrainedModel, step: Step) -> CompressedModel:
        """The result of a stage on this model, not yet stored."""
        history = (*self.history, step)
        return replace(self, module=module, history=history, digest="", folder=None)
