"""Several pruners, applied one after the other.

A step's shapes are checked twice: before the run with the shapes that the earlier steps predict,
and again right before the step with the real ones.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, final

from pydantic.dataclasses import dataclass

from compress.config.construct import keyed
from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel, Pruner, StageContext
from compress.measure.sparsity import check_history
from compress.pruner.components.base import recovered
from compress.pruner.none import NoPruner
from compress.training.distillation import Distillation
from compress.transformer.stored_modules import named_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@final
@dataclass(frozen=True, kw_only=True)
class Chain(Pruner):
    """Runs several pruners. The model's history has a step for each, and one for the training.

    Attributes:
        steps: the pruners by any name.
        order: the names of the steps to run, in order; null runs all as written.
        recovery: training after the last step, with all masks and shapes held; `epochs=0` for
            none. It comes on top of each step's own.
    """

    steps: dict[str, Pruner]
    order: tuple[str, ...] | None
    recovery: Distillation

    def __post_init__(self) -> None:
        """Checks the steps and their order."""
        super().__post_init__()
        for name, step in self.steps.items():
            if isinstance(step, Chain | NoPruner):
                raise ConfigError(
                    f"Chain.steps.{name} must be a pruner other than chain and none, "
                    f"got {type(step).__name__}"
                )
        names = ", ".join(self.steps) or "nothing: there are no steps"
        order = list(self.steps) if self.order is None else list(self.order)
        if not order or len(set(order)) < len(order) or not set(order) <= set(self.steps):
            raise ConfigError(
                f"Chain.order must name one or more of the steps, each once, got {order}; "
                f"expected names from {names}"
            )

    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The skeleton after the last step; user errors name their step."""
        for name, step in self._in_order():
            with _named(name, step):
                skeleton = step.check(skeleton)
        return skeleton

    def foresees_shapes(self) -> bool:
        """Whether every step predicts its shapes."""
        return all(step.foresees_shapes() for _, step in self._in_order())

    def zeroes(self) -> bool:
        """Whether a step does."""
        return any(step.zeroes() for _, step in self._in_order())

    def parts(self) -> list[tuple[str, Pruner]]:
        """The first step, the first two, …, and itself."""
        names = [name for name, _ in self._in_order()]
        bare = replace(self, recovery=replace(self.recovery, epochs=0.0))
        parts: list[tuple[str, Pruner]] = [
            (f"pruner {count}: {name}", replace(bare, order=tuple(names[:count])))
            for count, name in enumerate(names, start=1)
        ]
        parts[-1] = (parts[-1][0], bare)
        return parts if bare == self else [*parts, ("pruner: recovery", self)]

    def prune(self, model: CompressedModel, ctx: StageContext) -> CompressedModel:
        """The pruned model; user errors name their step."""
        for name, step in self._in_order():
            with _named(name, step):
                step.check(copy.deepcopy(model.module).to("meta"))
                model = step.prune(model, ctx)
                check_history(model.history, named_weights(model.module))
        return recovered(model, self.recovery, self.describe(), ctx)

    def _in_order(self) -> Iterator[tuple[str, Pruner]]:
        for name in self.order or self.steps:
            yield name, self.steps[name]


@contextmanager
def _named(name: str, step: Pruner) -> Iterator[None]:
    """Adds the name of a step to its user errors."""
    key = f"Chain.steps.{name}"
    try:
        with keyed(key, type(step)):
            yield
    except UserError as error:
        words = str(error)
        raise type(error)(words if words.startswith(key) else f"{key}: {words}") from error
