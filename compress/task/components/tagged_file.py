"""Reads sentences with a tag for each word: CoNLL columns, or JSON lines.

What does not fit is refused in one line that names the file, the line or the row, what was got and
what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from compress.config.errors import UserError
from compress.serve.words import OUTSIDE, parts_of
from compress.task.components.delimited import listed, read_text
from compress.task.components.json_rows import json_row

DOCUMENT = "-DOCSTART-"  # of CoNLL-2003: a line by itself between documents
JSON = (".jsonl", ".ndjson")
COLUMNS = (".conll", ".iob", ".iob2", ".bio", ".bioes", ".tsv", ".txt")
TAG = re.compile(r"[BIES]-\S+")
SHOWN = 40  # characters of what was got


@dataclass(frozen=True)
class Sentence:
    """Words, and the tag of each."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """A file, and where words and tags are in it.

    Attributes:
        columns: numbers of two columns, from 0, or from -1 for the last one.
        fields: names of two lists in a JSON object.
    """

    path: Path
    columns: tuple[int, int]
    fields: tuple[str, str]


def check_file(request: Request) -> None:
    """Raises a UserError if the file is absent, empty, or of no known kind."""
    path = request.path
    if not path.is_file():
        raise UserError(f"{path} does not exist or is not a file")
    if path.suffix.lower() not in (*JSON, *COLUMNS):
        allowed = ", ".join((*COLUMNS, *JSON))
        raise UserError(f"{path} ends in {path.suffix or 'nothing'}; allowed: {allowed}")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty")


def read_sentences(request: Request) -> tuple[list[Sentence], str]:
    """All sentences, and how they were read, in words.

    Raises:
        UserError: something in the file does not fit.
    """
    check_file(request)
    text = read_text(request.path, "utf-8")
    is_json = request.path.suffix.lower() in JSON
    found = list(_of_json(request, text) if is_json else _of_columns(request, text))
    if not found:
        raise UserError(f"{request.path} has no sentences")
    begun = sum(map(_without_b, found))
    words = f"JSON lines; {len(found)} sentences" if is_json else f"columns; {len(found)} sentences"
    return found, words + (f", {begun} entities begin without B-" if begun else "")


def tag_names(path: Path, sentences: Collection[Sentence]) -> tuple[str, ...]:
    """The tags of a file: O, then those of each type by its name.

    Raises:
        UserError: there is no entity.
    """
    found = {tag for sentence in sentences for tag in sentence.tags} - {OUTSIDE}
    if not found:
        raise UserError(f"{path} has no tag but {OUTSIDE}: there is nothing to learn")
    return (OUTSIDE, *sorted(found, key=lambda tag: parts_of(tag)[::-1]))


def check_known(path: Path, sentences: Sequence[Sentence], names: Collection[str]) -> None:
    """Raises a UserError for a tag that is not among those of the main file."""
    for number, sentence in enumerate(sentences, start=1):
        for tag in sentence.tags:
            if tag not in names:
                raise UserError(
                    f"{path}: sentence {number} has the tag {tag!r}, which task.path has not; it "
                    f"has {listed(list(names))}"
                )


def _of_columns(request: Request, text: str) -> Iterator[Sentence]:
    """The sentences between blank lines."""
    lines = [(n, line) for n, line in enumerate(text.split("\n"), start=1)]
    separator = "\t" if any("\t" in line for _, line in lines) else None
    width = 0
    for blank, part in groupby(lines, key=lambda each: not each[1].strip()):
        rows = []
        for number, line in () if blank else part:
            fields = line.split(separator)
            width = width or len(fields)
            if len(fields) != width:
                raise UserError(
                    f"{request.path}: line {number} has {len(fields)} columns, expected {width} as "
                    f"before: {line[:SHOWN]!r}"
                )
            rows.append((number, fields))
        if rows and rows[0][1][0] != DOCUMENT:
            yield _sentence(request, [(n, *_pair(request, n, fields)) for n, fields in rows])


def _pair(request: Request, number: int, fields: list[str]) -> tuple[str, str]:
    """The word and the tag of a line."""
    try:
        word, tag = (fields[column] for column in request.columns)
    except IndexError as error:
        raise UserError(
            f"{request.path}: line {number} has {len(fields)} columns, expected "
            f"task.columns={list(request.columns)} among them"
        ) from error
    return word, tag


def _sentence(request: Request, rows: list[tuple[int, str, str]]) -> Sentence:
    for number, word, tag in rows:
        _check_pair(f"{request.path}: line {number}", word, tag)
    return Sentence(tuple(word.strip() for _, word, _ in rows), tuple(tag for *_, tag in rows))


def _of_json(request: Request, text: str) -> Iterator[Sentence]:
    lines = (line for line in text.split("\n") if line.strip())
    for number, line in enumerate(lines, start=1):
        where = f"{request.path}: row {number}"
        row = json_row(request.path, number, line)
        words, tags = (_strings(where, row, name) for name in request.fields)
        if len(words) != len(tags):
            raise UserError(
                f"{where} has {len(words)} words and {len(tags)} tags, expected as many"
            )
        for word, tag in zip(words, tags, strict=True):
            _check_pair(where, word, tag)
        yield Sentence(tuple(word.strip() for word in words), tuple(tags))


def _strings(where: str, row: dict[str, Any], name: str) -> list[str]:
    found = row.get(name)
    if not isinstance(found, list) or not found or not all(isinstance(x, str) for x in found):
        got = "nothing" if name not in row else repr(found)[:SHOWN]
        raise UserError(f"{where} has {got} in {name!r}, expected a list of strings, one or more")
    return found


def _check_pair(where: str, word: str, tag: str) -> None:
    if not word.strip():
        raise UserError(f"{where} has no word, got {word!r} with the tag {tag!r}")
    if tag != OUTSIDE and not TAG.fullmatch(tag):
        raise UserError(
            f"{where} has the tag {tag[:SHOWN]!r}, expected O, or B-, I-, E- or S- and a type"
        )


def _without_b(sentence: Sentence) -> int:
    """How many entities begin with I- or E-."""
    before, count = OUTSIDE, 0
    for tag in sentence.tags:
        prefix, kind = parts_of(tag)
        continues = parts_of(before)[0] in ("B", "I") and parts_of(before)[1] == kind
        count += prefix in ("I", "E") and not continues
        before = tag
    return count
