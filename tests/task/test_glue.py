from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from compress.config.errors import UserError
from compress.problem.regression import Regression
from compress.task.components.corpora import CORPORA
from compress.task.glue import Glue
from tests.configs import SHARED, settings_of, yaml_names
from tests.task.tables import Published, checked, refusal


def glue(corpus: str, path: Path | None, *overrides: str) -> Glue:
    where = [] if path is None else [f"task.path={path}"]
    return settings_of("task", corpus, *where, *overrides)


def write(folder: Path, name: str, rows: list[str], header: str | None = "sentence\tlabel") -> None:
    lines = rows if header is None else [header, *rows]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "train.tsv", [f"row {i}\t{i % 2}" for i in range(50)])
    write(tmp_path, "dev.tsv", ['a "quoted word\t1', "NA\t0", "null \t0", "plain\t1"])
    return tmp_path


def test_every_corpus_has_a_yaml() -> None:
    assert set(CORPORA) <= set(yaml_names("task"))
    assert all(glue(name, None).corpus == name for name in CORPORA)


def test_a_folder_is_read_and_quotes_are_just_characters(folder: Path) -> None:
    data = checked(glue("sst2", folder))
    assert data.evaluation.columns == [['a "quoted word', "NA", "null ", "plain"]]
    assert data.evaluation.labels.tolist() == [1, 0, 0, 1]
    assert (len(data.training.train), len(data.training.validation)) == (40, 10)
    train, validation = data.training.train.columns, data.training.validation.columns
    assert not set(train[0]) & set(validation[0])


# What the published files look like; index and other columns are there to be passed over.
MNLI = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
    "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label"
)
QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
MRPC = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String"
PAIRS = "index\tsentence1\tsentence2\tlabel"
ENTAILMENT = ["entailment", "not_entailment"]
LAYOUTS = {
    "sst2": ("sentence\tlabel", "{a}\t{label}", ["0", "1"]),
    "cola": (None, "gj04\t{label}\t*\t{a}", ["0", "1"]),
    "mrpc": (MRPC, "{label}\t7\t8\t{a}\t{b}", ["0", "1"]),
    "qqp": (QQP, "1\t2\t3\t{a}\t{b}\t{label}", ["0", "1"]),
    "rte": (PAIRS, "0\t{a}\t{b}\t{label}", ENTAILMENT),
    "qnli": ("index\tquestion\tsentence\tlabel", "0\t{a}\t{b}\t{label}", ENTAILMENT),
    "mnli": (
        MNLI,
        "0\t1\t2\tfiction\t(\t(\t(\t(\t{a}\t{b}\tneutral\t{label}",
        ["entailment", "neutral", "contradiction"],
    ),
    "wnli": (PAIRS, "0\t{a}\t{b}\t{label}", ["0", "1"]),
    "stsb": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        "0\tnews\tx\t2012\t1\tnone\tnone\t{a}\t{b}\t{label}",
        ["0.000", "2.400", "5.000"],
    ),
}
SINGLE = ("sst2", "cola")


def hub_labels(corpus: str, count: int) -> list[float]:
    """As the hub has those that `LAYOUTS` spell."""
    found = LAYOUTS[corpus][2]
    values = [float(each) for each in found] if corpus == "stsb" else range(len(found))
    return [list(values)[i % len(found)] for i in range(count)]


def write_corpus(folder: Path, corpus: str) -> None:
    header, row, labels = LAYOUTS[corpus]
    for name, a, count in (("train.tsv", "a", 30), (CORPORA[corpus].dev, "d", 6)):
        lines = [
            row.format(a=f'{a} "{i}', b=f"b {i}", label=labels[i % len(labels)])
            for i in range(count)
        ]
        write(folder, name, lines, header)


