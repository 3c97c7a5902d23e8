from __future__ import annotations

import pytest
import torch

from compress.interfaces import CompressedModel
from compress.measure.score import predict_all, score
from compress.problem.classification import Classification
from compress.transformer.torch_model import TorchModel
from tests.tiny import make_split


def test_score_by_hand() -> None:
    split = make_split(4)  # labels 0 1 0 1
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    made = score(logits, split, 2, Classification(("sad", "glad")))
    assert (made.metric, made.value, made.quality) == ("accuracy", 0.75, 0.75)
    # class 0: P = 1, R = 1/2, F1 = 2/3; class 1: P = 2/3, R = 1, F1 = 4/5
    assert made.others["f1_macro"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert (made.samples, made.batch_size, made.split) == (4, 2, "train")


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_predictions_come_in_the_rows_order(batch_size: int, teacher: CompressedModel) -> None:
    model, split = TorchModel(teacher.module, teacher.tokenizer, "cpu"), make_split(7)
    rows = split.encode(teacher.tokenizer).remove_columns("length")
    alone = [model.predict({k: torch.tensor([v]) for k, v in row.items()}) for row in rows]
    assert torch.allclose(predict_all(model, split, batch_size), torch.cat(alone), atol=1e-5)


def test_what_is_kept_of_a_batch_comes_in_the_rows_order(teacher: CompressedModel) -> None:
    model, split = TorchModel(teacher.module, teacher.tokenizer, "cpu"), make_split(7)
    lengths = predict_all(model, split, 3, lambda _, inputs: inputs["attention_mask"].sum(dim=1))
    assert lengths.tolist() == split.encode(teacher.tokenizer)["length"][:]
