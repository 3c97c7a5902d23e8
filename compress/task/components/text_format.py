"""How a user's table of texts is read."""

from __future__ import annotations

import io

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.settings import Settings
from compress.task.components.rows import AUTO


@dataclass(frozen=True, kw_only=True)
class TextFormat(Settings):
    """How a CSV or JSON lines file is read.

    Attributes:
        delimiter: one character or "tab"; "auto" selects one that gives a header with the columns.
        encoding: Python's name of it; "auto" follows the byte order mark, or else is UTF-8.
    """

    delimiter: str
    encoding: str

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.delimiter != AUTO and (len(self.character) != 1 or self.character in '"\r\n'):
            raise ConfigError(
                f"TextFormat.delimiter must be auto, tab or one character, got {self.delimiter!r}"
            )
        try:
            # Unlike bytes.decode, it also looks at the name where there is nothing to decode.
            io.TextIOWrapper(io.BytesIO(), "utf-8" if self.encoding == AUTO else self.encoding)
        except LookupError as error:
            raise ConfigError(
                "TextFormat.encoding must be auto or a text encoding such as utf-8 or latin-1, got "
                f"{self.encoding!r}"
            ) from error

    @property
    def character(self) -> str:
        """The delimiter itself, or "auto"."""
        return "\t" if self.delimiter == "tab" else self.delimiter
