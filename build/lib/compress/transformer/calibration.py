"""Walks calibration rows through a model one layer at a time.

So the inputs of a layer are those it gets after the layers before it were pruned, as in the
reference implementations of Wanda and SparseGPT, and memory holds one layer's inputs at a time.

Layers are walked in the order in which they run, whatever lists they stand in: an encoder before
its decoder, the stages of a hierarchical model and what merges patches between them. Where each
layer's input is an output of the layer before it (a chain), rows are passed on from layer to layer.
Elsewhere each row runs through the model up to the layer, which is right for any model and slower.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from compress.config.errors import UserError
from compress.transformer.chains import Call, Chain, find_chains, run_until_reached, stop_after
from compress.transformer.stacks import LINEARS, Linear, layer_units

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor, Split

# Sends every calibration row through a layer as it stands, one a step.
Run: TypeAlias = Callable[[], Iterator[None]]


@dataclass(frozen=True)
class Unit:
    """A layer, or a Linear between layers.

    Attributes:
        name: its full name.
        linears: the Linear layers in it, by full name.
    """

    name: str
    module: nn.Module
    linears: Mapping[str, Linear]


@torch.no_grad()
def walk_layers(
    module: PreTrainedModel,
    tokenizer: Processor,
    rows: Split,
    visit: Callable[[Unit, Run], None],
) -> None:
    """Calls `visit(unit, run)` for each layer that runs, first to last.

    Inside `visit`, iterating over `run()` sends every calibration row through the layer as it
    stands; the next layer then gets the outputs of this one as `visit` left it. Each row runs
    alone, so padding never enters a statistic. A layer that runs several times in one pass is
    visited once, and `run()` sends each row through all of its runs.
    """
    inputs = _Rows(module, tokenizer, rows)
    with without_cache(module):
        for chain in find_chains(module, layer_units(module), next(iter(inputs))):
            if chain.repeatable:
                _walk_chain(module, chain, inputs, visit)
                continue
            unit = _unit(module, chain.names[0])
            visit(unit, partial(_run_through, module, unit.module, chain.runs, inputs))


def walk_linears(
    module: PreTrainedModel,
    tokenizer: Processor,
    rows: Split,
    names: Collection[str],
    gather: Callable[[Mapping[str, Linear], Run], dict[str, Tensor]],
    use: Callable[[str, Tensor], None],
) -> None:
    """Calls `use(name, statistic)` for each Linear, in the order in which they run.

    The statistics of a layer are gathered once the layers before it were used, and each is freed
    as soon as it was.

    Args:
        module: changes as `use` changes it.
        tokenizer: of the model.
        rows: to run.
        names: of Linear layers inside the model's layers.
        gather: makes the statistics of the Linear layers of one layer, by name.
        use: gets them.

    Raises:
        UserError: a Linear reads no calibration row.
    """
    left = set(names)

    def visit(unit: Unit, run: Run) -> None:
        wanted = {name: part for name, part in unit.linears.items() if name in left}
        found = gather(wanted, run) if wanted else {}
        for name in list(found):
            use(name, found.pop(name))
            left.discard(name)

    walk_layers(module, tokenizer, rows, visit)
    if left:
        raise UserError(
            f"{len(left)} Linear layers read none of the {len(rows)} calibration rows, such as "
            f"{min(left)}; raise task.calibration_samples, or set a scope without them"
        )


@contextmanager
def capture_inputs(
    linears: Mapping[str, Linear], add: Callable[[str, Float[Tensor, "tokens in"]], None]
) -> Iterator[None]:
    """Within it, `add(name, inputs)` gets the inputs of each of these Linear layers, as float32."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def pass_on(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            add(name, inputs[0].reshape(-1, inputs[0].shape[-1]).float())

        return pass_on

    handles = [part.register_forward_pre_hook(hook(name)) for name, part in linears.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def input_norms(linears: Mapping[str, Linear], run: Run) -> dict[str, Float[Tensor, " in"]]:
    """‖X_j‖₂ over all calibration tokens, for each Linear by its name."""
    squares: dict[str, Tensor] = {}

    def add(name: str, inputs: Float[Tensor, "tokens in"]) -> None:
        total = squares.setdefault(name, inputs.new_zeros(inputs.shape[1]))
        total.add_(inputs.square().sum(dim=0))

    _run_watched(linears, run, add)
    return {name: total.sqrt() for name, total in squares.items()}


def input_sizes(linears: Mapping[str, Linear], run: Run) -> dict[str, Float[Tensor, " in"]]:
    """Σ |X_j| over all calibration tokens, for each Linear by its name."""
    totals: dict[str, Tensor] = {}

    def add(name: str, inputs: Float[Tensor, "tokens in"]) -> None:
        totals[name] = totals.get(name, 0) + inputs.abs().sum(dim=0)

    _run_watched(linears, run, add)
    return totals


def input_moments(linears: Mapping[str, Linear], run: Run) -> dict[str, Float[Tensor, "in in"]]:
    """XᵀX over all calibration tokens, for each Linear by its name."""
    moments: dict[str, Tensor] = {}

    def add(name: str, inputs: Float[Tensor, "tokens in"]) -> None:
        columns = inputs.shape[1]
        if name not in moments:
            moments[name] = inputs.new_zeros(columns, columns)
        moments[name].addmm_(inputs.T, inputs)  # in place: these are the largest things around

    _run_watched(linears, run, add)
    return moments


def calibration_rows(
    module: PreTrainedModel, tokenizer: Processor, rows: Split
) -> Iterator[dict[str, Tensor]]:
    """Each row as a batch of its own, on the model's device."""
    yield from _Rows(module, tokenizer, rows)


@contextmanager
def without_cache(module: PreTrainedModel) -> Iterator[None]:
    """Within it a decoder keeps no KV cache.

    A layer that runs again would find the keys and values of its first run, from before it was
    pruned. The halves of an encoder-decoder can have configs of their own.
    """
    configs = {id(part.config): part.config for part in module.modules() if _has_cache(part)}
    before = {key: config.use_cache for key, config in configs.items()}
    for config in configs.values():
        config.use_cache = False
    try:
        yield
    finally:
        for key, config in configs.items():
            config.use_cache = before[key]


class _Rows:
    """Rows that are tokenized once and made batches of one whenever they are wanted."""

    def __init__(self, module: PreTrainedModel, tokenizer: Processor, rows: Split) -> None:
        self._module, self._tokenizer, self._rows = module, tokenizer, rows
        self._encoded = rows.encode(tokenizer).remove_columns("length")

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for row in self._encoded:
            batch = self._rows.collate(self._tokenizer, [row])
            yield {name: tensor.to(self._module.device) for name, tensor in batch.items()}


def _walk_chain(
    module: PreTrainedModel, chain: Chain, inputs: _Rows, visit: Callable[[Unit, Run], None]
) -> None:
    """Visits the layers of a chain, each with the outputs of the layer before as it was left."""
    calls = [chain.record(module, row) for row in inputs]
    for index, name in enumerate(chain.names):
        unit = _unit(module, name)
        visit(unit, partial(_run_calls, unit.module, calls))
        if index + 1 == len(chain.names):
            break
        layer = module.get_submodule(name)  # a Linear by itself may have been replaced
        for row in calls:
            outputs = row.pop(0).run(layer)  # one layer's inputs in memory, not two
            for place, output in chain.links[index + 1].items():
                row[0].leaves[place] = outputs[output]


def _unit(module: PreTrainedModel, name: str) -> Unit:
    layer = module.get_submodule(name)
    found = {n: p for n, p in layer.named_modules(prefix=name) if isinstance(p, LINEARS)}
    return Unit(name, layer, found)


def _run_watched(
    linears: Mapping[str, Linear],
    run: Run,
    add: Callable[[str, Float[Tensor, "tokens in"]], None],
) -> None:
    with capture_inputs(linears, add):
        for _ in run():
            pass


def _run_calls(layer: nn.Module, calls: list[list[Call]]) -> Iterator[None]:
    for row in calls:
        row[0].run(layer)
        yield


def _run_through(
    module: PreTrainedModel, layer: nn.Module, runs: int, inputs: _Rows
) -> Iterator[None]:
    for row in inputs:
        with stop_after(layer, runs):
            run_until_reached(module, row)
        yield


def _has_cache(part: nn.Module) -> bool:
    config = vars(part).get("config")
    return config is not None and getattr(config, "use_cache", None) is not None
