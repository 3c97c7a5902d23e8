"""Queries, documents and judgments in BEIR's layout, strictly.

A folder with `corpus` and `queries` (JSON lines, CSV, TSV or Parquet; `_id`, `text` and, of
documents, perhaps `title`), and judgments in `qrels/train.tsv`, `dev.tsv` and `test.tsv`, or in
`qrels.tsv` alone: `query-id`, `corpus-id`, `score`. Thakur et al., "BEIR", arXiv:2104.08663.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from compress.config.errors import UserError
from compress.task.components.cleaning import check_fields, is_missing, number_labels
from compress.task.components.rows import FORMATS, Request, check_columns, read_rows
from compress.task.components.text_format import TextFormat

ID, TEXT, TITLE = "_id", "text", "title"
JUDGMENTS = ("query-id", "corpus-id", "score")
ROLES = {"train": "train", "validation": "dev", "evaluation": "test"}  # by the names of files
LARGEST = 1_000.0  # grade
EMPTY, UNANSWERED = DROPPABLE = ("empty", "unanswered")

# Query → document → grade.
Qrels = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Texts:
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
        try:
            check_columns(_request(path, JUDGMENTS, format))
        except UserError as error:
            raise UserError(
                f"{error}; judgments begin with a line of the names {', '.join(JUDGMENTS)}, which "
                "files for trec_eval lack"
            ) from None


def judgment_files(folder: Path) -> dict[str, Path]:
    """The files of judgments by split; that of "all" where there is one alone.

    Raises:
        UserError: there is none, or not that of the evaluation.
    """
    files = {role: folder / "qrels" / f"{name}.tsv" for role, name in ROLES.items()}
    found = {role: path for role, path in files.items() if path.is_file()}
    whole = folder / "qrels.tsv"
    if whole.is_file() and found:
        raise UserError(f"{folder} has qrels.tsv and {next(iter(found.values()))}, expected one")
    if whole.is_file():
        return {"all": whole}
    if set(found) == {"evaluation"}:
        return {"all": found["evaluation"]}
    if "evaluation" not in found:
        raise UserError(f"{folder} has no judgments: expected qrels/test.tsv or qrels.tsv")
    return found


def read_collection(folder: Path, format: TextFormat, drop: Collection[str]) -> Texts:
    """Reads all files of a folder.

    Args:
        folder: of the collection.
        format: of its files.
        drop: what is left out and counted: `DROPPABLE`.

    Raises:
        UserError: something in one does not fit; says which row.
    """
    documents, how = _texts(_file(folder, "corpus"), format, drop)
    queries, also = _texts(_file(folder, "queries"), format, drop)
    words = f"{folder.name} ({len(documents)} documents, {how}; {len(queries)} queries, {also})"
    qrels = {}
    for role, path in judgment_files(folder).items():
        whole = _qrels(path, format, documents, queries)
        qrels[role], lost = _answered(path, whole, drop)
        words += (
            f"; {lost} queries of {path.name} without a relevant document dropped" if lost else ""
        )
    return Texts(_full(documents), _full(queries), qrels, words)


def _full(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}


def _file(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a directory; expected a collection in BEIR's layout")
    found = [path for end in FORMATS if (path := folder / f"{name}{end}").is_file()]
    if len(found) != 1:
        got = "none" if not found else " and ".join(path.name for path in found)
        raise UserError(f"{folder} needs one file {name} ({', '.join(FORMATS)}), has {got}")
    return found[0]


def _request(path: Path, columns: tuple[str, ...], format: TextFormat) -> Request:
    return Request(path, columns, format.character, format.encoding)


def _texts(path: Path, format: TextFormat, drop: Collection[str]) -> tuple[dict[str, str], str]:
    """Texts by id, titles before them; "" of those to drop."""
    table, how = read_rows(replace(_request(path, (ID, TEXT), format), optional=(TITLE,)))
    columns = [name for name in (TITLE, TEXT) if name in table]
    for column in columns:
        check_fields(str(path), table[column])
    found: dict[str, str] = {}
    empty = 0
    for row, number, *parts in table[[ID, *columns]].itertuples(name=None):
        name = _name(path, row, ID, number)
        if name in found:
            raise UserError(f"{path}: row {row} has {ID} {name!r}, which a row before it has")
        found[name] = " ".join(part.strip() for part in parts if not is_missing(part))
        if found[name]:
            continue
        if EMPTY not in drop:
            raise UserError(f"{path}: row {row} has no text; fix it, or set task.drop=[{EMPTY}]")
        empty += 1
    words = f", {empty} without a text dropped" if empty else ""
    return found, how + words


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
        if grade is None or abs(grade) > LARGEST or grade % 1:
            raise UserError(
                f"{path}: row {row} has score {grade}, expected a whole number up to {LARGEST:g}"
            )
        if not (queries[query] and documents[document]):
            continue  # dropped
        if document in found.setdefault(query, {}):
            raise UserError(f"{path}: row {row} judges {document!r} for {query!r} again")
        found[query][document] = max(0.0, grade)  # as in trec_eval, below 0 is irrelevant
    return found


def _answered(path: Path, qrels: Qrels, drop: Collection[str]) -> tuple[Qrels, int]:
    """The queries to which a document is relevant, and the number of others.

    Raises:
        UserError: there are others, for which nothing can be found, and they are not to be dropped.
    """
    full = {query: grades for query, grades in qrels.items() if any(grades.values())}
    empty = [query for query in qrels if query not in full]
    if empty and UNANSWERED not in drop:
        raise UserError(
            f"{path}: query {empty[0]!r} has no relevant document, one with a score above 0 "
            f"({len(empty)} such queries); fix it, or set task.drop=[{UNANSWERED}]"
        )
    return full, len(empty)


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
