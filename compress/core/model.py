"""A model between stages, and its history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerBase

    from compress.core.text_encoder import TextSpec

    # What turns a row into model inputs. It is called `tokenizer` throughout, images included.
    Processor: TypeAlias = PreTrainedTokenizerBase | BaseImageProcessor

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """One entry of a model's history: what one stage did to it.

    Attributes:
        stage: teacher, student, pruner or quantizer.
        settings: the stage's own `describe()`.
        expected_zeros: for each weight that the stage pruned, how many zeros it must hold from
            now on. The pipeline counts them after the stage and again in the reloaded artifact.
        expected_shapes: for each weight that the stage resized, its shape from now on; null if it
            is gone. Replaces what earlier steps expected of that weight.
        expected_patterns: for each weight that the stage pruned in an N:M pattern, N and M: as
            [out, in], it has at most N of every M consecutive weights of a row from now on. Ended
            by a later step that expects zeros or a shape of the weight and no pattern.
        notes: facts worth keeping, such as the layers that were kept.
    """

    stage: str
    settings: Mapping[str, Any]
    expected_zeros: Mapping[str, int] = field(default_factory=dict)
    expected_shapes: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)
    expected_patterns: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


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
