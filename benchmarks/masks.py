"""Masks beside the authors' code: `python -m benchmarks.masks PAGE MODEL TEXT --wanda CHECKOUT`.

MODEL is the folder of a causal language model of Llama's kind, TEXT a file, CHECKOUT one of
github.com/locuslab/wanda, which has SparseGPT's code as well. Both prune the whole model layer by
layer on the same windows of the text; the last windows, which neither sees, are scored.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import math
import resource
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
import transformers
from torch import Tensor, nn

from benchmarks.large_pruning import CalibrationOnly, FixedTokens
from benchmarks.rounding import importable
from compress.interfaces import StageContext
from compress.measure.environment import machine
from compress.pruner.components.base import BasePruner, PruningState
from compress.report.tables import markdown_table
from compress.report.written import check_page
from tests.configs import settings_of

TITLE = "# Masks beside the authors' code"
SPARSITY = 0.5
TITLES = (
    "recipe", "equal masks", "in the first layer", "theirs in float64", "perplexity", "theirs",
    "in float64", "s", "theirs, s",
)  # fmt: skip
RECIPES = (("wanda", None), ("wanda", (2, 4)), ("sparsegpt", None), ("sparsegpt", (2, 4)))
NOTE = (
    "Masks: the share of weights that both keep or both drop, of all and in the first layer, where "
    "both read the same. The layers behind it read what the pruned ones before them give, so that "
    "one other weight changes others in turn: how far that goes by rounding alone is what the "
    "authors' code has in common with itself in float64. Of each block of columns, their SparseGPT "
    "drops one weight more than half."
)
Prune = Callable[[transformers.PreTrainedModel, Tensor], None]


class Pruned(NamedTuple):
    """A pruned model, the seconds that took, and its perplexity."""

    model: transformers.PreTrainedModel
    seconds: float
    perplexity: float


def main() -> None:
    """Prunes both ways, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--wanda", type=Path, required=True, help="a checkout")
    parser.add_argument("--rows", type=int, default=64, help="windows that are calibrated on")
    parser.add_argument("--scored", type=int, default=100, help="windows that are scored")
    parser.add_argument("--length", type=int, default=256, help="tokens of each")
    arguments = parser.parse_args()
    check_page(arguments.page, TITLE)
    model = transformers.AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
    ids = tokenizer(arguments.text.read_text(encoding="utf-8"), return_tensors="pt").input_ids[0]
    windows = ids[: len(ids) // arguments.length * arguments.length].view(-1, arguments.length)
    page = [TITLE, "", f"Made by `python -m benchmarks.masks {' '.join(sys.argv[1:])}`.", ""]
    page += list(_page(model.eval(), windows, arguments))
    arguments.page.write_text("\n".join(page) + "\n", encoding="utf-8")


def _page(
    model: transformers.PreTrainedModel, windows: Tensor, arguments: argparse.Namespace
) -> Iterator[str]:
    rows, scored = windows[: arguments.rows], windows[-arguments.scored :]
    before = _perplexity(model, scored)
    yield textwrap.fill(
        f"Machine: {machine()}; torch {torch.__version__}. {arguments.model.name}, half of the "
        f"weights, {rows.numel():,} tokens of calibration; perplexity on {scored.numel():,} "
        f"others, {before:,.0f} before. {NOTE}",
        100,
    )
    yield ""
    lines = []
    for name, pattern in RECIPES:
        ways = [_ours(name, pattern), _theirs(arguments.wanda, name, pattern)]
        ours, theirs = (_pruned(way, model, rows, scored) for way in ways)
        recipe = name if pattern is None else f"{name} {pattern[0]}:{pattern[1]}"
        exact = None
        if name == "sparsegpt":
            way = _theirs(arguments.wanda, name, pattern, exact=True)
            exact = _pruned(way, model, rows, scored)
        lines.append(
            [
                recipe,
                *_shares(ours, theirs),
                "–" if exact is None else _shares(theirs, exact)[0],
                *(f"{each.perplexity:,.0f}" for each in (ours, theirs)),
                "–" if exact is None else f"{exact.perplexity:,.0f}",
                *(f"{each.seconds:.1f}" for each in (ours, theirs)),
            ]
        )
        print(*lines[-1], flush=True)  # noqa: T201
    yield from markdown_table(TITLES, lines)
    yield ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    yield f"Peak memory of all in one process: {peak:.2f} GB."


def _shares(one: Pruned, other: Pruned) -> tuple[str, str]:
    """Of weights that both keep or both drop: of all, and of the layer that read the same."""
    equal = list(_equal(one.model, other.model))
    first = equal[: len(equal) // one.model.config.num_hidden_layers]
    whole, alone = (sum(c for c, _ in some) / sum(n for _, n in some) for some in (equal, first))
    return f"{whole:.3%}", f"{alone:.3%}"


def _pruned(
    prune: Prune, model: transformers.PreTrainedModel, rows: Tensor, scored: Tensor
) -> Pruned:
    work = copy.deepcopy(model)
    began = time.perf_counter()
    prune(work, rows)
    return Pruned(work, time.perf_counter() - began, _perplexity(work, scored))


def _ours(name: str, pattern: tuple[int, int] | None) -> Prune:
    overrides = [f"pruner.sparsity={SPARSITY}"]
    if pattern is not None:
        overrides.append(f"pruner.pattern='{pattern[0]}:{pattern[1]}'")
    pruner = settings_of("pruner", name, *overrides)
    assert isinstance(pruner, BasePruner)

    def prune(model: transformers.PreTrainedModel, rows: Tensor) -> None:
        ctx = StageContext(None, CalibrationOnly(FixedTokens(rows)), None, 0, None)  # type: ignore[arg-type]
        pruner.prune_(PruningState(model, None, ()), ctx)  # type: ignore[arg-type]

    return prune


def _theirs(
    checkout: Path, name: str, pattern: tuple[int, int] | None, *, exact: bool = False
) -> Prune:
    """Their classes for a layer, on what it reads after the layers before it were pruned.

    Args:
        checkout: of their code.
        name: of the method.
        pattern: N:M, or null for half of the weights.
        exact: whether the solver's arithmetic is in float64 instead of float32.
    """
    with importable(checkout):
        wrapped = importlib.import_module("lib.layerwrapper").WrappedGPT
        solver = importlib.import_module("lib.sparsegpt").SparseGPT
    kept, group = pattern or (0, 0)
    lost = group - kept

    precise = _float64 if exact else nullcontext

    @torch.no_grad()
    def prune(model: transformers.PreTrainedModel, rows: Tensor) -> None:
        for layer in model.get_decoder().layers:
            linears = [part for part in layer.modules() if isinstance(part, nn.Linear)]
            made = [(wrapped if name == "wanda" else solver)(linear) for linear in linears]
            for each in made if exact else ():
                each.H = each.H.double()
            hooks = [
                linear.register_forward_hook(partial(_add, each, precise))
                for linear, each in zip(linears, made, strict=True)
            ]
            for row in rows:
                model(row[None], use_cache=False, logits_to_keep=1)
            for hook in hooks:
                hook.remove()
            for linear, each in zip(linears, made, strict=True):
                if name == "wanda":
                    _their_wanda_(linear, each.scaler_row, lost, group)
                else:
                    with (
                        mock.patch("torch.cuda.synchronize"),
                        precise(),
                    ):
                        each.fasterprune(SPARSITY, prune_n=lost, prune_m=group)

    return prune


def _add(
    each: Any, precise: Callable[[], AbstractContextManager[None]], _: nn.Module, inputs: Any,
    output: Tensor,
) -> None:  # fmt: skip
    with precise():
        each.add_batch(inputs[0], output)


@contextmanager
def _float64() -> Iterator[None]:
    """What is made of nothing, or turned into float32 by `float()`, is float64 instead."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with mock.patch.object(Tensor, "float", Tensor.double):
            yield
    finally:
        torch.set_default_dtype(before)


def _their_wanda_(linear: nn.Linear, squares: Tensor, lost: int, group: int) -> None:
    """What their `prune_wanda` does once the squares of a layer's inputs are known."""
    score = linear.weight.data.abs() * squares.sqrt()
    if group:
        lowest = score.view(-1, group).topk(lost, dim=1, largest=False).indices
        linear.weight.data.view(-1, group).scatter_(1, lowest, 0.0)
    else:
        order = score.sort(dim=1, stable=True).indices
        linear.weight.data.scatter_(1, order[:, : int(score.shape[1] * SPARSITY)], 0.0)


def _equal(
    ours: transformers.PreTrainedModel, theirs: transformers.PreTrainedModel
) -> Iterator[tuple[int, int]]:
    """Of each Linear in the layers, how many weights both keep or both drop, and of how many."""
    layers = zip(
        ours.get_decoder().layers.modules(), theirs.get_decoder().layers.modules(), strict=True
    )
    for one, other in layers:
        if isinstance(one, nn.Linear):
            same: Any = (one.weight == 0) == (other.weight == 0)
            yield int(same.sum()), same.numel()


@torch.no_grad()
def _perplexity(model: transformers.PreTrainedModel, windows: Tensor) -> float:
    """By transformers' own loss."""
    losses = [float(model(row[None], labels=row[None], use_cache=False).loss) for row in windows]
    return math.exp(sum(losses) / len(losses))


if __name__ == "__main__":
    main()
