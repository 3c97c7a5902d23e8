"""Products of a GPU in formats other than bfloat16: `python -m benchmarks.gpu_linears`.

One Linear at a time with random weights, each call launched by itself: for small matrices the time
of launching is all there is.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.sparse import to_sparse_semi_structured

from compress.pruner.components.masks import keep_pattern
from compress.quantizer.fp8 import E4M3, Fp8Linear
from compress.transformer.packing import quantize_per_channel

SIZES = (
    (384, 384), (1024, 1024), (4096, 1024), (1024, 4096),
    (4096, 4096), (11008, 4096), (4096, 11008),
)  # fmt: skip
TOKENS = (128, 2048, 8192)
WARM_UP, CALLS = 3, 20


@torch.inference_mode()
def main() -> None:
    """Prints a row of microseconds for each size."""
    named = False
    for (out_features, in_features), tokens in itertools.product(SIZES, TOKENS):
        calls = _calls(out_features, in_features, tokens)
        if not named:
            _print(["out × in, tokens", *calls])
            _print(["---"] * (1 + len(calls)))
            named = True
        times = [f"{_microseconds(call):.0f}" for call in calls.values()]
        _print([f"{out_features} × {in_features}, {tokens}", *times])


def _calls(out_features: int, in_features: int, tokens: int) -> dict[str, Callable[[], Tensor]]:
    torch.manual_seed(0)
    linear = nn.Linear(in_features, out_features, bias=False, device="cuda", dtype=torch.bfloat16)
    x = torch.randn(tokens, in_features, device="cuda", dtype=torch.bfloat16)
    fp8 = Fp8Linear.of(linear).cuda()
    x8, ones = x.to(E4M3), torch.ones(tokens, 1, device="cuda")
    codes = quantize_per_channel(linear.weight.float())[0]
    integers = torch.randint(-127, 127, x.shape, device="cuda", dtype=torch.int8)
    pruned = linear.weight * keep_pattern(linear.weight.abs(), 2, 4)
    halves = to_sparse_semi_structured(pruned)
    compiled = torch.compile(fp8, dynamic=True)
    return {
        "bf16": lambda: linear(x),
        "fp8": lambda: fp8(x),
        "fp8, compiled": lambda: compiled(x),
        "fp8 product alone": lambda: torch._scaled_mm(
            x8, fp8.qweight.T, ones, fp8.scale, out_dtype=torch.bfloat16, use_fast_accum=True
        ),
        "int8 product alone": lambda: torch._int_mm(integers, codes.T),
        "2:4": lambda: functional.linear(x, halves),
    }


def _microseconds(run: Callable[[], Tensor]) -> float:
    for _ in range(WARM_UP):
        run()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(CALLS):
        run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / CALLS * 1e3


def _print(cells: list[str]) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
