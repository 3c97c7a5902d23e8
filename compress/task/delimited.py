"""Delimited text, such as CSV and TSV: bytes to fields, and nothing that does not fit let through.

Rows are counted from 1, the header not among them; lines are counted as an editor shows them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from compress.settings import UserError
from compress.sources import first_line


def read_text(path: Path, encoding: str) -> str:
    """A file's text.

    Raises:
        UserError: the file cannot be read, or a byte does not belong to the encoding; says which.
    """
    try:
        return decoded(str(path), path.read_bytes(), encoding)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def decoded(where: str, content: bytes, encoding: str) -> str:
    """The text that bytes stand for.

    Raises:
        UserError: a byte does not belong to the encoding; says which and in what line.
    """
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{where}: byte 0x{content[error.start]:02x} at offset {error.start} (line {line}) is "
            f"no {encoding}"
        ) from error
    except UnicodeError as error:
        raise UserError(f"{where} is no {encoding}: {first_line(error)}") from error


def split_fields(where: str, text: str, delimiter: str, *, quoted: bool) -> list[list[str]]:
    """The fields of each line that is not blank.

    Args:
        where: names the text in errors.
        text: with lines that end in any way.
        delimiter: one character.
        quoted: whether double quotes hold fields together; otherwise they are just characters.

    Raises:
        UserError: a quote is never closed, or stands where none can.
    """
    if not quoted:
        # Not splitlines, which also splits at characters that texts may hold.
        lines = text.replace("\r\n", "\n").split("\n")
        return [line.split(delimiter) for line in lines if line]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [fields for fields in reader if fields]
    except csv.Error as error:
        raise UserError(f"{where}: line {reader.line_num}: {error}") from error


def as_table(where: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Rows under a header.

    Raises:
        UserError: a row has more or fewer fields than the header; says which.
    """
    for number, fields in enumerate(rows, start=1):
        if len(fields) != len(header):
            raise UserError(
                f"{where}: row {number} has {len(fields)} fields, expected {len(header)} "
                f"({', '.join(header)[:200]})"
            )
    return pd.DataFrame(rows, columns=list(header), dtype=object)
