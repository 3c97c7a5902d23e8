"""Multiple choice and last words: from a file to tokens, and to the scores of a model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.config.errors import ConfigError, UserError
from compress.interfaces import InferenceModel
from compress.measure.score import predict_all
from compress.problem.endings import BEGIN, CHARACTERS, END, RIGHT, Endings
from compress.records.schema import FinishedRun
from compress.task.components.ending_rows import EncodedEndings, EndingRows, Question
from tests.configs import settings_of
from tests.task.tables import refusal
from tests.task.test_windows import model_of, numbered

HEADER = "question,a,b,c,d,answer"


def task(path: Path, name: str = "multiple_choice", *more: str) -> Any:
    return settings_of("task", name, f"task.path={path}", *more)


def write(folder: Path, *lines: str) -> Path:
    path = folder / "questions.csv"
    path.write_text("\n".join((HEADER, *lines)) + "\n")
    return path


def questions(part: Any) -> list[Question]:
    assert isinstance(part, EndingRows)
    return list(part.questions)


def test_a_row_becomes_a_question(tmp_path: Path) -> None:
    lines = [f"what is {i} ?,w{i}, w2 ,,w4,{('d', '3')[i % 2]}" for i in range(10)]
    data = task(write(tmp_path, *lines)).load()
    held_out = questions(data.evaluation) + questions(data.training.validation)
    assert len(questions(data.evaluation)) == 5
    assert len(questions(data.training.validation)) == 1
    for each in held_out:
        number = each.text.split()[2]
        assert each == Question(
            f"what is {number} ?", (f" w{number}", " w2", " w4"), 2, (len(f"w{number}"), 2, 2)
        )
    learned = data.training.train.columns[0][0].split("\n\n")
    assert len(learned) == 4
    assert not {each.whole for each in held_out} & set(learned)
    assert data.source == "questions.csv (commas, not quoted, utf-8; 10 rows)"


def test_a_text_in_two_parts_stays_for_the_scores(tmp_path: Path) -> None:
    lines = [f"what is {i % 6} ?,w1,w2,w3,w4,a" for i in range(12)]
    data = task(write(tmp_path, *lines)).load()
    texts = [{each.text for each in questions(part)} for part in (data.evaluation,)]
    learned = data.training.train.columns[0][0]
    assert all(text not in learned for text in texts[0])
    assert "dropped from" in data.source


def test_last_words(tmp_path: Path) -> None:
    path = tmp_path / "passages.jsonl"
    texts = [f"one two {i} and\n word{i} " for i in range(8)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    data = task(path, "last_word").load()
    for each in questions(data.evaluation):
        number = each.text.split()[2]
        ending = f"\n word{number}"
        assert each == Question(f"one two {number} and", (ending,), 0, (len(ending) - 2,))
    assert data.training.problem == Endings(several=False)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (",w1,w2,w3,w4,a", "row 2 has nothing in column 'question', expected text"),
        ("x,w1,w2,w3,w4,e", "row 2 has 'e' in column 'answer', expected a, b, c, d, or a number "),
        ("x,w1,w2,w3,w4,4", "row 2 has '4' in column 'answer', expected a, b, c, d, or a number "),
        ("x,w1,w2,w3,,d", "row 2 has 3 endings, expected two or more with that of column 'd'"),
        ("x,w1,,,,a", "row 2 has 1 endings, expected two or more with that of column 'a'"),
    ],
)
def test_a_row_that_is_no_question_is_refused(line: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, "y,w1,w2,w3,w4,a", line, *["z,w1,w2,w3,w4,a"] * 8)
    assert said in refusal(task(path))


def test_numbers_of_answers_are_those_of_columns_or_places_never_both(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    setting = "task.endings=['1','2','3','4']"
    rows = "".join(f"what {i},a,b,c,d,{{}}\n" for i in range(10))
    text = f"question,1,2,3,4,answer\n{rows}"
    path.write_text(text.format(*["2"] * 10))
    data = task(path, "multiple_choice", setting).load()
    assert {each.answer for each in questions(data.evaluation)} == {1}
    path.write_text(text.format(*["2"] * 9, "0"))
    said = refusal(task(path, "multiple_choice", setting))
    assert said.endswith("row 10 has '0' in column 'answer', expected 1, 2, 3, 4")


def test_whole_numbers_may_have_a_point(tmp_path: Path) -> None:
    data = task(write(tmp_path, *[f"what {i},w1,w2,w3,w4,3.0" for i in range(10)])).load()
    assert {each.answer for each in questions(data.evaluation)} == {3}


def test_a_text_of_one_word_has_no_last_one(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("text\none two\nonly\n")
    assert "row 2 has one word, expected a text before it" in refusal(task(path, "last_word"))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("task.endings=[a]", "task.endings must be a list of 2 or more, got ['a']"),
        ("task.endings=[a,a]", "must name each column once, got question, a, a, answer"),
    ],
)
def test_settings(setting: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        task(Path("x.csv"), "multiple_choice", setting)
    assert said in str(refused.value)


def encoded(asked: list[Question], positions: int = 8) -> EncodedEndings:
    return EndingRows("questions", asked, None).tokenized(model_of(numbered(), positions))


def test_endings_are_tokens_behind_their_text() -> None:
    """The tokenizer puts a 0 in front and names wi by i + 1."""
    asked = [
        Question("w1 w2", (" w3", " w4 w5"), 1, (2, 5)),
        Question("w1 w2 w3 w4 w5 w6 w7", (" w8 w9",), 0, (5,)),
    ]
    rows = encoded(asked)
    columns = rows.encode(rows._tokenizer)
    assert columns["input_ids"][:] == [[0, 2, 3, 4], [0, 2, 3, 5, 6], [3, 4, 5, 6, 7, 8, 9, 10]]
    assert columns["length"][:] == [4, 5, 8]
    labels = rows.labels
    assert labels[..., (BEGIN, END)].tolist() == [[[2, 3], [2, 4]], [[5, 7], [0, 0]]]
    assert labels[..., CHARACTERS].tolist() == [[2, 5], [5, 0]]
    assert labels[..., RIGHT].tolist() == [[0, 1], [1, 0]]
    batch = rows.collate(rows._tokenizer, [columns.remove_columns("length")[i] for i in (0, 1)])
    assert batch["input_ids"].tolist() == [[0, 2, 3, 4, 0], [0, 2, 3, 5, 6]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


def test_an_ending_that_leaves_no_room_for_its_text_is_refused() -> None:
    ending = "".join(f" w{i}" for i in range(8))
    with pytest.raises(UserError, match=r"has 8 tokens after 2 of its text, of 8 that a row takes"):
        _ = encoded([Question("w1", (ending,), 0, (len(ending),))]).labels


def test_a_whole_run(run_config: Callable[..., FinishedRun], tmp_path: Path) -> None:
    lines = [f"what is {i} and {'x ' * (i % 7)}?,w{i},w2 w3,w4,w5 w6,b" for i in range(60)]
    record = run_config(
        "task=multiple_choice", f"task.path={write(tmp_path, *lines)}", "task.max_length=32",
        "teacher.architecture=llama", "teacher.layers=2", "teacher.hidden=16",
        "teacher.finetune.epochs=4", "teacher.finetune.learning_rate=0.01", "pruner=wanda",
        "task.calibration_samples=4",
    )  # fmt: skip
    score = record.baseline.score
    assert (score.metric, score.samples, record.data.evaluation) == ("accuracy", 30, 30)
    assert score.value > 0.9  # it is always the same ending
    assert set(score.others) == {"accuracy_by_length"}
    assert record.comparison.n_regressed is not None
    written = record.metrics.generation
    assert written is not None


class Counting:
    """A model whose next token is the last one and 1, with odds of 3 to 1 against each other."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def predict(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        following = (batch["input_ids"] + 1) % 64
        return torch.nn.functional.one_hot(following, 64).float() * torch.tensor(3.0).log()


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_scores_do_not_depend_on_batches(batch_size: int) -> None:
    asked = [
        Question("w1 w2", (" w3", " w4"), 0, (2, 2)),
        Question("w1 w2 w3 w4", (" w6 w7", " w5 w6"), 0, (5, 5)),
        Question("w7", (" w8", " w9"), 0, (2, 2)),
    ]
    rows = encoded(asked)
    model: InferenceModel = Counting(rows._tokenizer)  # type: ignore[assignment]
    problem = Endings(several=True)
    kept = predict_all(model, rows, batch_size, problem.kept)
    assert problem.evaluate(kept, rows.labels).value == pytest.approx(2 / 3)
    only = [dataclasses.replace(q, endings=q.endings[:1], characters=(1,)) for q in asked]
    rows, word = encoded(only), Endings(several=False)
    kept = predict_all(model, rows, batch_size, word.kept)
    found = word.evaluate(kept, rows.labels)
    assert found.value == pytest.approx(2 / 3)
    # Probabilities of 3/66, (1/66 · 3/66) and 3/66.
    assert found.others["ending_perplexity"] == pytest.approx((66**4 / 27) ** (1 / 3))
