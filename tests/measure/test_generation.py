from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compress.core.benchmark import GenerationLength
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, InferenceModel
from compress.measure.generation import Writing, measure_generation, write_in_turns
from compress.transformer.torch_model import TorchModel
from tests.tiny import tiny_teacher

LENGTH = GenerationLength(prompt=5, new_tokens=8)


def language_model(architecture: str) -> Any:
    torch.manual_seed(0)
    module = tiny_teacher(architecture)._module("language_model", {}).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(8)  # so that the likeliest token depends on those before it
    return module


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "opt", "gpt_neox"])
def test_what_is_written_is_what_transformers_generates(architecture: str) -> None:
    module = language_model(architecture)
    prompt = torch.tensor([[5, 9, 3, 77, 12]])
    written = [int(token) for token in TorchModel(module, None, "cpu").decode(prompt, 8)]  # type: ignore[arg-type]
    expected = module.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, min_new_tokens=8,
        max_new_tokens=8, eos_token_id=None,
    )  # fmt: skip
    assert written == expected[0, 5:].tolist()
    assert len(set(written)) > 1


class Writer:
    """A worker that writes at a speed of its own; the first text is slow."""

    def __init__(self, token_ms: float, log: list[float]) -> None:
        self.token_ms, self.log, self.texts = token_ms, log, 0

    def generate(self, tokens: Any, count: int) -> tuple[float, float]:
        assert (tokens.shape, count) == ((1, 5), 8)
        self.log.append(self.token_ms)
        self.texts += 1
        return 10 * self.token_ms, self.token_ms * (9 if self.texts == 1 else 1)


class FakePair:
    def __init__(self) -> None:
        self.log: list[float] = []
        self.writers = Writer(2.0, self.log), Writer(8.0, self.log)

    def wake(self, which: int) -> Writer:
        return self.writers[which]


def test_bothwrite_in_turns_and_the_first_texts_do_not_count() -> None:
    pair, writing = FakePair(), Writing(LENGTH)
    prompts = [np.ones((1, 5), dtype=np.int64)] * 2
    write_in_turns(pair, prompts, 2, 0.0, writing)  # type: ignore[arg-type]
    assert pair.log == [2, 8, 2, 8, 8, 2, 8, 2, 2, 8]
    ours, theirs = (writing.of(which, 0) for which in (0, 1))
    assert (ours.samples, ours.time_to_first_token_ms, ours.tokens_per_second) == (4, 20, 500)
    assert (theirs.time_to_first_token_ms, theirs.tokens_per_second) == (80, 125)
    assert [ours.speedup, ours.speedup_low, ours.speedup_high] == pytest.approx([4.0] * 3)
    assert theirs.speedup is None


def test_what_keeps_nothing_writes_nothing(
    teacher: CompressedModel, device: Cpu, tmp_path: Path
) -> None:
    benchmark = replace(device.benchmark, generation=LENGTH)
    model: InferenceModel = TorchModel(teacher.module, teacher.tokenizer, "cpu")
    assert not model.decodes
    both = (model, model), (tmp_path, tmp_path)
    found = measure_generation(*both, None, replace(device, benchmark=benchmark), 0)  # type: ignore[arg-type]
    assert found is None
    with pytest.raises(NotImplementedError, match="has no KV cache"):
        InferenceModel.decode(model, torch.ones(1, 5), 2)
