from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from compress.config.errors import UserError
from compress.problem.classification import Classification
from compress.problem.regression import Regression
from compress.task.components.corpora import CORPORA
from compress.task.components.text import TextSplit
from compress.task.glue import Glue
from tests.configs import SHARED, settings_of, yaml_names


def glue(corpus: str, path: Path | None, *overrides: str) -> Glue:
    where = [] if path is None else [f"task.path={path}"]
    made = settings_of("task", corpus, *where, *overrides)
    assert isinstance(made, Glue)
    return made


def write(folder: Path, name: str, rows: list[str], header: str | None = "sentence\tlabel") -> None:
    lines = rows if header is None else [header, *rows]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def columns(split: object) -> list[list[str]]:
    assert isinstance(split, TextSplit)
    return split.columns


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "train.tsv", [f"row {i}\t{i % 2}" for i in range(50)])
    write(tmp_path, "dev.tsv", ['a "quoted word\t1', "NA\t0", "null \t0", "plain\t1"])
    return tmp_path


def test_every_corpus_has_a_yaml() -> None:
    assert set(CORPORA) <= set(yaml_names("task"))
    assert all(glue(name, None).corpus == name for name in CORPORA)


def test_a_folder_is_read_and_quotes_are_just_characters(folder: Path) -> None:
    task = glue("sst2", folder)
    task.check()
    data = task.load()
    assert columns(data.evaluation) == [['a "quoted word', "NA", "null ", "plain"]]
    assert data.evaluation.labels.tolist() == [1, 0, 0, 1]
    assert (len(data.training.train), len(data.training.validation)) == (40, 10)
    train, validation = columns(data.training.train), columns(data.training.validation)
    assert not set(train[0]) & set(validation[0])


# What the published files look like; index and other columns are there to be passed over.
MNLI = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
    "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label"
)
QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
MRPC = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String"
LAYOUTS = {
    "sst2": ("sentence\tlabel", "{a}\t{label}", ["0", "1"]),
    "cola": (None, "gj04\t{label}\t*\t{a}", ["0", "1"]),
    "mrpc": (MRPC, "{label}\t7\t8\t{a}\t{b}", ["0", "1"]),
    "qqp": (QQP, "1\t2\t3\t{a}\t{b}\t{label}", ["0", "1"]),
    "rte": (
        "index\tsentence1\tsentence2\tlabel",
        "0\t{a}\t{b}\t{label}",
        ["entailment", "not_entailment"],
    ),
    "qnli": (
        "index\tquestion\tsentence\tlabel",
        "0\t{a}\t{b}\t{label}",
        ["entailment", "not_entailment"],
    ),
    "mnli": (
        MNLI,
        "0\t1\t2\tfiction\t(\t(\t(\t(\t{a}\t{b}\tneutral\t{label}",
        ["entailment", "neutral", "contradiction"],
    ),
    "wnli": ("index\tsentence1\tsentence2\tlabel", "0\t{a}\t{b}\t{label}", ["0", "1"]),
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
    lines = [row.format(a=f'a "{i}', b=f"b {i}", label=labels[i % len(labels)]) for i in range(30)]
    write(folder, "train.tsv", lines, header)
    write(folder, CORPORA[corpus].dev, lines[:6], header)


@pytest.mark.parametrize("corpus", LAYOUTS)
def test_the_files_of_each_corpus_are_read(corpus: str, tmp_path: Path) -> None:
    write_corpus(tmp_path, corpus)
    task = glue(corpus, tmp_path)
    task.check()
    data = task.load()
    texts = [[f'a "{i}' for i in range(6)], [f"b {i}" for i in range(6)]]
    assert columns(data.evaluation) == texts[: 1 if corpus in SINGLE else 2]
    assert data.evaluation.labels.tolist() == torch.tensor(hub_labels(corpus, 6)).tolist()
    assert len(data.training.train) + len(data.training.validation) == 30
    if corpus == "stsb":
        assert data.training.problem == Regression("score")
        assert task.scores() == ("spearman", "pearson", "rmse")
        return
    extra = {"cola": ("mcc",), "mrpc": ("f1",), "qqp": ("f1",)}.get(corpus, ())
    assert isinstance(data.training.problem, Classification)
    assert len(data.training.problem.names) == len(LAYOUTS[corpus][2])
    assert data.training.problem.others == ("f1_macro", *extra)
    assert task.scores() == ("accuracy", "f1_macro", *extra)


class Published(dict[str, pd.DataFrame]):
    """Stands in for a DatasetDict of the hub."""

    def __getitem__(self, name: str) -> object:
        rows = super().__getitem__(name)
        return type("Rows", (), {"to_pandas": lambda _: rows})()


@pytest.mark.parametrize("corpus", LAYOUTS)
def test_the_hub_has_the_same_rows_as_the_files(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path, corpus)
    found = CORPORA[corpus]
    frames = {}
    for split, count in (("train", 30), (found.hub_dev, 6)):
        texts = zip(found.texts, ([f'a "{i}' for i in range(30)], [f"b {i}" for i in range(30)]))  # noqa: B905
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
    write(tmp_path, "dev.tsv", rows, QQP)
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
    task = glue("mrpc", tmp_path)
    task.check()
    data = task.load()
    assert len(data.training.train) + len(data.training.validation) == 30
    assert "10 rows of dev.tsv taken out of msr_paraphrase_train.txt" in data.source
    held = set(columns(data.evaluation)[0])
    assert not held & {*columns(data.training.train)[0], *columns(data.training.validation)[0]}


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
    ("corpus", "name", "rows", "digest"),
    [
        ("sst2", "SST-2", (67349, 872, 444), "603bd4b312725ba3"),
        ("rte", "RTE", (2490, 277, 131), None),
        ("cola", "CoLA", (8551, 1043, 721), None),
    ],
)
def test_the_published_files(
    corpus: str, name: str, rows: tuple[int, int, int], digest: str | None
) -> None:
    folder = SHARED / "data" / "glue" / name
    if not folder.exists():
        pytest.skip(f"needs ../shared/data/glue/{name}")
    data = glue(corpus, folder).load()
    held = min(872, rows[0] // 5)
    assert (len(data.training.train), len(data.training.validation)) == (rows[0] - held, held)
    assert (len(data.evaluation), sum(data.evaluation.labels)) == rows[1:]
    if digest:  # as it was when only this corpus could be read
        assert data.evaluation.digest == digest
        assert data.training.digest.startswith("adadb0a4546db0f6-3b072936049b05c7-")
