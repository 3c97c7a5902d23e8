from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from compress.core.inference import Outputs
from compress.interfaces import CompressedModel
from compress.transformer.torch_model import TorchModel


@pytest.mark.parametrize(
    ("architecture", "texts", "error", "reason"),
    [
        ("bert", ("a film",), TypeError, "texts must be a list of texts, got one text"),
        ("bert", (["a film"], "good"), TypeError, "got one text"),
        ("bert", ([],), ValueError, "expected one or more texts, and as many second ones, got 0"),
        ("bert", (["a", "b"], ["c"]), ValueError, "got 2 and 1"),
        ("vit", (["a film"],), TypeError, "the model reads images, not texts; use predict"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(
    architecture: str,
    texts: Any,
    error: type[Exception],
    reason: str,
    teachers: Callable[[str], CompressedModel],
) -> None:
    teacher = teachers(architecture)
    model = TorchModel(teacher.module, teacher.tokenizer, "cpu")
    with pytest.raises(error, match=reason):
        model.logits(*texts)


def test_a_model_between_stages_truncates_to_what_its_tokenizer_says(
    teacher: CompressedModel,
) -> None:
    model = TorchModel(teacher.module, teacher.tokenizer, "cpu")
    assert teacher.tokenizer.model_max_length == 512  # type: ignore[union-attr]
    long = " ".join(["film"] * 510)
    assert torch.equal(model.logits([long]), model.logits([f"{long} dull"]))


SINGLE, MULTI = "single_label_classification", "multi_label_classification"


class Fixed(TorchModel):
    """A model that gives the same logits for every text."""

    row = (0.0, 2.0)

    def predict(self, batch: Any) -> torch.Tensor:
        return torch.tensor([self.row] * len(batch["input_ids"]))


def fixed(teacher: CompressedModel, outputs: Outputs) -> Fixed:
    model = Fixed(teacher.module, teacher.tokenizer, "cpu")
    model.outputs = outputs
    return model


def test_probabilities_have_the_temperature(teacher: CompressedModel) -> None:
    model = fixed(teacher, Outputs(("no", "yes"), SINGLE, temperature=2.0))
    likely = 1 / (1 + math.exp(-1.0))  # logits of 0 and 1
    assert model.predict_proba(["a"]).tolist() == [pytest.approx([1 - likely, likely])]
    found = model.classify(["a film"] * 70)
    assert len(found) == 70
    assert found[0] == {"label": "yes", "score": pytest.approx(likely)}


def test_several_labels_a_text_are_each_by_itself(teacher: CompressedModel) -> None:
    model = fixed(teacher, Outputs(("a", "b"), MULTI))
    model.row = (-1.0, 2.0)
    [found] = model.classify(["a film"])
    assert found == {"labels": ["b"], "scores": [pytest.approx(1 / (1 + math.exp(-2)))]}
    model.row = (-1.0, -2.0)
    assert model.classify(["a film"]) == [{"labels": [], "scores": []}]


def test_what_has_no_classes_is_refused(teacher: CompressedModel) -> None:
    for outputs in (Outputs(), Outputs(("score",), "regression")):
        with pytest.raises(TypeError, match="the model has no classes; use logits, or predict"):
            fixed(teacher, outputs).classify(["a film"])
    model = fixed(teacher, Outputs(("no", "yes"), SINGLE))
    with pytest.raises(ValueError, match="as many second texts, got 1 and 2"):
        model.classify(["a"], ["b", "c"])
    with pytest.raises(ValueError, match="expected one or more texts"):
        model.classify([])
