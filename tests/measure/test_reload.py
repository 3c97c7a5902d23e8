"""What was written against what is read back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from compress.config.errors import UserError
from compress.interfaces import CompressedModel, ExportResult, TrainingData
from compress.measure.reload import check_reload, rounding_share
from compress.transformer.torch_model import TorchModel
from tests.architectures import lively_

LOGITS = torch.tensor([[3.0, -3.0], [-3.0, 3.0]])


class Changed(TorchModel):
    """A model whose logits are another's, moved towards their mean by a share."""

    share = 0.0

    def predict(self, batch: Mapping[str, Tensor]) -> Tensor:
        logits = super().predict(batch)
        return logits + self.share * (logits.mean(dim=0) - logits)


@pytest.mark.parametrize(
    ("expected", "found", "share"),
    [
        (LOGITS, LOGITS, 0),
        (LOGITS, LOGITS + 0.3, 0.1),
        (LOGITS, torch.zeros(2, 2), 1),
        (LOGITS + 5, torch.full((2, 2), 5.0), 1),  # the same whatever is read
        (LOGITS / 300, torch.zeros(2, 2), 0.01),  # as a share of 1 where logits are small
    ],
)
def test_a_share_of_the_spread(expected: Tensor, found: Tensor, share: float) -> None:
    assert rounding_share(expected, found) == pytest.approx(share)


def test_rounded_activations_may_take_single_logits_far_but_not_all(
    teacher: CompressedModel, data: TrainingData
) -> None:
    lively_(teacher.module, 0)
    teacher.module.classifier.weight.data *= 20
    plain = TorchModel(teacher.module, teacher.tokenizer, "cpu")
    found = Changed(teacher.module, teacher.tokenizer, "cpu")
    exported = ExportResult(plain, 0.5, rounds_activations=True)
    for found.share in (0.0, 0.4):
        check_reload(exported, found, data.calibration)
    found.share = 0.6
    with pytest.raises(UserError, match=r"changes the logits by 60% of their spread.*50%"):
        check_reload(exported, found, data.calibration)
    with pytest.raises(AssertionError, match="logits of the reloaded model differ by up to"):
        check_reload(ExportResult(plain, 1e-5), found, data.calibration)


class WrongAt(TorchModel):
    """A model that is wrong for texts of one length."""

    wrong = 0

    def predict(self, batch: Mapping[str, Tensor]) -> Tensor:
        logits = super().predict(batch)
        return logits + (batch["input_ids"].shape[1] == self.wrong)


@pytest.mark.parametrize("wrong", [32, 8, 100])
def test_a_kernel_that_is_wrong_at_one_length_is_caught(
    wrong: int, teacher: CompressedModel, data: TrainingData
) -> None:
    plain = TorchModel(teacher.module, teacher.tokenizer, "cpu")
    found = WrongAt(teacher.module, teacher.tokenizer, "cpu")
    exported = ExportResult(plain, 1e-5)
    check_reload(exported, found, data.calibration, (8, 100))
    found.wrong = wrong
    with pytest.raises(AssertionError, match=rf"differ by up to 1.* at {wrong} tokens"):
        check_reload(exported, found, data.calibration, (8, 100))
