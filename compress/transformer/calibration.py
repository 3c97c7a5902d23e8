"""Layer-wise calibration: runs calibration rows through a model one layer at a time.

A layer's inputs are computed after the layers before it were pruned, as in the reference
implementations of Wanda and SparseGPT, and memory holds the inputs of one layer at a time.

Layers are visited in order of execution: an encoder before its decoder, the stages of a
hierarchical model with the Linear layers that merge patches between them. Where each layer's input
is an output of the layer before it (a chain), activations are passed from layer to layer. Elsewhere
each row runs through the model up to the layer, which is correct for any model and slower.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from compress.config.errors import UserError
from compress.transformer.chains import Call, Chain, find_chains, run_until_reached, stop_after
from compress.transformer.stacks import LINEARS, Linear, layer_units

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor, Split

# Runs a layer in its current state on every calibration row, one row per iteration.
Run: TypeAlias = Callable[[], Iterator[None]]
S = TypeVar("S")


@dataclass(frozen=True)
class Unit:
    """A layer, or a Linear between layers; with the Linear layers in it, by full name."""

    name: str
    module: nn.Module
    linears: Mapping[str, Linear]


@torch.no_grad()
def calibrate_layerwise(
    module: PreTrainedModel,
    tokenizer: Processor,
    rows: Split,
    visit: Callable[[Unit, Run], None],
) -> None:
    """Calls `visit(unit, run)` for each layer that runs, first to last.

    Inside `visit`, iterating over `run()` runs the layer on every calibration row; the next layer
    reads the outputs of this one as `visit` left it. Each row runs alone, so statistics never
    include padding. A layer that runs several times in one forward pass is visited once, and
    `run()` includes all of its executions.
    """
    inputs = _Rows(module, tokenizer, rows)
    with without_cache(module):
        for chain in find_chains(module, layer_units(module), next(iter(inputs))):
            if chain.repeatable:
                _walk_chain(module, chain, inputs, visit)
                continue
            unit = _unit(module, chain.names[0])
            visit(unit, partial(_run_through, module, unit.module, chain.runs, inputs))


def calibrate_linears(
    module: PreTrainedModel,
    tokenizer: Processor,
    rows: Split,
    names: Collection[str],
    gather: Callable[[Mapping[str, Linear], Run], dict[str, S]],
    use: Callable[[str, S], None],
) -> None:
    """Calls `use(name, statistic)` for each Linear, in order of execution.

    The statistics of a layer are computed after `use` was called for all layers before it, and
    each is freed as soon as it was used.

    Args:
        module: `use` may change it.
        tokenizer: of the model.
        rows: calibration rows.
        names: Linear layers inside the model's layers.
        gather: computes the statistics of the Linear layers of one layer, by name.
        use: receives each name and statistic.

    Raises:
        UserError: a Linear runs on no calibration row.
    """
    missing = set(names)

    def visit(unit: Unit, run: Run) -> None:
        linears = {name: part for name, part in unit.linears.items() if name in missing}
        statistics = gather(linears, run) if linears else {}
        for name in list(statistics):
            use(name, statistics.pop(name))
            missing.discard(name)

    calibrate_layerwise(module, tokenizer, rows, visit)
    if missing:
        raise UserError(
            f"{len(missing)} Linear layers run on none of the {len(rows)} calibration rows, such "
            f"as {min(missing)}; raise task.calibration_samples, or set a scope without them"
        )


@contextmanager
def capture_inputs(
    linears: Mapping[str, Linear], add: Callable[[str, Float[Tensor, "tokens in"]], None]
) -> Iterator[None]:
    """Calls `add(name, inputs)` with the float32 inputs of each of these Linear layers."""

    def hook(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        add(name, inputs[0].reshape(-1, inputs[0].shape[-1]).float())

    with ExitStack() as hooks:
        for name, part in linears.items():
            hooks.enter_context(part.register_forward_pre_hook(partial(hook, name)))
        yield


def input_norms(linears: Mapping[str, Linear], run: Run) -> dict[str, Float[Tensor, " in"]]:
    """‖X_j‖₂ over all calibration tokens, for each Linear by its name."""
    squares = _input_sums(linears, run, Tensor.square)
    return {name: total.sqrt() for name, total in squares.items()}


def input_sizes(linears: Mapping[str, Linear], run: Run) -> dict[str, Float[Tensor, " in"]]:
    """Σ |X_j| over all calibration tokens, for each Linear by its name."""
    return _input_sums(linears, run, Tensor.abs)


def input_maxima(linears: Mapping[str, Linear], run: Run) -> dict[str, Float[Tensor, " in"]]:
    """Max |X_j| over all calibration tokens, for each Linear by its name."""
    largest: dict[str, Tensor] = {}

    def add(name: str, inputs: Float[Tensor, "tokens in"]) -> None:
        found = inputs.abs().amax(dim=0)
        largest[name] = torch.maximum(largest.get(name, found), found)

    with capture_inputs(linears, add):
        for _ in run():
            pass
    return largest


def input_moments(linears: Mapping[str, Linear], run: Run) -> dict[str, Float[Tensor, "in in"]]:
    """XᵀX over all calibration tokens, for each Linear by its name."""
    moments: dict[str, Tensor] = {}

    with capture_inputs(linears, partial(_add_moment, moments)):
        for _ in run():
            pass
    return moments


class Moments(NamedTuple):
    """What a Linear reads over all calibration tokens: XᵀX [in, in], and the mean of |X_j| [in]."""

    moment: Tensor
    sizes: Tensor


def input_moments_and_sizes(linears: Mapping[str, Linear], run: Run) -> dict[str, Moments]:
    """Both for each Linear by its name, in one pass."""
    moments: dict[str, Tensor] = {}
    sizes: dict[str, Tensor] = {}
    tokens: dict[str, int] = {}

    def add(name: str, inputs: Float[Tensor, "tokens in"]) -> None:
        _add_moment(moments, name, inputs)
        sizes[name] = sizes.get(name, 0) + inputs.abs().sum(dim=0)
        tokens[name] = tokens.get(name, 0) + len(inputs)

    with capture_inputs(linears, add):
        for _ in run():
            pass
    return {name: Moments(moments[name], sizes[name] / tokens[name]) for name in moments}


def calibration_rows(
    module: PreTrainedModel, tokenizer: Processor, rows: Split
) -> Iterator[dict[str, Tensor]]:
    """Each row as a batch of one, on the model's device."""
    yield from _Rows(module, tokenizer, rows)


