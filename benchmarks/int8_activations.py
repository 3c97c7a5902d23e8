"""Cost of one scale per token: `python benchmarks/int8_activations.py docs/int8_activations.md`.

Whole models with random weights of real shapes, in float32, as `int8_dynamic`, and with torch's own
dynamic kernel, which has one scale for all activations of a call and 7 bits. Forward passes take
turns; a ratio is the median over turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from compress.measure.environment import machine
from compress.quantizer.int8_dynamic import Int8Dynamic, Int8DynamicLinear, activation_max, prepack
from compress.transformer.packing import INT8_MAX

MINILM = {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12}
SMOLLM = {"num_hidden_layers": 30, "hidden_size": 576, "num_attention_heads": 9}
FLOAT, TOKEN, TENSOR = "float32", "a scale per token", "a scale per call, 7 bits"


class PerCall(Int8DynamicLinear):
    """torch's own dynamic kernel on the same codes."""

    def forward(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """X · Wᵀ + b with one scale for all of X."""
        if self._packed is None:
            self._packed = prepack(self.qweight, self.scale, self.bias)
        product: Tensor = torch.ops.quantized.linear_dynamic(x, self._packed, True)
        return product


class PerCallFormat(Int8Dynamic):
    """Puts that kernel in the place of every Linear."""

    def quantized(self, linear: torch.nn.Linear) -> PerCall:
        """The version of a Linear."""
        return PerCall.of(linear)


def encoder() -> PreTrainedModel:
    """The shapes of MiniLM-L6."""
    config = transformers.BertConfig(**MINILM, intermediate_size=1536)
    return transformers.BertForSequenceClassification(config).eval()


def decoder() -> PreTrainedModel:
    """The shapes of SmolLM2-135M."""
    config = transformers.LlamaConfig(
        **SMOLLM, num_key_value_heads=3, intermediate_size=1536, vocab_size=49152,
        tie_word_embeddings=True,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def formats(model: Callable[[], PreTrainedModel]) -> dict[str, PreTrainedModel]:
    """The same weights in each format."""
    models = {}
    for name, quantizer in (
        (FLOAT, None),
        (TENSOR, PerCallFormat(embeddings="none")),
        (TOKEN, Int8Dynamic(embeddings="none")),
    ):
        transformers.set_seed(0)
        models[name] = model()
        if quantizer is not None:
            quantizer.quantize_torch_(models[name])
    return models


def times(passes: dict[str, Callable[[], None]], seconds: float) -> dict[str, list[float]]:
    """Seconds of each pass, in turns."""
    found: dict[str, list[float]] = {name: [] for name in passes}
    for run in passes.values():
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found[FLOAT]) < 5:
        for name, run in passes.items():
            start = time.perf_counter()
            run()
            found[name].append(time.perf_counter() - start)
    return found


def forward(model: PreTrainedModel, shape: Sequence[int]) -> Callable[[], None]:
    """A forward pass over random tokens."""
    ids = torch.randint(5, 30_000, tuple(shape), generator=torch.Generator().manual_seed(0))
    return lambda: model(input_ids=ids, use_cache=False) and None


def next_token(model: PreTrainedModel, length: int) -> Callable[[], None]:
    """A forward pass over one token after a prompt, with a KV cache."""
    ids = torch.randint(5, 30_000, (1, length), generator=torch.Generator().manual_seed(0))
    cache = model(input_ids=ids, use_cache=True).past_key_values

    def run() -> None:
        model(input_ids=ids[:, :1], past_key_values=cache, use_cache=True)
        cache.crop(-1)

    return run


CASES: tuple[tuple[str, Callable[[], PreTrainedModel], Callable[..., Any], Any], ...] = (
    ("MiniLM-L6, 1 × 32 tokens", encoder, forward, (1, 32)),
    ("MiniLM-L6, 1 × 128", encoder, forward, (1, 128)),
    ("MiniLM-L6, 32 × 32", encoder, forward, (32, 32)),
    ("SmolLM2-135M, 1 × 256", decoder, forward, (1, 256)),
    ("SmolLM2-135M, one token behind 64", decoder, next_token, 64),
)


@torch.inference_mode()
def main() -> None:
    """Times everything and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="the Markdown file to write")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15.0, help="for each line")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines = [
        "# Cost of one scale per token",
        "",
        f"Made by `python benchmarks/int8_activations.py docs/int8_activations.md --threads "
        f"{arguments.threads}`; {machine()}; torch {torch.__version__}. Milliseconds are medians, "
        "ratios medians over turns with their quartiles. torch's own dynamic kernel has one scale "
        "for all activations of a call, in 7 bits; `int8_dynamic` has one for each token, in "
        f"{8 if activation_max() == INT8_MAX else 7} bits on this processor.",
        "",
        "| | float32 | a scale per call | a scale per token | ratio | faster than float32 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for case, model, passes, argument in CASES:
        runs = {name: passes(net, argument) for name, net in formats(model).items()}
        lines.append(line(case, times(runs, arguments.seconds)))
    arguments.page.write_text("\n".join(lines) + "\n")


def line(case: str, found: dict[str, list[float]]) -> str:
    """One row of the table."""
    medians = [f"{statistics.median(found[name]) * 1e3:.2f}" for name in (FLOAT, TENSOR, TOKEN)]
    ratios = [token / call for token, call in zip(found[TOKEN], found[TENSOR], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    gain = statistics.median(f / t for f, t in zip(found[FLOAT], found[TOKEN], strict=True))
    cells = [case, *medians, f"{middle:.2f} ({low:.2f} to {high:.2f})", f"{gain:.2f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
