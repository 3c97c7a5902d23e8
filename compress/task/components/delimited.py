"""Delimited text, such as CSV and TSV: bytes to fields, and nothing that does not fit let through.

Rows are counted from 1, the header not among them; lines are counted as an editor shows them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from compress.config.errors import UserError, first_line

LINE_END = re.compile(r"\r\n|\r|\n")
BYTE_ORDER_MARK = "\ufeff"
SURROGATE = re.compile(r"[\ud800-\udfff]")
LISTED = 200  # characters of names in errors


def read_text(path: Path, encoding: str) -> str:
    """A file's text, without a byte order mark, its lines ended by line feeds.

    Raises:
        UserError: the file cannot be read, or a byte does not belong to the encoding; says which.
    """
    text = decoded(str(path), read_bytes(path), encoding)
    if "\0" in text:
        raise UserError(f"{path} contains NUL characters as {encoding}, expected text")
    return LINE_END.sub("\n", text)


def read_bytes(path: Path) -> bytes:
    """What is in a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def decoded(where: str, content: bytes, encoding: str) -> str:
    """The text that bytes stand for, without a byte order mark.

    Raises:
        UserError: a byte does not belong to the encoding; says which and in what line.
    """
    try:
        return content.decode(encoding).removeprefix(BYTE_ORDER_MARK)
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
        return [line.split(delimiter) for line in LINE_END.split(text) if line]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        with any_length(text):
            return [fields for fields in reader if fields]
    except csv.Error as error:
        raise UserError(f"{where}: line {reader.line_num}: {error}") from error


def first_fields(text: str, delimiter: str) -> list[str]:
    """The fields of the first line that is not blank, with double quotes that hold them together.

    Args:
        text: the whole, or as much of it as holds that line; see `first_record`.
        delimiter: one character.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    with any_length(text):
        return next((fields for fields in reader if fields), [])


def first_record(lines: Iterator[str]) -> str:
    """The lines up to the end of the first that is not blank and leaves no quote open."""
    taken, quotes = [], 0
    for line in lines:
        taken.append(line)
        quotes += line.count('"')
        if line.strip("\r\n") and quotes % 2 == 0:
            break
    return "".join(taken)


@contextmanager
def any_length(text: str) -> Iterator[None]:
    """Within it, Python's reader takes fields as long as a text; else 131,072 characters."""
    before = csv.field_size_limit(len(text) + 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def as_table(where: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Rows under a header.

    Raises:
        UserError: a row has more or fewer fields than the header, or is the header once more; says
            which.
    """
    for number, fields in enumerate(rows, start=1):
        if len(fields) != len(header):
            raise UserError(
                f"{where}: row {number} has {len(fields)} fields, expected {len(header)} "
                f"({listed(header)})"
            )
        if list(fields) == list(header):
            raise UserError(
                f"{where}: row {number} is the header once more ({listed(header)}), as where files "
                "were joined; take it out"
            )
    return pd.DataFrame(rows, columns=list(header), dtype=object)


def is_unicode(text: str) -> bool:
    """Whether text can be written to a file: JSON and file names can have halves of a character."""
    return SURROGATE.search(text) is None


def listed(names: Collection[str]) -> str:
    """Names from a file, for an error: at most 200 characters, all of which can be shown."""
    words = ", ".join(names)[:LISTED]
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)
