from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from compress.serve.folder import Outputs
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


def model(outputs: Outputs = UNNAMED, row: tuple[float, ...] = (0.0, 2.0)) -> ServedModel:
    return ServedModel(Fixed(row), Lengths(), outputs)


@pytest.mark.parametrize(
    ("texts", "error", "reason"),
    [
        (("a film",), TypeError, "texts must be a list of texts, got one text"),
        ((["a film"], "good"), TypeError, "got one text"),
        (([],), ValueError, "expected one or more texts, and as many second ones, got 0"),
        ((["a", "b"], ["c"]), ValueError, "got 2 and 1"),
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
