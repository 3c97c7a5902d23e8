"""Words with tags: files, rows and their tokens, and a whole run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from compress.config.errors import UserError
from compress.core.problem import PLACES
from compress.problem.per_token import IGNORED
from compress.records.schema import FinishedRun
from compress.serve.words import first_tokens, joined_spans
from compress.task.components.tagged_file import Request, read_sentences
from compress.task.components.tagged_rows import TaggedRow, TaggedSplit, cut
from compress.task.conll import Conll
from tests.architectures import build, write_tables, write_tags
from tests.configs import settings_of

SENTENCES = [
    [("The", "O"), ("Tower", "B-place"), ("Bridge", "I-place"), (".", "O")],
    [("Ada", "B-person"), ("sang", "O")],
]


def columns(rows: list[list[tuple[str, str]]], separator: str = "\t") -> str:
    return "\n\n".join("\n".join(separator.join(pair) for pair in row) for row in rows) + "\n"


def task(path: Path, *settings: str) -> Conll:
    made = settings_of("task", "conll", f"task.path={path}", *settings)
    assert isinstance(made, Conll)
    return made


def read(path: Path, **changes: Any) -> tuple[list[list[tuple[str, str]]], str]:
    request = Request(path, **{"columns": (0, -1), "fields": ("tokens", "tags"), **changes})
    found, words = read_sentences(request)
    return [list(zip(each.words, each.tags, strict=True)) for each in found], words


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.conll", columns(SENTENCES)),
        ("a.txt", columns(SENTENCES, " ").replace("\n", "\r\n")),
        ("a.iob", "-DOCSTART- O\n\n" + columns(SENTENCES, "  ") + "\n\n\n"),
        ("a.tsv", columns([[(w, f"x\ty\t{t}") for w, t in row] for row in SENTENCES])),
        (
            "a.jsonl",
            "\n".join(
                json.dumps({"tokens": [w for w, _ in row], "tags": [t for _, t in row], "id": 3})
                for row in SENTENCES
            ),
        ),
    ],
)
def test_one_content_in_every_form(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text.encode())
    found, words = read(tmp_path / name)
    assert found == SENTENCES
    assert words.endswith("; 2 sentences")


def test_words_and_tags_may_be_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("1\tAda\tB-person\tx\n2\tsang\tO\tx\n")
    assert read(path, columns=(1, 2))[0] == [SENTENCES[1]]
    path = tmp_path / "a.jsonl"
    path.write_text('{"words": ["Ada", "sang"], "ner": ["B-person", "O"]}\n')
    assert read(path, fields=("words", "ner"))[0] == [SENTENCES[1]]


def test_entities_that_begin_without_b_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("a I-x\nb I-x\nc O\nd I-x\ne I-y\n")
    assert read(path)[1] == "columns; 1 sentences, 3 entities begin without B-"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.conll", "a\tO\nb\n", "line 2 has 1 columns, expected 2 as before: 'b'"),
        ("a.conll", "a O\nb x O\n", "line 2 has 3 columns, expected 2 as before"),
        ("a.conll", "a\tPER\n", "line 1 has the tag 'PER', expected O, or B-, I-, E- or S- and a"),
        ("a.conll", "a\tU-PER\n", "line 1 has the tag 'U-PER'"),
        ("a.conll", " \tO\n", "line 1 has no word, got ' ' with the tag 'O'"),
        ("a.conll", "\n\n \n", "has no sentences"),
        ("a.conll", "", "is empty"),
        ("a.parquet", "x", "ends in .parquet; allowed: .conll, "),
        ("a.jsonl", '{"tokens": ["a"]}', "row 1 has nothing in 'tags', expected a list of strings"),
        ("a.jsonl", '{"tokens": [], "tags": []}', r"row 1 has \[\] in 'tokens'"),
        ("a.jsonl", '{"tokens": ["a"], "tags": [3]}', r"row 1 has \[3\] in 'tags'"),
        ("a.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}', "row 1 has 2 words and 1 tags"),
        ("a.jsonl", '{"tokens": ["a", ""], "tags": ["O", "O"]}', "row 1 has no word"),
        ("a.jsonl", "[1]", "expected a JSON object"),
    ],
)
def test_what_does_not_fit_is_one_line(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text(columns(SENTENCES))
    with pytest.raises(UserError, match=r"line 1 has 2 columns, expected task.columns=\[0, 3\]"):
        read(path, columns=(0, 3))


def test_tags_of_other_files_must_be_known(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(columns(SENTENCES * 4))
    (tmp_path / "b.conll").write_text(columns([[("x", "O")], [("Bob", "B-dog")]]))
    made = task(tmp_path / "a.conll", f"task.split.evaluation_path={tmp_path / 'b.conll'}")
    with pytest.raises(UserError, match=r"sentence 2 has the tag 'B-dog', which task.path has not"):
        made.load()
    (tmp_path / "c.conll").write_text("x O\n")
    with pytest.raises(UserError, match="has no tag but O: there is nothing to learn"):
        task(tmp_path / "c.conll").load()


def test_no_sentence_is_in_two_splits(tmp_path: Path) -> None:
    rows = [[(f"w{i}", "O"), ("Ada", "B-person")] for i in range(20)]
    (tmp_path / "a.conll").write_text(columns([*rows, *rows[:5]]))
    (tmp_path / "b.conll").write_text(columns(rows[:2]))
    data = task(tmp_path / "a.conll", f"task.split.evaluation_path={tmp_path / 'b.conll'}").load()
    splits = (data.evaluation, data.training.validation, data.training.train)
    texts = [set(split.columns[0]) for split in splits]
    assert not texts[0] & texts[1]
    assert not (texts[0] | texts[1]) & texts[2]
    assert sum(map(len, texts)) == 20
    assert data.training.problem.config()["id2label"] == {0: "O", 1: "B-person"}


@pytest.mark.parametrize("architecture", ["bert", "roberta", "deberta_v2", "xlnet", "albert"])
def test_first_tokens_are_those_of_transformers(architecture: str, tmp_path: Path) -> None:
    """Where transformers aligns words itself, as with `is_split_into_words`."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(build(architecture, tmp_path))
    words = ["unbelievably", ",", "U.S.", "naïve", "x"]
    row = TaggedRow(0, tuple(words), (0,) * len(words))
    [places] = TaggedSplit("rows", [row], 64).encode(tokenizer)[PLACES][:]
    encoded = tokenizer(row.text, return_offsets_mapping=True)
    for word, place, (begin, end) in zip(words, places, joined_spans(row.words), strict=True):
        inside = [
            number
            for number, (first, last) in enumerate(encoded["offset_mapping"])
            if first < end and last > begin and last > first
        ]
        assert place == inside[0], word
    if architecture == "bert":
        ids = tokenizer(words, is_split_into_words=True)
        assert ids["input_ids"] == encoded["input_ids"]
        assert places == [ids.word_ids().index(word) for word in range(len(words))]


