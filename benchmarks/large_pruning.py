"""Pruning a 7-billion-parameter model: `python -m benchmarks.large_pruning docs/large_pruning.md`.

A Llama of 7B shape with random weights in bfloat16, as its papers prune it: 128 calibration rows of
2,048 tokens. What is timed is the pruning, calibration included, without loading and saving. Time
and memory do not depend on the weights' values.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from jaxtyping import Int
from torch import Tensor

from compress.interfaces import Split, StageContext
from compress.measure.environment import machine
from compress.pruner.components.base import BasePruner, PruningState
from tests.configs import settings_of

VOCABULARY = 32_000
LLAMA_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32}
METHODS = (
    ("magnitude", ("pruner.sparsity=0.5",)),
    ("wanda", ("pruner.sparsity=0.5",)),
    ("wanda", ("pruner.sparsity=0.5", "pruner.pattern='2:4'")),
    ("sparsegpt", ("pruner.sparsity=0.5",)),
    ("sparsegpt", ("pruner.sparsity=0.5", "pruner.pattern='2:4'")),
)


class FixedTokens(Split):
    """Rows of tokens."""

    name = digest = "tokens"

    def __init__(self, ids: Int[Tensor, "rows length"]) -> None:
        """Stores the tokens."""
        self._ids = ids

    @property
    def labels(self) -> Tensor:
        """There are none."""
        return torch.zeros(len(self._ids))

    def encode(self, tokenizer: Any) -> Dataset:
        """The tokens."""
        lengths = [self._ids.shape[1]] * len(self._ids)
        return Dataset.from_dict({"input_ids": self._ids.numpy(), "length": lengths})

    def collate(self, tokenizer: Any, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """A batch."""
        return {"input_ids": torch.tensor([row["input_ids"] for row in rows])}


@dataclass
class CalibrationOnly:
    """The part of the training data that these pruners read."""

    calibration: Split


def main() -> None:
    """Prunes with every method and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="the Markdown file to write")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, VOCABULARY, (arguments.rows, arguments.length), generator=generator)
    rows = FixedTokens(ids)
    module = _model(arguments.layers, arguments.device)
    original = {name: tensor.to("cpu", copy=True) for name, tensor in module.state_dict().items()}
    lines = []
    for name, overrides in METHODS:
        module.load_state_dict(original)
        seconds, peak, zeros = _pruned(module, name, overrides, rows)
        recipe = " ".join([name, *(setting.removeprefix("pruner.") for setting in overrides)])
        lines.append(f"| {recipe} | {seconds:.1f} | {peak / 1e9:.1f} | {zeros:.2%} |")
        sys.stdout.write(f"{lines[-1]}\n")
        sys.stdout.flush()
    parameters = sum(parameter.numel() for parameter in module.parameters())
    page = [
        "# Pruning a 7-billion-parameter model",
        "",
        f"Made by `python -m benchmarks.large_pruning docs/large_pruning.md`; {machine()}; torch "
        f"{torch.__version__}. A Llama with {parameters / 1e9:.2f} billion random bfloat16 weights "
        f"in {arguments.layers} layers, {arguments.rows} calibration rows of {arguments.length} "
        "tokens. Seconds of pruning with its calibration, without loading and saving; GPU memory "
        "is the peak beyond the weights.",
        "",
        "| recipe | seconds | GB | zeros in the layers |",
        "| --- | --- | --- | --- |",
        *lines,
    ]
    arguments.page.write_text("\n".join(page) + "\n", encoding="utf-8")


def _model(layers: int, device: str) -> transformers.PreTrainedModel:
    transformers.set_seed(0)
    config = transformers.LlamaConfig(**LLAMA_7B, num_hidden_layers=layers, dtype="bfloat16")
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(config).eval()


def _pruned(
    module: transformers.PreTrainedModel, name: str, overrides: Sequence[str], rows: Split
) -> tuple[float, int, float]:
    """Seconds, peak bytes on the GPU beyond the weights, and the share of zeros."""
    pruner = settings_of("pruner", name, *overrides)
    assert isinstance(pruner, BasePruner)
    ctx = StageContext(None, CalibrationOnly(rows), None, 0, None)
    work = PruningState(module, None, ())
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    pruner.prune_(work, ctx)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() - before
    pruned = sum(module.get_parameter(key).numel() for key in work.zeros)
    return seconds, peak, sum(work.zeros.values()) / pruned


if __name__ == "__main__":
    main()
