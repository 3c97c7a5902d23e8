"""Strict parser for delimited text such as CSV and TSV.

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
    """A file as text without a byte order mark and with line feeds as line ends.

    Raises:
        UserError: the file cannot be read, or a byte does not belong to the encoding.
    """
    text = decoded(path, read_bytes(path), encoding)
    if "\0" in text:
        raise UserError(f"{path} holds NUL characters as {encoding}, expected text")
    return LINE_END.sub("\n", text)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, or a UserError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def decoded(path: Path, content: bytes, encoding: str) -> str:
    """Bytes of a file as text without a byte order mark.

    Raises:
        UserError: a byte does not belong to the encoding; says which and in what line.
    """
    try:
        return content.decode(encoding).removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: byte 0x{content[error.start]:02x} at offset {error.start} (line {line}) is "
            f"not valid {encoding}"
        ) from error
    except UnicodeError as error:
        raise UserError(f"{path} is not valid {encoding}: {first_line(error)}") from error


def split_fields(path: Path, text: str, delimiter: str, *, quoted: bool) -> list[list[str]]:
    """The fields of each non-blank line of a file; unquoted, double quotes are just characters.

    Raises:
        UserError: a quote is never closed, or stands where none can.
    """
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    try:
        with any_length(text):
            return [fields for fields in reader if fields]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}") from error


def first_fields(text: str, delimiter: str) -> list[str]:
    """The fields of the first non-blank line, with double quotes as quote characters."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    with any_length(text):
        return next((fields for fields in reader if fields), [])


def first_record(lines: Iterator[str]) -> str:
    """The text up to the end of the first complete non-blank record."""
    taken, quotes = [], 0
    for line in lines:
        taken.append(line)
        quotes += line.count('"')
        if line.strip("\r\n") and quotes % 2 == 0:
            break
    return "".join(taken)


@contextmanager
def any_length(text: str) -> Iterator[None]:
    """Raises the field size limit of Python's csv reader, 131,072 characters by default."""
    before = csv.field_size_limit(len(text) + 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def as_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Rows and a header as a table.

    Raises:
        UserError: a row has more or fewer fields than the header, or is the header once more.
    """
    for number, fields in enumerate(rows, start=1):
        if len(fields) != len(header):
            raise UserError(
                f"{path}: row {number} has {len(fields)} fields, expected {len(header)} "
                f"({listed(header)})"
            )
        if list(fields) == list(header):
            raise UserError(
                f"{path}: row {number} is the header once more ({listed(header)}), as where files "
                "were joined; take it out"
            )
    return pd.DataFrame(rows, columns=list(header), dtype=object)


def is_unicode(text: str) -> bool:
    """Whether text can be encoded as UTF-8: JSON and file names can contain lone surrogates."""
    return SURROGATE.search(text) is None


def listed(names: Collection[str]) -> str:
    """Names from a file for an error message: at most 200 printable characters."""
    words = ", ".join(names)[:LISTED]
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)
