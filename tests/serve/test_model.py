from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from compress.serve.folder import Outputs
from compress.serve.loading import load
from compress.serve.model import ServedModel
from compress.serve.session import Session
from compress.serve.texts import TextEncoder

UNNAMED = Outputs()
SINGLE, MULTI = "single_label_classification", "multi_label_classification"


class Fixed(Session):
    """Gives the same logits for every text, and counts batches."""

    precision = "float32"

    def __init__(self, row: tuple[float, ...]) -> None:
        self.row, self.batches = row, 0

    def run(self, batch: Any) -> Any:
        self.batches += 1
        return np.array([self.row] * len(batch["input_ids"]), dtype=np.float32)


class Lengths(TextEncoder):
    """Tokenizes a text as its length."""

    name, reason, max_length = "lengths", None, 7

    def encode(self, columns: Any, max_length: int | None) -> Any:
        assert max_length == 7
        return {"input_ids": np.array([[sum(map(len, row))] for row in zip(*columns, strict=True)])}

    def offsets(self, texts: Any) -> Any:
        raise AssertionError("nothing here tags words")


def model(outputs: Outputs = UNNAMED, row: tuple[float, ...] = (0.0, 2.0)) -> ServedModel:
    return ServedModel(Fixed(row), Lengths(), outputs)


@pytest.mark.parametrize(
    ("texts", "error", "reason"),
    [
        (("a film",), TypeError, "texts must be a list of texts, got one str"),
        ((["a film"], "good"), TypeError, "got one str"),
        ((b"a film",), TypeError, "got one bytes"),
        ((None,), TypeError, "got NoneType"),
        (({"a": 1},), TypeError, "got dict"),
        (({"a"},), TypeError, "got set"),
        ((iter(["a"]),), TypeError, "got list_iterator"),
        (([b"a"],), TypeError, "got b'a' at place 0"),
        ((["a", "b"], ["a", None]), TypeError, "got None at place 1"),
        ((np.array(["a", math.nan], dtype=object),), TypeError, "got nan at place 1"),
        (([],), ValueError, "expected one or more texts, got none"),
        ((["a", "b"], ["c"]), ValueError, "as many second texts as 2, got 1"),
        ((["a film", "\ud800"],), ValueError, r"valid Unicode, got '\\ud800' at place 1"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(
    texts: Any, error: type[Exception], reason: str
) -> None:
    for ask in (model().logits, model(Outputs(("no", "yes"), SINGLE)).classify):
        with pytest.raises(error, match=reason):
            ask(*texts)


def test_a_model_of_images_is_used_with_its_processor() -> None:
    images = ServedModel(Fixed((0.0, 1.0)), None, Outputs(("a", "b"), SINGLE), processor="images")
    assert (images.tokenizer, images.processor) == (None, "images")
    with pytest.raises(TypeError, match=r"the model reads no single texts; use model\.predict\("):
        images.logits(["a film"])


def test_probabilities_have_the_temperature_and_texts_come_in_batches() -> None:
    served = model(Outputs(("no", "yes"), SINGLE, temperature=2.0))
    likely = 1 / (1 + math.exp(-1.0))  # logits of 0 and 1
    assert served.predict_proba(["a"]).tolist() == [pytest.approx([1 - likely, likely])]
    session = Fixed((0.0, 2.0))
    served = ServedModel(session, Lengths(), served.outputs)
    found = served.classify(["a film"] * 70)
    assert (len(found), session.batches) == (70, 3)
    assert found[0] == {"label": "yes", "score": pytest.approx(likely)}


def test_large_logits_do_not_overflow() -> None:
    labels = ("a", "b")
    one = model(Outputs(labels, SINGLE), (-3e4, 3e4)).predict_proba(["a"])
    several = model(Outputs(labels, MULTI), (-3e4, 3e4)).predict_proba(["a"])
    assert one.tolist() == several.tolist() == [[0.0, 1.0]]


def test_several_labels_a_text_are_each_by_itself() -> None:
    [found] = model(Outputs(("a", "b"), MULTI), (-1.0, 2.0)).classify(["a film"])
    assert found == {"labels": ["b"], "scores": [pytest.approx(1 / (1 + math.exp(-2)))]}
    assert model(Outputs(("a", "b"), MULTI), (-1.0, -2.0)).classify(["a film"]) == [
        {"labels": [], "scores": []}
    ]


def test_what_has_no_classes_is_refused() -> None:
    for outputs in (Outputs(), Outputs(("score",), "regression")):
        with pytest.raises(TypeError, match="the model has no classes; use logits, or predict"):
            model(outputs).classify(["a film"])


def test_any_sequence_of_texts_is_taken() -> None:
    served = model()
    assert served.logits(np.array(["a", "b"])).shape == (2, 2)  # type: ignore[arg-type]
    assert served.logits(("a", "b"), ("c", "d")).shape == (2, 2)


class Writer(Session):
    """Goes on with the numbers after the last one."""

    precision, decodes = "float32", True

    def run(self, batch: Any) -> Any:
        raise AssertionError("nothing is scored")

    def decode(self, tokens: Any, count: int) -> Any:
        return iter(range(tokens[0, -1] + 1, tokens[0, -1] + 1 + count))


class Numbers:
    """Texts are numbers; 12 ends one."""

    eos_token_id = 12

    def __call__(self, text: str, return_tensors: str) -> Any:
        assert return_tensors == "np"
        return {"input_ids": np.array([[int(each) for each in text.split()]])}

    def decode(self, tokens: Any) -> str:
        return " ".join(map(str, tokens))


def test_text_goes_on_until_its_end_or_the_count() -> None:
    writer = ServedModel(Writer(), None, UNNAMED, Numbers())
    assert writer.generate("1 4", 3) == "5 6 7"
    assert writer.generate("7 9") == "10 11"
    assert writer.generate("11") == ""
    several = ServedModel(Writer(), None, Outputs(ends=(9, 7)), Numbers())
    assert several.generate("1 4") == "5 6"
    with pytest.raises(ValueError, match="tokens must be at least 1, got 0"):
        writer.generate("1", 0)
    with pytest.raises(ValueError, match="text must have a token, got ''"):
        writer.generate("")
    with pytest.raises(TypeError, match="text must be one text, got list"):
        writer.generate(["1", "2"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="texts must be valid Unicode"):
        writer.generate("a\ud800")


def test_a_classifier_generates_nothing() -> None:
    with pytest.raises(TypeError, match="generates no text; use logits, or predict"):
        model().generate("a film")


def test_arrays_of_texts_are_read() -> None:
    assert model().logits(np.array(["a", "b"])).shape == (2, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_threads_are_a_number_from_1(threads: Any, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="threads must be null or a whole number from 1, got"):
        load(tmp_path, threads)


@pytest.mark.parametrize(
    ("columns", "given", "said"),
    [
        (2, (["a"],), "the model reads pairs of texts: give as many second ones"),
        (1, (["a"], ["b"]), "the model reads single texts, got second ones"),
    ],
)
def test_pairs_and_single_texts_are_not_taken_for_each_other(
    columns: int, given: Any, said: str
) -> None:
    served = ServedModel(Fixed((0.0, 1.0)), Lengths(), UNNAMED, columns=columns)
    with pytest.raises(TypeError, match=said):
        served.logits(*given)
    assert served.logits(*[["a"]] * columns).shape == (1, 2)
