"""Which layers of a model pass their outputs straight on, and with what other arguments.

One row is run through the model while its layers are watched. A layer continues the chain of the
layer before it where an argument is the very tensor that the other put out, unchanged since, and
where no other argument depends on what the chain puts out: its outputs are changed in a second
pass, and arguments that change with them end the chain. Masks, rotary embeddings and position
biases differ between layers in many models, so every layer is called with its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_map, tree_unflatten

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _Reached(Exception):
    """Ends a forward pass once what was wanted of it is known."""


@dataclass
class Call:
    """Arguments of one call of a layer.

    Attributes:
        leaves: tensors and other values, however deep they stand in the arguments; None for those
            that the layer before will put out.
    """

    leaves: list[Any]
    spec: TreeSpec

    def run(self, layer: nn.Module) -> list[Any]:
        """Calls the layer; what it puts out, flat."""
        positional, named = tree_unflatten(self.leaves, self.spec)
        return tree_leaves(layer(*positional, **named))


@dataclass(frozen=True)
class Chain:
    """Layers, each of which reads what the one before it puts out.

    Attributes:
        names: of the layers, in order of execution.
        links: for each layer, by place among its arguments, the place among the outputs of the
            layer before; of the first layer none.
        runs: how often the layer runs in one forward pass; more than once only if it is alone.
        repeatable: whether its calls can be run again by themselves; not where a layer runs more
            than once, or changes its inputs in place.
    """

    names: tuple[str, ...]
    links: tuple[Mapping[int, int], ...]
    runs: int = 1
    repeatable: bool = True

    def record(self, module: PreTrainedModel, row: dict[str, Tensor]) -> list[Call]:
        """The call of each layer on one row; that of the first is complete."""
        calls: list[Call] = []
        links = dict(zip(self.names, self.links, strict=True))

        def catch(name: str, positional: Any, named: Any, outputs: list[Any]) -> None:
            leaves, spec = tree_flatten((positional, named))
            for place, output in links[name].items():
                assert leaves[place] is outputs[output], "chains are equal for all rows"
                leaves[place] = None
            calls.append(Call(leaves, spec))
            if len(calls) == len(self.names):
                raise _Reached

        with _watched({name: module.get_submodule(name) for name in self.names}, catch):
            run_until_reached(module, row)
        return calls


def find_chains(
    module: PreTrainedModel, layers: Mapping[str, nn.Module], row: dict[str, Tensor]
) -> list[Chain]:
    """The layers that run on a row, in order of execution, in chains as long as can be.

    Args:
        module: runs on the row; keeps no KV cache.
        layers: disjoint parts of it, by name.
        row: a batch.
    """
    seen = _trace(module, layers, row, ())
    runs = Counter(event.name for event in seen)
    alone = {event.name for event in seen if runs[event.name] > 1 or event.spoils_inputs}
    chains: list[Chain] = []
    start = 0
    while start < len(seen):
        name, end = seen[start].name, start + 1
        if name in alone:
            if all(name not in chain.names for chain in chains):
                chains.append(Chain((name,), ({},), runs[name], repeatable=False))
        else:
            while end < len(seen) and seen[end].links and seen[end].name not in alone:
                end += 1
            changed = _trace(module, layers, row, [event.name for event in seen[start:end]])
            pairs = zip(seen[start + 1 : end], changed[start + 1 : end], strict=False)
            steady = takewhile(lambda pair: pair[0].equals(pair[1]), pairs)
            end = start + 1 + len(list(steady))
            linked = seen[start:end]
            names, links = [event.name for event in linked], [event.links for event in linked[1:]]
            chains.append(Chain(tuple(names), ({}, *links)))
        start = end
    return chains


def run_until_reached(module: PreTrainedModel, row: dict[str, Tensor]) -> None:
    """A forward pass, which a hook may end by what `stop_after` or `Chain.record` raise."""
    with suppress(_Reached):
        module(**row)


@contextmanager
def stop_after(layer: nn.Module, runs: int) -> Iterator[None]:
    """Within it, a forward pass ends once the layer has run so often."""
    done = 0

    def count(*_: Any) -> None:
        nonlocal done
        done += 1
        if done == runs:
            raise _Reached

    handle = layer.register_forward_hook(count)
    try:
        yield
    finally:
        handle.remove()


@dataclass
class _Event:
    """A call of a layer: what of its arguments the layer before put out, and all others."""

    name: str
    links: Mapping[int, int]
    others: list[Any]
    spoils_inputs: bool = False

    def equals(self, other: _Event) -> bool:
        """Whether the other event is this one again, with equal arguments beside the links."""
        return (
            (self.name, self.links) == (other.name, other.links)
            and len(self.others) == len(other.others)
            and all(map(_equal, self.others, other.others))
        )


def _trace(
    module: PreTrainedModel,
    layers: Mapping[str, nn.Module],
    row: dict[str, Tensor],
    changed: Collection[str],
) -> list[_Event]:
    """Every call of a layer in one pass, in which some layers put out other numbers."""
    events: list[_Event] = []

    def catch(name: str, positional: Any, named: Any, outputs: list[Any]) -> None:
        leaves = tree_leaves((positional, named))
        links = _links(leaves, outputs)
        events.append(_Event(name, links, [v for i, v in enumerate(leaves) if i not in links]))

    def spoilt() -> None:
        events[-1].spoils_inputs = True

    with _watched(layers, catch, changed, spoilt):
        module(**row)
    return events


@contextmanager
def _watched(
    layers: Mapping[str, nn.Module],
    catch: Callable[[str, Any, Any, list[Any]], None],
    changed: Collection[str] = (),
    spoilt: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Within it, `catch(name, positional, named, outputs)` gets each call of a layer.

    `outputs` are those of the call before, of whatever layer, but for tensors that changed since;
    no others are kept. `changed` names layers whose outputs are to be others. `spoilt()` is called
    after a call that changed its inputs in place.
    """
    outputs: list[tuple[Any, int]] = []
    inputs: list[tuple[Any, int]] = []

    def before(name: str, _: nn.Module, positional: Any, named: Any) -> None:
        inputs[:] = _versions((positional, named))
        catch(name, positional, named, [v if _version(v) == age else None for v, age in outputs])

    def after(name: str, _: nn.Module, __: Any, output: Any) -> Any:
        if any(_version(value) != age for value, age in inputs):
            spoilt()
        inputs.clear()
        if name in changed:
            output = tree_map(_other, output)
        outputs[:] = _versions(output)
        return output

    handles = []
    for name, layer in layers.items():
        handles.append(layer.register_forward_pre_hook(partial(before, name), with_kwargs=True))
        handles.append(layer.register_forward_hook(partial(after, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _versions(values: Any) -> list[tuple[Any, int]]:
    """All values, however deep, each with its age."""
    return [(value, _version(value)) for value in tree_leaves(values)]


def _version(value: Any) -> int:
    """How often a tensor was changed in place."""
    return value._version if isinstance(value, Tensor) else 0


def _other(value: Any) -> Any:
    """Other numbers of the same kind."""
    return value * 1.5 if isinstance(value, Tensor) and value.is_floating_point() else value


def _links(leaves: Iterable[Any], outputs: list[Any]) -> dict[int, int]:
    """By place of an argument that is an output, the place of that output."""
    places = {id(value): place for place, value in enumerate(outputs) if isinstance(value, Tensor)}
    return {i: places[id(leaf)] for i, leaf in enumerate(leaves) if id(leaf) in places}


def _equal(a: Any, b: Any) -> bool:
    """Whether two arguments are alike; of objects whose insides are not known, never."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.equal(a, b)
    known = (bool, int, float, str, type(None), torch.dtype, torch.device)
    return type(a) is type(b) and isinstance(a, known) and a == b
