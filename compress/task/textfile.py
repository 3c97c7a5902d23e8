"""Language modeling on a custom text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import final

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.task.components.delimited import read_text
from compress.task.components.language import ENCODING, JOIN, LanguageTask, Passage, check_file
from compress.task.components.splits import HeldOut


@final
@dataclass(frozen=True, kw_only=True)
class TextFile(LanguageTask):
    """A custom text in UTF-8 files.

    Attributes:
        path: the file, or several that are concatenated in this order.
        split: fractions of the text's characters: the evaluation text is the end, the validation
            text what is before it.
    """

    path: str | tuple[str, ...]
    split: HeldOut

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if not self._paths:
            raise ConfigError("TextFile.path must be a file or several, got none")
        if len(set(self._paths)) < len(self._paths):
            names = ", ".join(map(str, self._paths))
            raise ConfigError(
                f"TextFile.path must name each file once, got {names}: what is trained on would be "
                "evaluated on"
            )

    @property
    def _paths(self) -> list[Path]:
        return [Path(path) for path in ([self.path] if isinstance(self.path, str) else self.path)]

    def check(self) -> None:
        """Raises a UserError if a file is absent."""
        for path in self._paths:
            check_file(path)

    def passages(self) -> tuple[Mapping[str, Passage], str]:
        """Three consecutive parts of the text, split at line ends."""
        text = JOIN.join(read_text(path, ENCODING) for path in self._paths)
        shares = self.split.shares
        second = line_end(text, 1 - shares["evaluation"], len(text))
        first = line_end(text, 1 - sum(shares.values()), second)
        names = ", ".join(path.name for path in self._paths)
        whole = f"{names} ({len(text):,} characters)"
        return {
            "train": Passage(f"the beginning of {names}", text[:first]),
            "validation": Passage(f"{shares['validation']:.0%} of {names}", text[first:second]),
            "evaluation": Passage(f"the last {shares['evaluation']:.0%} of {names}", text[second:]),
        }, whole


def line_end(text: str, share: float, end: int) -> int:
    """The first line end after a fraction of a text and before an end, or else the exact offset."""
    place = round(share * len(text))
    return text.find("\n", place, end - 1) + 1 or place
