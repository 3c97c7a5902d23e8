from __future__ import annotations

import types
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from compress.interfaces import CompressedModel
from compress.measure.latency import fill_shape
from compress.measure.memory import peak_memory
from compress.runtime.torch import TorchModel
from tests.conftest import make_split


class Chain(nn.Module):
    """10 → 1000 → 10: while the second layer runs, its input, its output and x are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(10, 1000), nn.Linear(1000, 10)

    def forward(self, x: Tensor) -> types.SimpleNamespace:
        return types.SimpleNamespace(logits=self.narrow(self.wide(x)))


class Plain(TorchModel):
    def weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.module.named_parameters()


def test_by_hand() -> None:
    model = Plain(Chain(), PreTrainedTokenizerFast, "cpu")  # type: ignore[arg-type]
    weights = 4 * (10 * 1000 + 1000 + 1000 * 10 + 10)
    alive = 4 * 7 * (10 + 1000 + 10)  # input, both outputs
    assert peak_memory(model, {"x": torch.zeros(7, 10)}) == weights + alive


def test_it_repeats_and_grows_with_the_shape(teacher: CompressedModel) -> None:
    model = TorchModel(teacher.module, teacher.tokenizer, "cpu")
    small, large = (fill_shape(model, make_split(4), n, 16) for n in (1, 8))
    assert peak_memory(model, small) == peak_memory(model, small)
    weights = sum(p.numel() * p.element_size() for p in teacher.module.parameters())
    assert weights < peak_memory(model, small) < peak_memory(model, large)