@pytest.mark.parametrize("corpus", LAYOUTS)
def test_the_files_of_each_corpus_are_read(corpus: str, tmp_path: Path) -> None:
    write_corpus(tmp_path, corpus)
    task = glue(corpus, tmp_path)
    data = checked(task)
    texts = [[f'd "{i}' for i in range(6)], [f"b {i}" for i in range(6)]]
    assert data.evaluation.columns == texts[: 1 if corpus in SINGLE else 2]
    assert data.evaluation.labels.tolist() == torch.tensor(hub_labels(corpus, 6)).tolist()
    assert len(data.training.train) + len(data.training.validation) == 30
    if corpus == "stsb":
        assert data.training.problem == Regression("score")
        assert task.scores() == ("spearman", "pearson", "rmse")
        return
    extra = {"cola": ("mcc",), "mrpc": ("f1",), "qqp": ("f1",)}.get(corpus, ())
    assert len(data.training.problem.names) == len(LAYOUTS[corpus][2])
    assert data.training.problem.others == ("f1_macro", *extra)
    assert task.scores() == ("accuracy", "f1_macro", *extra)


@pytest.mark.parametrize("corpus", LAYOUTS)
def test_the_hub_has_the_same_rows_as_the_files(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path, corpus)
    found = CORPORA[corpus]
    frames = {}
    for split, a, count in (("train", "a", 30), (found.hub_dev, "d", 6)):
        texts = zip(found.texts, ([f'{a} "{i}' for i in range(30)], [f"b {i}" for i in range(30)]))  # noqa: B905
        labels = np.array(hub_labels(corpus, 30))
        labels = labels.astype("float32") if corpus == "stsb" else labels
        frames[split] = pd.DataFrame({**dict(texts), "label": labels, "idx": range(30)})[:count]
    asked = []

    def published(*names: object) -> Published:
        asked.append(names[:2])
        return Published(frames)

    monkeypatch.setattr("compress.task.glue.load_hub_dataset", published)
    ours, theirs = glue(corpus, tmp_path).load(), glue(corpus, None).load()
    assert asked == [("nyu-mll/glue", corpus)]
    assert ours.training.digest == theirs.training.digest
    assert ours.evaluation.digest == theirs.evaluation.digest


def test_rows_of_qqp_without_a_question_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = [f"1\t2\t3\twhy {i}?\thow?\t{i % 2}" for i in range(20)]
    write(tmp_path, "train.tsv", ["1\t2\t3\twhy?", "1\t2\t3\t\thow?\t1", *rows], QQP)
    write(tmp_path, "dev.tsv", [row.replace("why", "who") for row in rows], QQP)
    data = glue("qqp", tmp_path).load()
    assert len(data.training.train) + len(data.training.validation) == 20
    assert data.source == "QQP from a local folder, 2 rows without a sentence dropped"
    write(tmp_path, "dev.tsv", ["1\t2\t3\twhy?", *rows, "1\t2\t3\twhy?\thow?\tmaybe"], QQP)
    with pytest.raises(UserError, match="row 22 has label 'maybe'"):
        glue("qqp", tmp_path).load()


def test_dev_rows_are_taken_out_of_mrpcs_own_train_file(tmp_path: Path) -> None:
    rows = [f"{i % 2}\t{i}\t{i}\tfirst {i}\tsecond {i}" for i in range(40)]
    write(tmp_path, "msr_paraphrase_train.txt", rows, MRPC)
    write(tmp_path, "dev.tsv", rows[:10], MRPC)
    data = checked(glue("mrpc", tmp_path))
    assert len(data.training.train) + len(data.training.validation) == 30
    assert "10 rows of dev.tsv taken out of msr_paraphrase_train.txt" in data.source
    held = set(data.evaluation.columns[0])
    assert not held & {*data.training.train.columns[0], *data.training.validation.columns[0]}


