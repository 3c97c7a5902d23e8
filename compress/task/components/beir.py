"""Queries, documents and judgments in BEIR's layout, strictly.

A folder with `corpus` and `queries` (JSON lines, CSV, TSV or Parquet; `_id`, `text` and, of
documents, perhaps `title`), and judgments in `qrels/train.tsv`, `dev.tsv` and `test.tsv`, or in
`qrels.tsv` alone: `query-id`, `corpus-id`, `score`. Thakur et al., "BEIR", arXiv:2104.08663.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from compress.config.errors import UserError
from compress.task.components.cleaning import check_fields, is_missing, number_labels
from compress.task.components.rows import FORMATS, Request, check_columns, read_rows
from compress.task.components.text_format import TextFormat

ID, TEXT, TITLE = "_id", "text", "title"
JUDGMENTS = ("query-id", "corpus-id", "score")
ROLES = {"train": "train", "validation": "dev", "evaluation": "test"}  # by the names of files
LARGEST = 1_000.0  # grade

# Query → document → grade.
Qrels = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Collection:
    """What a folder holds.

    Attributes:
        documents: texts by id.
        queries: texts by id.
        qrels: by split; "all" where one file has them all.
        words: how the files were read.
    """

    documents: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Qrels]
    words: str


def check_collection(folder: Path, format: TextFormat) -> None:
    """Raises a UserError if a file is absent or lacks a column, without reading all of it."""
    for name in ("corpus", "queries"):
        check_columns(_request(_file(folder, name), (ID, TEXT), format))
    for path in judgment_files(folder).values():
        check_columns(_request(path, JUDGMENTS, format))


def judgment_files(folder: Path) -> dict[str, Path]:
    """The files of judgments by split; that of "all" where there is one alone.

    Raises:
        UserError: there is none, or not that of the evaluation.
    """
    files = {role: folder / "qrels" / f"{name}.tsv" for role, name in ROLES.items()}
    found = {role: path for role, path in files.items() if path.is_file()}
    whole = folder / "qrels.tsv"
    if whole.is_file() and not found:
        return {"all": whole}
    if set(found) == {"evaluation"}:
        return {"all": found["evaluation"]}
    if "evaluation" not in found:
        raise UserError(f"{folder} has no judgments: expected qrels/test.tsv or qrels.tsv")
    return found


def read_collection(folder: Path, format: TextFormat) -> Collection:
    """Reads all files of a folder.

    Raises:
        UserError: something in one does not fit; says which row.
    """
    documents, how = _texts(_file(folder, "corpus"), format)
    queries, also = _texts(_file(folder, "queries"), format)
    qrels = {
        role: _qrels(path, format, documents, queries)
        for role, path in judgment_files(folder).items()
    }
    words = f"{folder.name} ({len(documents)} documents, {how}; {len(queries)} queries, {also})"
    return Collection(documents, queries, qrels, words)


def _file(folder: Path, name: str) -> Path:
    found = [path for end in FORMATS if (path := folder / f"{name}{end}").is_file()]
    if len(found) != 1:
        got = "none" if not found else " and ".join(path.name for path in found)
        raise UserError(f"{folder} needs one file {name} ({', '.join(FORMATS)}), has {got}")
    return found[0]


def _request(path: Path, columns: tuple[str, ...], format: TextFormat) -> Request:
    return Request(path, columns, format.character, format.encoding)


def _texts(path: Path, format: TextFormat) -> tuple[dict[str, str], str]:
    """Texts by id, titles before them."""
    titled = _has_title(path, format)
    columns = (ID, *((TITLE,) if titled else ()), TEXT)
    table, how = read_rows(_request(path, columns, format))
    for column in columns[1:]:
        check_fields(str(path), table[column])
    found: dict[str, str] = {}
    for row, number, *parts in table.itertuples(name=None):
        name = _name(path, row, ID, number)
        if name in found:
            raise UserError(f"{path}: row {row} has {ID} {name!r}, which a row before it has")
        text = " ".join(part.strip() for part in parts if not is_missing(part))
        if not text:
            raise UserError(f"{path}: row {row} has no text")
        found[name] = text
    return found, how


def _has_title(path: Path, format: TextFormat) -> bool:
    try:
        check_columns(_request(path, (ID, TITLE, TEXT), format))
    except UserError:
        return False
    return True


def _qrels(
    path: Path, format: TextFormat, documents: Mapping[str, str], queries: Mapping[str, str]
) -> Qrels:
    table, _ = read_rows(_request(path, JUDGMENTS, format))
    grades = number_labels(str(path), table[JUDGMENTS[2]])
    found: Qrels = {}
    for (row, *names), grade in zip(table[[*JUDGMENTS[:2]]].itertuples(name=None), grades,
                                    strict=True):  # fmt: skip
        query, document = (
            _known(path, row, column, name, known)
            for column, name, known in zip(JUDGMENTS, names, (queries, documents), strict=False)
        )
        if grade is None or not 0 <= grade <= LARGEST or grade % 1:
            raise UserError(
                f"{path}: row {row} has score {grade}, expected a whole number from 0 to "
                f"{LARGEST:g}"
            )
        if document in found.setdefault(query, {}):
            raise UserError(f"{path}: row {row} judges {document!r} for {query!r} again")
        found[query][document] = grade
    _check_answered(path, found)
    return found


def _check_answered(path: Path, qrels: Qrels) -> None:
    """Refuses queries to which no document is relevant: nothing can be found for them."""
    empty = [query for query, grades in qrels.items() if not any(grades.values())]
    if empty:
        raise UserError(
            f"{path}: query {empty[0]!r} has no relevant document, one with a score above 0 "
            f"({len(empty)} such queries)"
        )


def _known(path: Path, row: int, column: str, name: object, known: Iterable[str]) -> str:
    found = _name(path, row, column, name)
    if found not in known:
        raise UserError(f"{path}: row {row} has {column} {found!r}, of which there is no text")
    return found


def _name(path: Path, row: int, column: str, name: object) -> str:
    """An id as text; numbers are ids as well."""
    whole = isinstance(name, float) and name.is_integer()
    if is_missing(name) or not (isinstance(name, (str, int)) or whole) or isinstance(name, bool):
        raise UserError(f"{path}: row {row} has {column} {name!r}, expected text")
    return str(int(name) if isinstance(name, float) else name).strip()
