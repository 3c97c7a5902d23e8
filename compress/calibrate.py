"""Walks calibration rows through a transformer one layer at a time.

So the inputs of a layer are those it gets after the layers before it were pruned, as in the
reference implementations of Wanda and SparseGPT, and memory holds one layer's inputs at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from compress.blocks import LINEARS, find_blocks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor, Split

# The arguments of one call of a layer; the hidden states come first.
_Call = tuple[tuple[Any, ...], dict[str, Any]]


class _FirstLayerReached(Exception):
    """Ends a forward pass once the first layer's inputs are known."""


@torch.no_grad()
def walk_blocks(
    module: PreTrainedModel,
    tokenizer: Processor,
    rows: Split,
    visit: Callable[[str, nn.Module, Callable[[], Iterator[None]]], None],
) -> None:
    """Calls `visit(name, block, run)` for each layer, first to last.

    Inside `visit`, iterating over `run()` sends every calibration row through the block as it
    stands; the next block then gets the outputs of this one as `visit` left it. Each row runs
    alone, so padding never enters a statistic.
    """
    prefix, blocks = find_blocks(module)
    with _without_cache(module):
        inputs = calibration_rows(module, tokenizer, rows)
        calls = [_first_call(module, blocks[0], row) for row in inputs]
    for index, block in enumerate(blocks):
        visit(f"{prefix}.{index}", block, partial(_run, block, calls))
        for number, call in enumerate(calls):
            calls[number] = _next_call(block, call)  # one layer's inputs in memory, not two


@contextmanager
def watch_inputs(
    block: nn.Module, add: Callable[[str, Float[Tensor, "tokens in"]], None]
) -> Iterator[None]:
    """Within it, `add(name, inputs)` gets the inputs of each Linear of the block, as float32."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def pass_on(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            add(name, inputs[0].reshape(-1, inputs[0].shape[-1]).float())

        return pass_on

    handles = [
        part.register_forward_pre_hook(hook(name))
        for name, part in block.named_modules()
        if isinstance(part, LINEARS)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def input_norms(
    block: nn.Module, run: Callable[[], Iterator[None]]
) -> dict[str, Float[Tensor, " in"]]:
    """‖X_j‖₂ over all calibration tokens, for each Linear by its name inside the block."""
    squares: dict[str, Tensor] = {}

    def add(name: str, inputs: Float[Tensor, "tokens in"]) -> None:
        total = squares.setdefault(name, inputs.new_zeros(inputs.shape[1]))
        total.add_(inputs.square().sum(dim=0))

    _run_watched(block, run, add)
    return {name: total.sqrt() for name, total in squares.items()}


def input_moments(
    block: nn.Module, run: Callable[[], Iterator[None]]
) -> dict[str, Float[Tensor, "in in"]]:
    """XᵀX over all calibration tokens, for each Linear by its name inside the block."""
    moments: dict[str, Tensor] = {}

    def add(name: str, inputs: Float[Tensor, "tokens in"]) -> None:
        columns = inputs.shape[1]
        if name not in moments:
            moments[name] = inputs.new_zeros(columns, columns)
        moments[name].addmm_(inputs.T, inputs)  # in place: these are the largest things around

    _run_watched(block, run, add)
    return moments


def calibration_rows(
    module: PreTrainedModel, tokenizer: Processor, rows: Split
) -> Iterator[dict[str, Tensor]]:
    """Each row as a batch of its own, on the model's device."""
    for row in rows.encode(tokenizer).remove_columns("length"):
        batch = rows.collate(tokenizer, [row])
        yield {name: tensor.to(module.device) for name, tensor in batch.items()}


def _run_watched(
    block: nn.Module,
    run: Callable[[], Iterator[None]],
    add: Callable[[str, Float[Tensor, "tokens in"]], None],
) -> None:
    with watch_inputs(block, add):
        for _ in run():
            pass


def _run(block: nn.Module, calls: list[_Call]) -> Iterator[None]:
    for positional, named in calls:
        block(*positional, **named)
        yield


@contextmanager
def _without_cache(module: PreTrainedModel) -> Iterator[None]:
    """Within it a decoder keeps no keys and values.

    A block that runs again would find those of its first run, from before it was pruned.
    """
    facts = vars(module.config)
    before = facts.get("use_cache")
    if before is not None:
        module.config.use_cache = False
    try:
        yield
    finally:
        if before is not None:
            module.config.use_cache = before


def _first_call(module: nn.Module, first: nn.Module, row: dict[str, Tensor]) -> _Call:
    caught: list[_Call] = []

    def catch(_: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        caught.append((positional, named))
        raise _FirstLayerReached

    handle = first.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        module(**row)
    except _FirstLayerReached:
        pass
    finally:
        handle.remove()
    return caught[0]


def _next_call(block: nn.Module, call: _Call) -> _Call:
    """The same call with the hidden states replaced by what the block makes of them."""
    positional, named = call
    output = block(*positional, **named)
    hidden = output[0] if isinstance(output, tuple) else output
    if positional:
        return (hidden, *positional[1:]), named
    return (), {**named, "hidden_states": hidden}
