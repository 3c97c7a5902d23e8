"""Base class of what adds rows to those that a distillation learns from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import torch
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, UserError
from compress.config.fields import PositiveInt
from compress.config.settings import Settings
from compress.interfaces import CompressedModel
from compress.task.components.embedded_rows import EmbeddedSplit
from compress.task.components.text import TextSplit
from compress.transformer.pretrained import head_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Split

READERS = ("classifier", "embedder")  # heads of models that read a text as a whole


@dataclass(frozen=True, kw_only=True)
class Augmentation(Settings, ABC):
    """Adds changed copies of each text, under the label of the text.

    In pairs of texts both are changed, each in itself. The teacher's logits are those of the copy.

    Attributes:
        copies: number of copies per text.
    """

    copies: PositiveInt

    @abstractmethod
    def changed(
        self, texts: Sequence[str], teacher: CompressedModel, generator: torch.Generator
    ) -> list[str]:
        """All first copies, then all second ones, and so on."""

    def check(self, teacher: PreTrainedModel) -> None:
        """Raises a ConfigError if a model or skeleton does not classify or embed texts."""
        name = type(teacher).__name__
        if teacher.main_input_name != "input_ids":
            raise ConfigError(
                f"{self.kind} augments texts, but {name} reads {teacher.main_input_name}"
            )
        if head_of(teacher) not in READERS:
            raise ConfigError(f"{self.kind} augments rows of texts, but {name} reads windows")

    @final
    def augment(self, rows: Split, teacher: CompressedModel, seed: int) -> Split:
        """The rows, then all first copies, then all second ones.

        Raises:
            UserError: the rows are not plain texts, or the teacher's tokenizer is not supported.
        """
        if not isinstance(rows, (TextSplit, EmbeddedSplit)):
            raise UserError(f"{self.kind} augments texts, got {type(rows).__name__}: {rows.name}")
        generator = torch.Generator().manual_seed(seed)
        columns = [self.changed(column, teacher, generator) for column in rows.columns]
        name = f"{rows.name}, with {self.copies} changed copies of each"
        return rows.extended(name, columns)
