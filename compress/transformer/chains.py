"""Chains: runs of layers in which each layer reads the outputs of the layer before it.

One row is run through the model with hooks on its layers. A layer continues the chain of the layer
before it if one of its arguments is the tensor that the other returned, unmodified since, and if no
other argument depends on the outputs of the chain: these are changed in a second pass, and an
argument that changes with them ends the chain. Masks, rotary embeddings and position biases differ
between layers in many models, so every layer is called with its own arguments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
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
    """Ends a forward pass early."""


@dataclass
class Call:
    """Arguments of one call of a layer.

    Attributes:
        leaves: the flattened arguments; None for those that are outputs of the layer before.
    """

    leaves: list[Any]
    spec: TreeSpec

    def run(self, layer: nn.Module) -> list[Any]:
        """Calls the layer and returns its outputs, flattened."""
        positional, named = tree_unflatten(self.leaves, self.spec)
        return tree_leaves(layer(*positional, **named))


@dataclass(frozen=True)
class Chain:
    """Layers, each of which reads the outputs of the one before it.

    Attributes:
        names: the layers, in order of execution.
        links: for each layer, index of an argument → index of that output of the layer before;
            empty for the first layer.
        runs: how often the layer runs in one forward pass; above 1 only in a chain of one layer.
        repeatable: whether the layers can be called again outside a forward pass; not if a layer
            runs more than once, or modifies its inputs in place.
    """

    names: tuple[str, ...]
    links: tuple[Mapping[int, int], ...]
    runs: int = 1
    repeatable: bool = True

    def record(self, module: PreTrainedModel, row: dict[str, Tensor]) -> list[Call]:
        """The call of each layer on one row; the first one has all its arguments."""
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

        with _hooked({name: module.get_submodule(name) for name in self.names}, catch):
            run_until_reached(module, row)
        return calls


def find_chains(
    module: PreTrainedModel, layers: Mapping[str, nn.Module], row: dict[str, Tensor]
) -> list[Chain]:
    """The layers that run on a row, in order of execution, in the longest possible chains.

    The layers are disjoint parts of the model, whose KV cache is disabled.
    """
    seen = _trace(module, layers, row, ())
    runs = Counter(event.name for event in seen)
    alone = {event.name for event in seen if runs[event.name] > 1 or event.modifies_inputs}
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
    """A forward pass that `stop_after` or `Chain.record` may end early."""
    with suppress(_Reached):
        module(**row)


@contextmanager
def stop_after(layer: nn.Module, runs: int) -> Iterator[None]:
    """Ends a forward pass once the layer has run `runs` times."""
    done = 0

    def count(*_: Any) -> None:
        nonlocal done
        done += 1
        if done == runs:
            raise _Reached

    with layer.register_forward_hook(count):
        yield


@dataclass
class _Event:
    """A call of a layer: which arguments are outputs of the layer before, and all others."""

    name: str
    links: Mapping[int, int]
    others: list[Any]
    modifies_inputs: bool = False

    def equals(self, other: _Event) -> bool:
        """Whether both are calls of one layer, with equal arguments beside the links."""
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
    """Every call of a layer in one pass, in which the outputs of `changed` layers are altered."""
    events: list[_Event] = []

    def catch(name: str, positional: Any, named: Any, outputs: list[Any]) -> None:
        leaves = tree_leaves((positional, named))
        links = _links(leaves, outputs)
        events.append(_Event(name, links, [v for i, v in enumerate(leaves) if i not in links]))

    def modified() -> None:
        events[-1].modifies_inputs = True

    with _hooked(layers, catch, changed, modified):
        module(**row)
    return events


@contextmanager
def _hooked(
    layers: Mapping[str, nn.Module],
    catch: Callable[[str, Any, Any, list[Any]], None],
    changed: Collection[str] = (),
    modified: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Calls `catch(name, positional, named, outputs)` before each call of a layer.

    `outputs` are those of the previous call of any layer, None for tensors modified since. The
    outputs of `changed` layers are altered. `modified()` is called after a call that modified its
    inputs in place.
    """
    outputs: list[tuple[Any, int]] = []
    inputs: list[tuple[Any, int]] = []

    def before(name: str, _: nn.Module, positional: Any, named: Any) -> None:
        inputs[:] = _versions((positional, named))
        catch(name, positional, named, [v if _version(v) == old else None for v, old in outputs])

    def after(name: str, _: nn.Module, __: Any, output: Any) -> Any:
        if any(_version(value) != old for value, old in inputs):
            modified()
        inputs.clear()
        if name in changed:
            output = tree_map(_altered, output)
        outputs[:] = _versions(output)
        return output

    with ExitStack() as hooks:
        for name, layer in layers.items():
            hook = partial(before, name)
            hooks.enter_context(layer.register_forward_pre_hook(hook, with_kwargs=True))
            hooks.enter_context(layer.register_forward_hook(partial(after, name)))
        yield


def _versions(values: Any) -> list[tuple[Any, int]]:
    """All values of a tree, each with its version."""
    return [(value, _version(value)) for value in tree_leaves(values)]


def _version(value: Any) -> int:
    """How often a tensor was modified in place."""
    return value._version if isinstance(value, Tensor) else 0


def _altered(value: Any) -> Any:
    return value * 1.5 if isinstance(value, Tensor) and value.is_floating_point() else value


def _links(leaves: Iterable[Any], outputs: list[Any]) -> dict[int, int]:
    """Index of each argument that is an output → index of that output."""
    places = {id(value): place for place, value in enumerate(outputs) if isinstance(value, Tensor)}
    return {i: places[id(leaf)] for i, leaf in enumerate(leaves) if id(leaf) in places}


def _equal(a: Any, b: Any) -> bool:
    """Whether two arguments are equal; false for objects of unknown types."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.equal(a, b)
    known = (bool, int, float, str, type(None), torch.dtype, torch.device)
    return type(a) is type(b) and isinstance(a, known) and a == b
