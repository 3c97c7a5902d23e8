"""Collections in BEIR's layout: rows, bad rows, and a whole run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from compress.config.errors import UserError
from compress.interfaces import TaskData
from compress.problem.retrieval import NOTHING
from compress.records.schema import FinishedRun
from compress.task.retrieval import Beir
from tests.architectures import build
from tests.configs import settings_of
from tests.vocabularies import WORDS

MANY = [*WORDS, *(f"{word}{word}" for word in WORDS)]
DOCUMENTS = {f"d{n}": f"{MANY[n]} {MANY[n + 1]} {MANY[n + 2]}" for n in range(30)}
QUERIES = {f"q{n}": f"{MANY[2 * n]} {MANY[2 * n + 1]}" for n in range(12)}
# The document that has both words is the best one.
QRELS = [(f"q{n}", f"d{2 * n}", 2) for n in range(12)]
QRELS += [(f"q{n}", f"d{2 * n + 1}", 1) for n in range(12)]
QRELS += [(f"q{n}", "d29", 0) for n in range(6)]

QUERIES_OF_DEV = ("q0", "q1", "q2", "q3", "q4")


def lines(texts: Mapping[str, Any]) -> str:
    return "".join(json.dumps({"_id": name, "text": text}) + "\n" for name, text in texts.items())


def judgments(rows: list[tuple[str, str, int]]) -> str:
    return "query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t{g}\n" for q, d, g in rows)


def collection(folder: Path, **files: str | None) -> Path:
    """Writes a collection; files by their names with __ for a folder and _ for a dot."""
    written: dict[str, str | None] = {
        "corpus_jsonl": lines(DOCUMENTS),
        "queries_jsonl": lines(QUERIES),
        "qrels_tsv": judgments(QRELS),
        **files,
    }
    for name, text in written.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            path.write_text(text)
    return folder


def read(folder: Path, *settings: str) -> TaskData:
    made = settings_of("task", "retrieval", f"task.path={folder}", *settings)
    assert isinstance(made, Beir)
    made.check()
    return made.load()


def test_rows_are_queries_and_all_documents(tmp_path: Path) -> None:
    data = read(collection(tmp_path), "task.prefixes=['Q: ','D: ']")
    splits = (data.training.validation, data.evaluation)
    assert [len(split) for split in splits] == [2 + 30, 6 + 30]
    texts = data.evaluation.columns[0]
    assert texts[6:] == [f"D: {text}" for text in DOCUMENTS.values()]
    assert all(text.startswith("Q: ") for text in texts[:6])
    assert not set(texts[:6]) & set(data.training.validation.columns[0])
    by_text = {f"Q: {text}": name for name, text in QUERIES.items()}
    for row, text in enumerate(texts[:6]):
        found = data.evaluation.labels[row].tolist()
        assert found[1] == NOTHING
        pairs = zip(found[2::2], found[3::2], strict=True)
        expected = {(int(d[1:]), g) for q, d, g in QRELS if q == by_text[text]}
        assert {pair for pair in pairs if pair[0] != NOTHING} == expected
    train = data.training.train
    assert len(train) == len(train.labels) == 2 * 4  # two documents of each query
    assert "30 documents" in data.source


def test_splits_may_have_files(tmp_path: Path) -> None:
    parts = [[row for row in QRELS if row[0] in names] for names in (
        ("q0", "q1", "q2", "q3", "q4"), ("q5",), ("q6", "q7"),
    )]  # fmt: skip
    files = dict(zip(("qrels__train_tsv", "qrels__dev_tsv", "qrels__test_tsv"), map(
        judgments, parts), strict=True))  # fmt: skip
    data = read(collection(tmp_path / "all", qrels_tsv=None, **files))
    assert [len(s) - 30 for s in (data.training.validation, data.evaluation)] == [1, 2]
    assert len(data.training.train) == 10
    del files["qrels__dev_tsv"]
    data = read(collection(tmp_path / "two", qrels_tsv=None, **files))
    assert [len(s) - 30 for s in (data.training.validation, data.evaluation)] == [1, 2]
    assert len(data.training.train) == 8
    one = {"qrels__test_tsv": judgments(QRELS)}
    data = read(collection(tmp_path / "one", qrels_tsv=None, **one), "task.limit=3")
    assert [len(s) - 30 for s in (data.training.validation, data.evaluation)] == [2, 3]


def test_tables_and_titles_are_read(tmp_path: Path) -> None:
    rows = "".join(f"{name[1:]},Of {name},{text}\n" for name, text in DOCUMENTS.items())
    qrels = judgments(QRELS).replace("\td", "\t")
    folder = collection(
        tmp_path, corpus_jsonl=None, corpus_csv=f"_id,title,text\n{rows}", qrels_tsv=qrels
    )
    data = read(folder)
    assert data.evaluation.columns[0][6] == f"Of d0 {DOCUMENTS['d0']}"


def test_documents_can_be_learned_from(tmp_path: Path) -> None:
    data = read(collection(tmp_path), "task.learn_documents=true")
    assert data.training.unlabeled is not None
    assert set(data.training.unlabeled.columns[0]) == set(DOCUMENTS.values())
    assert data.transfer is None


BAD: dict[str, tuple[dict[str, str | None], str]] = {
    "no queries": ({"queries_jsonl": None}, r"needs one file queries \(.*\), has none"),
    "two corpora": ({"corpus_csv": "_id,text\nd,a\n"}, "has corpus.csv and corpus.jsonl"),
    "no judgments": ({"qrels_tsv": None}, "has no judgments: expected qrels/test.tsv or qrels.tsv"),
    "no test": (
        {"qrels_tsv": None, "qrels__train_tsv": judgments(QRELS)},
        "expected qrels/test.tsv or qrels.tsv",
    ),
    "a document twice": (
        {"corpus_jsonl": lines(DOCUMENTS) + lines({"d3": "again"})},
        "row 31 has _id 'd3', which a row before it has",
    ),
    "an empty document": ({"corpus_jsonl": lines({**DOCUMENTS, "x": " "})}, "row 31 has no text"),
    "a number": (
        {"corpus_jsonl": lines({**DOCUMENTS, "x": 7})},
        "row 31 has text 7, expected text",
    ),
    "an unknown document": (
        {"qrels_tsv": judgments([*QRELS, ("q0", "d99", 1)])},
        "row 31 has corpus-id 'd99', of which there is no text",
    ),
    "an unknown query": (
        {"qrels_tsv": judgments([*QRELS, ("q99", "d0", 1)])},
        "row 31 has query-id 'q99', of which there is no text",
    ),
    "a judgment twice": (
        {"qrels_tsv": judgments([*QRELS, QRELS[0]])},
        "row 31 judges 'd0' for 'q0' again",
    ),
    "a broken grade": (
        {"qrels_tsv": judgments(QRELS).replace("\t2\n", "\t1.5\n", 1)},
        "row 1 has score 1.5, expected a whole number",
    ),
    "nothing relevant": (
        {"qrels_tsv": judgments([*QRELS[1:12], *QRELS[13:], ("q0", "d5", 0)])},
        r"query 'q0' has no relevant document, one with a score above 0 \(1 such queries\)",
    ),
    "two queries": (
        {"qrels_tsv": judgments([row for row in QRELS if row[0] in ("q0", "q1")])},
        "no query is left for the train split of 2",
    ),
    "judgments twice": (
        {"qrels__test_tsv": judgments(QRELS)},
        "has qrels.tsv and .*test.tsv, expected one",
    ),
    "a query again": (
        {
            "queries_jsonl": lines({**QUERIES, "q12": QUERIES["q0"].upper()}),
            "qrels_tsv": None,
            "qrels__test_tsv": judgments([("q0", "d1", 1)]),
            "qrels__dev_tsv": judgments([("q1", "d1", 1)]),
            "qrels__train_tsv": judgments([("q12", "d1", 1), ("q1", "d2", 1)]),
        },
        "no query is left for the train split of 4",
    ),
    "columns": ({"qrels_tsv": "query\tdocument\nq0\td0\n"}, "column .query-id. is not among"),
    "the format of trec_eval": (
        {"qrels_tsv": "q0 0 d0 1\nq1 0 d1 1\n"},
        "begin with a line of the names query-id, corpus-id, score, which files for trec_eval lack",
    ),
}


def test_without_train_some_of_dev_are_learned_from(tmp_path: Path) -> None:
    parts = [[row for row in QRELS if row[0] in names] for names in (QUERIES_OF_DEV, ("q9", "q8"))]
    files = {"qrels__dev_tsv": judgments(parts[0]), "qrels__test_tsv": judgments(parts[1])}
    data = read(collection(tmp_path, qrels_tsv=None, **files))
    assert [len(s) - 30 for s in (data.training.validation, data.evaluation)] == [1, 2]
    assert len(data.training.train) == 8


def test_a_query_of_another_split_is_dropped_and_counted(tmp_path: Path) -> None:
    rows = [row for row in QRELS if row[0] in ("q0", "q1", "q2", "q3", "q4", "q5")]
    files = {"qrels__train_tsv": judgments(rows), "qrels__test_tsv": judgments(rows[:2])}
    data = read(collection(tmp_path, qrels_tsv=None, **files))
    assert "2 queries dropped from" in data.source
    texts = [*data.training.train.columns[0], *data.training.validation.columns[0][:1]]
    assert not {QUERIES["q0"], QUERIES["q1"]} & set(texts)


def test_titles_may_be_those_of_some(tmp_path: Path) -> None:
    rows = [{"_id": name, "text": text} for name, text in DOCUMENTS.items()]
    rows[-1]["title"] = "A title"
    text = "".join(json.dumps(row) + "\n" for row in rows)
    data = read(collection(tmp_path, corpus_jsonl=text))
    assert data.evaluation.columns[0][-1] == f"A title {DOCUMENTS['d29']}"


def test_what_is_dropped_is_counted(tmp_path: Path) -> None:
    """As TREC-COVID has grades below 0, FiQA empty documents, and others queries without answer."""
    grades = [*QRELS, ("q0", "d5", -1), ("q0", "d30", 2)]
    grades = [(q, d, 0 if q == "q1" else g) for q, d, g in grades]
    folder = collection(
        tmp_path, corpus_jsonl=lines({**DOCUMENTS, "d30": " "}), qrels_tsv=judgments(grades)
    )
    data = read(folder, "task.drop=[empty,unanswered]")
    assert "1 without a text dropped" in data.source
    assert "1 queries of qrels.tsv without a relevant document dropped" in data.source
    assert len(data.evaluation) == 6 + 30
    everything = [*data.evaluation.columns[0], *data.training.train.columns[0]]
    assert QUERIES["q1"] not in everything
    with pytest.raises(UserError, match=r"row 31 has no text; fix it, or set task\.drop"):
        read(folder)


@pytest.mark.parametrize("what", BAD)
def test_bad_collections_are_refused_in_one_line(what: str, tmp_path: Path) -> None:
    files, words = BAD[what]
    folder = collection(tmp_path, **files)
    with pytest.raises(UserError, match=words) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


def test_a_run_ranks_documents(run_config: Callable[..., FinishedRun], tmp_path: Path) -> None:
    """Fine-tuned on pairs, then distilled without labels."""
    record = run_config(
        *("task=retrieval", f"task.path={collection(tmp_path / 'rows')}", "task.max_length=24"),
        *("teacher=local", f"teacher.path={build('bert_embed', tmp_path / 'model')}"),
        *("teacher.finetune.epochs=1", "teacher.finetune.batch_size=4"),
        *("student=layers", "student.keep=2", "student.distillation.alpha=1"),
        *("student.distillation.epochs=1", "task.learn_documents=true"),
        folder=tmp_path / "run",
    )
    score = record.metrics.score
    assert (score.metric, set(score.others)) == (
        "ndcg_at_10",
        {"mrr_at_10", "recall_at_100", "index_bytes"},
    )
    assert score.others["recall_at_100"] == 1  # of thirty documents
    assert 0 < score.value <= 1
