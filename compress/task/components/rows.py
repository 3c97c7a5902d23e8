"""Reads rows from a user's file: CSV, TSV, JSON lines or Parquet.

What does not fit is refused in one line that names the file, the row or the column, what was got
and what was expected. Rows are counted from 1, a header not among them.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    """A file, the wanted columns, and how to read it.

    Attributes:
        delimiter: one character, or "auto".
        encoding: Python's name of it, or "auto".
        key: of the settings that have a `format`, for messages.
        optional: further columns, which a file may lack, and a row of JSON lines.
    """

    path: Path
    columns: tuple[str, ...]
    delimiter: str
    encoding: str
    key: str = "task"
    optional: tuple[str, ...] = ()


Names = Callable[[Request], Sequence[str]]
Reader = Callable[[Request], tuple[pd.DataFrame, str]]


def check_columns(request: Request) -> None:
    """Raises a UserError if a file lacks a wanted column, without reading all of it."""
    read_names, _ = _readers(request.path)
    names = read_names(request)
    for column in request.columns:
        if names.count(column) != 1:
            found = "twice" if column in names else "not"
            raise UserError(
                f"{request.path}: column {column!r} is {found} among its columns: {listed(names)}"
            )


def read_rows(request: Request) -> tuple[pd.DataFrame, str]:
    """The wanted columns of all rows, and what was found out: "commas, quoted, utf-8".

    The index counts rows from 1. Fields are what the file has: text from CSV and TSV, any JSON
    value or None from the others.

    Raises:
        UserError: something in the file does not fit.
    """
    check_columns(request)
    names, read = _readers(request.path)
    columns = request.columns
    if request.optional:
        known = request.optional if read is _read_json else names(request)
        columns += tuple(each for each in request.optional if each in known)
    table, words = read(replace(request, columns=columns))
    if table.empty:
        raise UserError(f"{request.path} has no rows")
    return table[list(columns)].set_axis(range(1, len(table) + 1)), words


def _readers(path: Path) -> tuple[Names, Reader]:
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
    """The decoded start of a file; invalid bytes are reported when all of it is read."""
    try:
        with request.path.open("rb") as file:
            encoding = _encoding(request, file.read(len(codecs.BOM_UTF32_LE)))
        with request.path.open(encoding=encoding, errors="ignore", newline="") as text:
            return read(text).removeprefix(BYTE_ORDER_MARK)
    except UnicodeError as error:
        raise UserError(f"{request.path} is not valid {encoding}: {first_line(error)}") from error
    except OSError as error:
        raise UserError(f"{request.path} cannot be read: {error.strerror}") from error


def _text(request: Request) -> tuple[str, str]:
    content = read_bytes(request.path)
    encoding = _encoding(request, content)
    try:
        text = decoded(request.path, content, encoding)
    except UserError as error:
        hint = f"; name the right one with {request.key}.format.encoding=…"
        raise UserError(f"{error}{hint if request.encoding == AUTO else ''}") from error
    if "\0" in text:
        raise UserError(
            f"{request.path} holds NUL characters as {encoding}; name the right encoding with "
            f"{request.key}.format.encoding=…, such as utf-16-le"
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


def _read_delimited(request: Request) -> tuple[pd.DataFrame, str]:
    text, encoding = _text(request)
    delimiter = _delimiter(request, text)
    (header, *rows), quoted = _fields(request.path, text, delimiter)
    quotes = "quoted" if quoted else "not quoted"
    named = DELIMITERS.get(delimiter, f"fields split at {delimiter!r}")
    return as_table(request.path, header, rows), f"{named}, {quotes}, {encoding}"


def _fields(path: Path, text: str, delimiter: str) -> tuple[list[list[str]], bool]:
    """The fields, and whether double quotes are quote characters.

    They do if all rows are then as long as the header. If rows are so either way, quotes are just
    characters where a field begins with one and does not end with one.
    """
    plain = split_fields(path, text, delimiter, quoted=False)
    if '"' not in text:
        return plain, False
    even = len({len(fields) for fields in plain}) == 1
    loose = any(f.startswith('"') and (len(f) == 1 or f[-1] != '"') for row in plain for f in row)
    try:
        quoted = split_fields(path, text, delimiter, quoted=True)
    except UserError:
        if even:
            return plain, False
        raise
    if even and (loose or len({len(fields) for fields in quoted}) > 1):
        return plain, False
    return quoted, True


def _names_json(request: Request) -> list[str]:
    line = _beginning(request, lambda file: next((each for each in file if each.strip()), ""))
    return list(json_row(request.path, 1, line))


def _read_json(request: Request) -> tuple[pd.DataFrame, str]:
    text, encoding = _text(request)
    lines = [line for line in LINE_END.split(text) if line.strip()]
    found = [json_row(request.path, number, line) for number, line in enumerate(lines, start=1)]
    rows = [[row.get(column) for column in request.columns] for row in found]
    table = pd.DataFrame(rows, columns=list(request.columns), dtype=object)
    return table, f"JSON lines, {encoding}"


def _names_parquet(request: Request) -> list[str]:
    import pyarrow.parquet

    try:
        names: list[str] = pyarrow.parquet.read_schema(request.path).names
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise UserError(f"{request.path} is not a Parquet file: {first_line(error)}") from error
    return names


def _read_parquet(request: Request) -> tuple[pd.DataFrame, str]:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(request.path) as file:
            fields = file.read(columns=list(request.columns)).to_pydict()
    except (OSError, ValueError, OverflowError, pyarrow.ArrowException) as error:
        # Such as a date that Python has none for.
        raise UserError(f"{request.path} cannot be read: {first_line(error)}") from error
    return pd.DataFrame(fields, dtype=object), "Parquet"


# The reader of the column names alone, and that of all rows.
FORMATS: Mapping[str, tuple[Names, Reader]] = {
    ".csv": (_names_delimited, _read_delimited),
    ".tsv": (_names_delimited, _read_delimited),
    ".txt": (_names_delimited, _read_delimited),
    ".jsonl": (_names_json, _read_json),
    ".ndjson": (_names_json, _read_json),
    ".parquet": (_names_parquet, _read_parquet),
}
