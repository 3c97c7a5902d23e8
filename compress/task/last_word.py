"""The last word of your own texts, as in LAMBADA."""

from __future__ import annotations

import re
from typing import Any, final

import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.errors import UserError
from compress.task.components.ending_rows import Question
from compress.task.components.question_file import QuestionFile

LAST_WORD = re.compile(r"(.*\S)(\s+\S+)\s*", re.DOTALL)


@final
@dataclass(frozen=True, kw_only=True)
class LastWord(QuestionFile):
    """Texts whose last word is to be predicted; it keeps the space before it.

    Paperno et al., "The LAMBADA dataset", arXiv:1606.06031, section 2.
    """

    @property
    def several(self) -> bool:
        """There is one ending."""
        return False

    def question(self, row: Any, text: str, fields: pd.Series) -> Question:
        """The text up to its last word, and that word.

        Raises:
            UserError: the text has no more than one word.
        """
        parts = LAST_WORD.fullmatch(text)
        if parts is None:
            raise UserError(f"{self.path}: row {row} has one word, expected a text before it")
        return Question(parts[1], (parts[2],), 0, (len(parts[2].strip()),))