SCORED = "sentence1\tsentence2\tscore\n"
GLUE = [
    ("sst2", "", "train.tsv has columns ; expected sentence, label"),
    ("sst2", "sentence\tlabel\n", "train.tsv has no rows"),
    ("sst2", "sentence\tlabel\nfine\t2\n", "row 1 has label '2', allowed: 0, 1"),
    ("sst2", "sentence\tlabel\nfine\tgood\n", "row 1 has label 'good'"),
    ("sst2", "sentence\tlabel\nok\t1\nfine\t\n", "row 2 has label ''"),
    ("sst2", "sentence\tlabel\n\t1\n", "row 1 has no text"),
    ("sst2", "sentence\tlabel\none\t1\ttoo many\n", "row 1 has 3 fields, expected 2 (sen"),
    ("sst2", "sentence\tlabel\nna\xefve\t1\n", "train.tsv: byte 0xef at offset 17 (line 2)"),
    ("rte", "sentence1\tsentence2\n", "expected sentence1, sentence2, label"),
    ("rte", "sentence1\tsentence2\tlabel\na\t\tentailment\n", "row 1 has no second"),
    ("rte", "sentence1\tsentence2\tlabel\na\tb\t1\n", "allowed: entailment, not_entailment"),
    ("cola", "sentence\tlabel\n", "has 2 columns, expected 4 without a header: source"),
    ("cola", "a\t1\t\tgood\nb\t0\n", "row 2 has 2 fields, expected 4"),
    ("stsb", "sentence1\tsentence2\tlabel\n", "expected sentence1, sentence2, score"),
    ("stsb", SCORED + "a\tb\t5\na\tb\tabc\n", "row 2 has score 'abc', expected"),
    ("stsb", SCORED + "a\tb\tnan\n", "score 'nan', expected a finite number"),
    ("stsb", SCORED + "a\tb\tinf\n", "row 1 has score 'inf', expected a finite"),
    ("stsb", SCORED + "a\tb\t5.1\n", "score '5.1', expected a number from 0 to"),
    ("stsb", SCORED + "a\tb\t\n", "row 1 has score '', expected a number"),
    ("stsb", SCORED + "\tb\t1\n", "row 1 has no text"),
    ("mrpc", "sentence1\tsentence2\n", "expected #1 String, #2 String, Quality"),
]  # fmt: skip


@pytest.mark.parametrize(("corpus", "content", "said"), GLUE)
def test_bad_files(corpus: str, content: str, said: str, tmp_path: Path) -> None:
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_bytes(content.encode("latin-1"))
    told = refusal(glue(corpus, tmp_path))
    assert told.startswith(str(tmp_path / "train.tsv"))
    assert said in told


@pytest.mark.parametrize("name", ["train.tsv", "dev.tsv"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} does not exist"):
        glue("sst2", folder).check()


@pytest.mark.parametrize("header", ["text\tlabel", "sentence,label", "", "sentence"])
def test_missing_columns_are_named_without_reading_rows(folder: Path, header: str) -> None:
    write(folder, "train.tsv", ["x\t1"], header)
    with pytest.raises(UserError, match=r"train\.tsv has columns .*; expected sentence, label"):
        glue("sst2", folder).check()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corpus", "name", "rows", "shared", "digest"),
    [
        ("sst2", "SST-2", (67349, 872, 444), (230, 0), "603bd4b312725ba3"),
        ("rte", "RTE", (2490, 277, 131), (2, 0), None),
        ("cola", "CoLA", (8551, 1043, 721), (25, 2), None),
    ],
)
def test_the_published_files(
    corpus: str,
    name: str,
    rows: tuple[int, int, int],
    shared: tuple[int, int],
    digest: str | None,
) -> None:
    """With the rows of train and validation that are also in a split that keeps them."""
    folder = SHARED / "data" / "glue" / name
    if not folder.exists():
        pytest.skip(f"needs ../shared/data/glue/{name}")
    data = glue(corpus, folder).load()
    held = min(872, rows[0] // 5)
    counts = len(data.training.train), len(data.training.validation)
    assert counts == (rows[0] - held - shared[0], held - shared[1])
    assert (len(data.evaluation), sum(data.evaluation.labels)) == rows[1:]
    if digest:  # as it was when only this corpus could be read
        assert data.evaluation.digest == digest
        assert data.training.digest.startswith("cf9373cc2fb388e8-3b072936049b05c7-")
