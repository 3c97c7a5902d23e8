"""Reads rows from a user's file: CSV, TSV, JSON lines or Parquet.

What does not fit is refused in one line that names the file, the row or the column, what was got
and what was expected. Rows are counted from 1, a header not among them.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pandas as pd

from compress.config.errors import UserError, first_line
from compress.task.components.delimited import (
    BYTE_ORDER_MARK,
    LINE_END,
    as_table,
    decoded,
    first_fields,
    first_record,
    listed,
    read_bytes,
    split_fields,
)
from compress.task.components.json_rows import json_row

AUTO = "auto"
DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
# The longer marks first: that of UTF-32 begins with that of UTF-16.
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


@dataclass(frozen=True)
class Request:
    """A file, the wanted columns, and the read options.

    Attributes:
        columns: the wanted ones.
        delimiter: one character, or "auto".
        encoding: by Python's name for it, or "auto".
    """

    path: Path
    columns: tuple[str, ...]
    delimiter: str
    encoding: str

    @property
    def where(self) -> str:
        """The path of the file, for error messages."""
        return str(self.path)


@dataclass(frozen=True)
class Rows:
    """The table that was read and a description of its format.

    Attributes:
        table: the wanted columns; its index counts the rows from 1. Fields are what the file has:
            text from CSV and TSV, any JSON value or None from the others.
        words: what was found out about the file: "commas, quoted, utf-8".
    """

    table: pd.DataFrame
    words: str


@dataclass(frozen=True)
class Format:
    """Readers of one file format.

    Attributes:
        names: the columns, found without reading all rows.
        read: the rows.
    """

    names: Callable[[Request], Sequence[str]]
    read: Callable[[Request], Rows]


def check_columns(request: Request) -> None:
    """Checks that a file exists and has the wanted columns, without reading all of it.

    Raises:
        UserError: it is not, or has not; says what there is.
    """
    names = _format(request).names(request)
    for column in request.columns:
        if names.count(column) != 1:
            found = "twice" if column in names else "not"
            raise UserError(
                f"{request.where}: column {column!r} is {found} among its columns: {listed(names)}"
            )


def read_rows(request: Request) -> Rows:
    """All rows of a file.

    Raises:
        UserError: something in it does not fit.
    """
    check_columns(request)
    rows = _format(request).read(request)
    if rows.table.empty:
        raise UserError(f"{request.where} has no rows")
    return rows


def _format(request: Request) -> Format:
    path = request.path
    if not path.is_file():
        raise UserError(f"{path} does not exist or is not a file")
    if path.suffix.lower() not in FORMATS:
        allowed = ", ".join(FORMATS)
        raise UserError(f"{path} ends in {path.suffix or 'nothing'}; allowed: {allowed}")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty")
    return FORMATS[path.suffix.lower()]


def _encoding(request: Request, content: bytes) -> str:
    """The configured encoding, or that of a byte order mark, or UTF-8."""
    if request.encoding != AUTO:
        return request.encoding
    marks = (name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark))
    return next(marks, "utf-8")


def _beginning(request: Request, read: Callable[[TextIO], str]) -> str:
    """Decodes the start of a file; invalid bytes are reported when all of it is read."""
    try:
        with request.path.open("rb") as file:
            encoding = _encoding(request, file.read(len(codecs.BOM_UTF32_LE)))
        with request.path.open(encoding=encoding, errors="ignore", newline="") as text:
            return read(text).removeprefix(BYTE_ORDER_MARK)
    except UnicodeError as error:
        raise UserError(f"{request.where} is not valid {encoding}: {first_line(error)}") from error
    except OSError as error:
        raise UserError(f"{request.where} cannot be read: {error.strerror}") from error


def _text(request: Request) -> tuple[str, str]:
    """The text of a file and its encoding."""
    content = read_bytes(request.path)
    encoding = _encoding(request, content)
    try:
        text = decoded(request.where, content, encoding)
    except UserError as error:
        hint = "; name the right one with task.encoding=…" if request.encoding == AUTO else ""
        raise UserError(f"{error}{hint}") from error
    if "\0" in text:
        raise UserError(
            f"{request.where} holds NUL characters as {encoding}; name the right encoding with "
            "task.encoding=…, such as utf-16-le"
        )
    return text, encoding


def _delimiter(request: Request, text: str) -> str:
    """The configured delimiter, or the one that gives a header with the wanted columns.

    Where none does, the one that gives most columns, for the error to come.
    """
    if request.delimiter != AUTO:
        return request.delimiter
    headers = {delimiter: first_fields(text, delimiter) for delimiter in DELIMITERS}
    fitting = [each for each in headers if set(request.columns) <= set(headers[each])]
    return max(fitting or headers, key=lambda each: len(headers[each]))


def _names_delimited(request: Request) -> list[str]:
    text = _beginning(request, first_record)
    return first_fields(text, _delimiter(request, text))


def _read_delimited(request: Request) -> Rows:
    text, encoding = _text(request)
    delimiter = _delimiter(request, text)
    (header, *rows), quoted = _fields(request.where, text, delimiter)
    table = _numbered(as_table(request.where, header, rows)[list(request.columns)])
    quotes = "quoted" if quoted else "not quoted"
    named = DELIMITERS.get(delimiter, f"fields split at {delimiter!r}")
    return Rows(table, f"{named}, {quotes}, {encoding}")


def _fields(where: str, text: str, delimiter: str) -> tuple[list[list[str]], bool]:
    """The fields, and whether double quotes are quote characters.

    They do if all rows are then as long as the header. If rows are so either way, quotes are just
    characters where a field begins with one and does not end with one.
    """
    plain = split_fields(where, text, delimiter, quoted=False)
    if '"' not in text:
        return plain, False
    even = len({len(fields) for fields in plain}) == 1
    loose = any(f.startswith('"') and (len(f) == 1 or f[-1] != '"') for row in plain for f in row)
    try:
        quoted = split_fields(where, text, delimiter, quoted=True)
    except UserError:
        if even:
            return plain, False
        raise
    if even and (loose or len({len(fields) for fields in quoted}) > 1):
        return plain, False
    return quoted, True


def _names_json(request: Request) -> list[str]:
    line = _beginning(request, lambda file: next((each for each in file if each.strip()), ""))
    return list(json_row(request.where, 1, line))


def _read_json(request: Request) -> Rows:
    text, encoding = _text(request)
    lines = [line for line in LINE_END.split(text) if line.strip()]
    columns = list(request.columns)
    found = [json_row(request.where, number, line) for number, line in enumerate(lines, start=1)]
    rows = [[row.get(column) for column in columns] for row in found]
    table = pd.DataFrame(rows, columns=columns, dtype=object)
    return Rows(_numbered(table), f"JSON lines, {encoding}")


def _names_parquet(request: Request) -> list[str]:
    import pyarrow.parquet

    try:
        names: list[str] = pyarrow.parquet.read_schema(request.path).names
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise UserError(f"{request.where} is not a Parquet file: {first_line(error)}") from error
    return names


def _read_parquet(request: Request) -> Rows:
    import pyarrow.parquet

    columns = list(request.columns)
    try:
        with pyarrow.parquet.ParquetFile(request.path) as file:
            fields = file.read(columns=columns).to_pydict()
    except (OSError, ValueError, OverflowError, pyarrow.ArrowException) as error:
        # Such as a date that Python has none for.
        raise UserError(f"{request.where} cannot be read: {first_line(error)}") from error
    return Rows(_numbered(pd.DataFrame(fields, dtype=object)[columns]), "Parquet")


def _numbered(table: pd.DataFrame) -> pd.DataFrame:
    """The table with row numbers from 1."""
    return table.set_axis(range(1, len(table) + 1), axis=0)


_DELIMITED = Format(_names_delimited, _read_delimited)
_JSON_LINES = Format(_names_json, _read_json)
FORMATS: Mapping[str, Format] = {
    ".csv": _DELIMITED,
    ".tsv": _DELIMITED,
    ".txt": _DELIMITED,
    ".jsonl": _JSON_LINES,
    ".ndjson": _JSON_LINES,
    ".parquet": Format(_names_parquet, _read_parquet),
}
