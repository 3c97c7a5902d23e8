from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

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