def calibration_batches(
    module: PreTrainedModel, tokenizer: Processor, rows: Split
) -> Iterator[dict[str, Tensor]]:
    """As `calibration_rows`, with what a problem needs beside what models read."""
    yield from _Rows(module, tokenizer, rows, batch=rows.batch)


@contextmanager
def without_cache(module: PreTrainedModel) -> Iterator[None]:
    """Disables the KV cache.

    A layer that runs again would otherwise read keys and values from before it was pruned. Encoder
    and decoder can have separate configs.
    """
    found = (vars(part).get("config") for part in module.modules())
    configs = {id(c): c for c in found if getattr(c, "use_cache", None) is not None}
    before = {key: config.use_cache for key, config in configs.items()}
    for config in configs.values():
        config.use_cache = False
    try:
        yield
    finally:
        for key, config in configs.items():
            config.use_cache = before[key]


class _Rows:
    """Rows that are tokenized once and collated into batches of one at each iteration."""

    def __init__(
        self, module: PreTrainedModel, tokenizer: Processor, rows: Split, batch: Any = None
    ) -> None:
        self._module, self._tokenizer, self._batch = module, tokenizer, batch or rows.collate
        self._encoded = rows.encode(tokenizer).remove_columns("length")

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for row in self._encoded:
            batch = self._batch(self._tokenizer, [row])
            yield {name: tensor.to(self._module.device) for name, tensor in batch.items()}


def _walk_chain(
    module: PreTrainedModel, chain: Chain, inputs: _Rows, visit: Callable[[Unit, Run], None]
) -> None:
    """Visits the layers of a chain, each on the outputs of the layer before it after its visit."""
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


def _add_moment(moments: dict[str, Tensor], name: str, inputs: Float[Tensor, "tokens in"]) -> None:
    columns = inputs.shape[1]
    if name not in moments:
        moments[name] = inputs.new_zeros(columns, columns)
    moments[name].addmm_(inputs.T, inputs)  # in place: these are the largest tensors here


def _input_sums(
    linears: Mapping[str, Linear], run: Run, function: Callable[[Tensor], Tensor]
) -> dict[str, Float[Tensor, " in"]]:
    """Σ function(X_j) over all calibration tokens, for each Linear by its name."""
    totals: dict[str, Tensor] = {}

    def add(name: str, inputs: Float[Tensor, "tokens in"]) -> None:
        totals[name] = totals.get(name, 0) + function(inputs).sum(dim=0)

    with capture_inputs(linears, add):
        for _ in run():
            pass
    return totals


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