def test_words_without_a_token_and_truncated_ones_have_no_place() -> None:
    offsets = [(0, 0), (0, 3), (3, 5), (8, 9), (0, 0)]
    assert first_tokens(iter([(0, 5), (6, 7), (8, 9), (10, 12)]), offsets) == [1, -1, 3, -1]


@pytest.mark.parametrize(
    ("counts", "most"), [([1] * 40, 10), ([3, 1, 2] * 9, 8), ([20, 1, 1, 30, 2], 8), ([1], 4)]
)
def test_each_word_of_a_long_sentence_is_judged_once(counts: list[int], most: int) -> None:
    row = TaggedRow(7, tuple(f"w{i}" for i in range(len(counts))), tuple(range(len(counts))))
    parts = list(cut(row, counts, most))
    judged = [tag for part in parts for tag in part.tags if tag != IGNORED]
    assert judged == list(range(len(counts)))
    for part in parts:
        sizes = [counts[int(word[1:])] for word in part.words]
        assert sum(sizes) <= most or len(sizes) == 1
        assert part.sentence == 7
    for before, after in itertools.pairwise(parts):
        if max(counts) <= most // 4:
            # What is judged last has words behind it, and what is judged first has some before it.
            assert before.tags[-1] == IGNORED == after.tags[0]


def test_a_student_with_another_tokenizer_learns_word_by_word(
    run_config: Callable[..., FinishedRun], tmp_path: Path
) -> None:
    """Its rows have other tokens than the teacher's, and as many words."""
    tables = write_tables(tmp_path, {"train": 24, "validation": 8, "evaluation": 8})
    rows = write_tags(tmp_path, tables)
    teacher, student = (build(name, tmp_path / name) for name in ("bert_tags", "roberta_tags"))
    record = run_config(
        "task=conll", f"task.path={rows['train']}", "task.max_length=64",
        f"task.split.validation_path={rows['validation']}",
        f"task.split.evaluation_path={rows['evaluation']}",
        "teacher=local", f"teacher.path={teacher}", "teacher.finetune.epochs=0",
        "student=pretrained", f"student.path={student}", "student.distillation.epochs=2",
        "student.distillation.alpha=0.5", "student.distillation.patience=1",
        folder=tmp_path / "run",
    )  # fmt: skip
    score = record.metrics.score
    assert (score.metric, score.samples) == ("entity_f1", 8)
    assert {"entity_precision", "entity_recall", "tag_accuracy"} == set(score.others)
    assert record.comparison.test == ("paired permutation test of F1 over sentences, 10,000 draws")


def test_a_long_sentence_becomes_rows_that_fit(tmp_path: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(build("bert", tmp_path))
    words = tuple("abcdefgh" for _ in range(30))
    whole = TaggedSplit("rows", [TaggedRow(0, words, (1,) * 30), TaggedRow(1, ("a",), (0,))], 24)
    model: Any = type("Model", (), {"tokenizer": tokenizer})
    assert whole.truncated(tokenizer) == 0.5
    made = whole.tokenized(model)
    assert made.truncated(tokenizer) == 0
    assert len(made) > 3
    assert (made.labels[:, 1:] != IGNORED).sum() == 31
    assert made.tokenized(model) is made
    batch = made.batch(tokenizer, [*made.encode(tokenizer).remove_columns("length")])
    assert batch[PLACES].shape == (len(made), made.labels.shape[1] - 1)
    tokenizer.padding_side = "left"
    left = made.batch(tokenizer, [*made.encode(tokenizer).remove_columns("length")])
    for ids, there, other, here in zip(
        batch["input_ids"], batch[PLACES], left["input_ids"], left[PLACES], strict=True
    ):
        real = there >= 0
        assert ids[there[real]].tolist() == other[here[real]].tolist()
