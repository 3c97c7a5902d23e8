from __future__ import annotations

import copy

import pytest
import torch

from compress.device.cpu import Cpu
from compress.distillation import label_loss
from compress.interfaces import CompressedModel, TrainingData
from compress.measure.score import predict_all
from compress.runtime.torch import TorchModel
from compress.train import Training, train_

TRAINING = Training(epochs=6, learning_rate=0.01, batch_size=8, warmup_fraction=0.1)


def trained(
    teacher: CompressedModel, data: TrainingData, device: Cpu, seed: int
) -> dict[str, torch.Tensor]:
    module = copy.deepcopy(teacher.module)
    loss = label_loss(torch.tensor(data.train.labels))
    train_(module, teacher.tokenizer, data.train, TRAINING, loss, device=device, seed=seed)
    assert not module.training
    return module.state_dict()


def test_training_learns_and_repeats_exactly(
    teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    first, second, other = (trained(teacher, data, device, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    module = copy.deepcopy(teacher.module)
    module.load_state_dict(first)
    logits = predict_all(TorchModel(module, teacher.tokenizer, "cpu"), data.validation, 8)
    assert logits.argmax(dim=1).tolist() == list(data.validation.labels)


def test_bfloat16_training_works(
    teacher: CompressedModel, data: TrainingData, device: Cpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor without bfloat16 arithmetic it is slow and still right."""
    monkeypatch.setattr(Cpu, "training_dtype", lambda _: torch.bfloat16)
    state = trained(teacher, data, device, 0)
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert {t.dtype for t in state.values() if t.is_floating_point()} == {torch.float32}
