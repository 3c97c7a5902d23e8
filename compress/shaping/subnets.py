"""Sub-nets that run on the parameters of their super-net.

A sub-net is a skeleton in its shape, run by `torch.func.functional_call` with slices of the
super-net's parameters. So its gradients are those of the super-net, it takes no memory for weights,
and its operations are as large as those of a model that is cut to this shape. Slices are views but
for fused projections, whose queries, keys and values are not neighbors once heads are left out:
these are copied for each pass.

Which slice is which parameter of the sub-net is read off: every number in the super-net is replaced
by its own address, and then this model is cut as any other is.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from compress.shaping.subshape import SubShape, cut_subnet_

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Along one axis of a parameter.
Taken: TypeAlias = slice | Int[Tensor, " kept"]


@dataclass(frozen=True)
class Part:
    """A part of a parameter of the super-net.

    Attributes:
        name: of the parameter.
        taken: of each of its axes.
    """

    name: str
    taken: tuple[Taken, ...]

    def of(self, parameter: Tensor) -> Tensor:
        """The part; a view where only slices are taken."""
        for axis, taken in enumerate(self.taken):
            if isinstance(taken, slice):
                parameter = parameter.narrow(axis, taken.start, taken.stop - taken.start)
            else:
                parameter = parameter.index_select(axis, taken.to(parameter.device))
        return parameter


class Subnets:
    """The sub-nets of a super-net.

    Attributes:
        module: the super-net.
    """

    def __init__(self, module: PreTrainedModel) -> None:
        """Takes the structure of the super-net, which must be whole: as yet in no trainer."""
        self.module = module
        self._addresses = Addresses(module)
        self._known: dict[SubShape, tuple[PreTrainedModel, dict[str, Part]]] = {}

    def run(self, shape: SubShape, inputs: Mapping[str, Tensor]) -> Any:
        """The outputs of a sub-net, in the mode (training or not) of the super-net."""
        if shape not in self._known:
            self._known[shape] = self._skeleton(shape)
        skeleton, parts = self._known[shape]
        parameters = dict(self.module.named_parameters())
        taken = {name: part.of(parameters[part.name]) for name, part in parts.items()}
        skeleton.train(self.module.training)
        return functional_call(skeleton, taken, args=(), kwargs=dict(inputs))

    def _skeleton(self, shape: SubShape) -> tuple[PreTrainedModel, dict[str, Part]]:
        skeleton = self._addresses.written()
        cut_subnet_(skeleton, shape, "sub-net")
        parts = {name: self._addresses.part(p) for name, p in skeleton.named_parameters()}
        _replace_(skeleton, {id(p): p.to("meta") for p in skeleton.parameters()})
        device = self.module.device
        for part in skeleton.modules():
            for name, buffer in part.named_buffers(recurse=False):
                setattr(part, name, buffer.to(device))
        return skeleton, parts


class Addresses:
    """A model each of whose weights is its own address: a number that no other has."""

    def __init__(self, module: PreTrainedModel) -> None:
        """Copies all of a model but its weights."""
        parameters = dict(module.named_parameters())
        self._names = list(parameters)
        self._shapes = [parameter.shape for parameter in parameters.values()]
        sizes = [parameter.numel() for parameter in parameters.values()]
        self._starts = list(accumulate(sizes[:-1], initial=0))
        self._blank = copy.deepcopy(module).to("cpu")
        blank = {id(p): p.to("meta") for p in self._blank.parameters()}
        _replace_(self._blank, blank)

    def written(self) -> PreTrainedModel:
        """A new copy of the model, on the CPU."""
        written = copy.deepcopy(self._blank)
        found = {}
        # Integers of 64 bits cannot be parameters; a float64 holds those up to 2^53.
        for start, parameter in zip(self._starts, written.parameters(), strict=True):
            numbers = torch.arange(start, start + parameter.numel(), dtype=torch.float64)
            found[id(parameter)] = numbers.view(parameter.shape)
        _replace_(written, found)
        return written

    def part(self, addresses: Float[Tensor, "*kept"]) -> Part:
        """What a parameter of a model that was cut is of the whole one."""
        numbers = addresses.detach().long()
        number = bisect_right(self._starts, int(numbers.flatten()[0])) - 1
        inside, shape = numbers - self._starts[number], self._shapes[number]
        strides = list(accumulate(reversed(shape[1:]), lambda a, b: a * b, initial=1))[::-1]
        kept = [_along(inside, axis, strides[axis], size) for axis, size in enumerate(shape)]
        outer = sum(
            (indices * strides[axis]).view([-1, *[1] * (len(shape) - axis - 1)])
            for axis, indices in enumerate(kept)
        )
        assert torch.equal(inside, torch.as_tensor(outer)), "cuts are along axes"
        return Part(self._names[number], tuple(map(_as_slice, kept)))


def _along(inside: Int[Tensor, "*kept"], axis: int, stride: int, size: int) -> Int[Tensor, " n"]:
    """The indices along an axis, of addresses inside a parameter."""
    first = [slice(None) if other == axis else 0 for other in range(inside.ndim)]
    return inside[tuple(first)] // stride % size


def _as_slice(indices: Int[Tensor, " n"]) -> Taken:
    start, count = int(indices[0]), len(indices)
    run = torch.equal(indices, torch.arange(start, start + count))
    return slice(start, start + count) if run else indices


def _replace_(module: nn.Module, values: Mapping[int, Tensor]) -> None:
    """Replaces parameters, given by their id; those that are shared stay so."""
    new = {number: nn.Parameter(value, requires_grad=False) for number, value in values.items()}
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, new[id(parameter)])
