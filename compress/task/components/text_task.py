"""Base class of the tasks whose rows are texts or text pairs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, final

import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.fields import PositiveInt
from compress.records.schema import TransferText
from compress.task.components.leaks import disjoint
from compress.task.components.sampling import SampledTask, check_reads_tokens
from compress.task.components.text import TextSplit
from compress.task.components.transfer import HELD_OUT, NoTransfer, Transfer

ROLES = (*HELD_OUT, "train")  # of a text in several splits the first one keeps it

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class TextTask(SampledTask, ABC):
    """A task whose rows are texts.

    No text is in two splits, in whatever spelling: evaluation keeps it, then validation.

    Attributes:
        max_length: rows are truncated to this many tokens.
        transfer: texts without labels that students and recovery trainings learn from; chosen by
            `task/transfer=…`.
    """

    max_length: PositiveInt
    transfer: Transfer

    @property
    @abstractmethod
    def texts_per_row(self) -> int:
        """1, or 2 for text pairs."""

    @abstractmethod
    def check_rows(self) -> None:
        """Raises a UserError if the labeled rows cannot be read, without reading them all."""

    @final
    def check(self) -> None:
        """Raises a UserError if labeled rows or transfer text cannot be read, or do not go."""
        self.check_rows()
        self.transfer.check(self.texts_per_row)

    @final
    def check_model(self, model: PreTrainedModel) -> None:
        """Raises a ConfigError if a model does not read text, or not `max_length` tokens."""
        check_reads_tokens(self, model, max_length=self.max_length)

    @final
    def has_unlabeled(self) -> bool:
        """Whether there is transfer text."""
        return not isinstance(self.transfer, NoTransfer)

    @final
    def make_split(self, role: str, name: str, rows: pd.DataFrame) -> TextSplit:
        """A split of rows with the columns `text`, `second` for pairs, and `label`."""
        return TextSplit(name, rows, self.max_length)

    @final
    def separated(
        self, splits: Mapping[str, pd.DataFrame]
    ) -> tuple[Mapping[str, pd.DataFrame], str]:
        """The splits without texts in common, and what was dropped, in words."""
        return disjoint({role: splits[role] for role in ROLES})

    @final
    def unlabeled(
        self, splits: Mapping[str, pd.DataFrame]
    ) -> tuple[TextSplit, TransferText] | None:
        """The transfer text, without any row of the splits; and its description."""
        found = self.transfer.gather(splits, self.seed)
        if found is None:
            return None
        split = TextSplit(found.source, found.rows, self.max_length)
        return split, found.described(split.digest)
