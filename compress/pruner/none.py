"""No pruning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from compress.interfaces import CompressedModel, Pruner, StageContext

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class NoPruner(Pruner):
    """Returns the model unchanged."""

    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The same skeleton."""
        return skeleton

    def parts(self) -> list[tuple[str, Pruner]]:
        """None."""
        return []

    def prune(self, model: CompressedModel, ctx: StageContext) -> CompressedModel:
        """The model."""
        return model
