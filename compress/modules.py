"""Modules of ours that stand in for plain ones, and how a model folder describes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


class StoredModule(nn.Module, ABC):
    """A module that a model folder can name: rebuilt from its arguments, filled from its state.

    Attributes:
        arithmetic: what it computes in; None for the type of its weights.
        bits: of one of its codes on disk; None for those of its weights' type.
    """

    arithmetic: ClassVar[str | None] = None
    bits: ClassVar[int | None] = None

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The weights that it stands for, one entry each, zero where the weight is zero.

        A format yields its codes here, without scales: those are bookkeeping of the format.
        Submodules yield their own.
        """
        yield from self.named_parameters(recurse=False)

    def plain_shape(self) -> tuple[int, int] | None:
        """[rows, columns] of the one weight that it stands for; None if it is no such thing."""
        return None


class LowRankLinear(StoredModule):
    """A Linear as two: W = U · V with U [out, rank] and V [rank, in]."""

    def __init__(self, in_features: int, rank: int, out_features: int, bias: bool) -> None:
        """Layers with arbitrary weights; the real ones come from a state dict."""
        super().__init__()
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features, bias=bias)

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        sizes = {"in_features": self.down.in_features, "rank": self.down.out_features}
        return {**sizes, "out_features": self.up.out_features, "bias": self.up.bias is not None}

    @property
    def weight(self) -> Tensor:
        """V, which meets the input first: T5 asks a Linear's weight for the type that it wants."""
        return self.down.weight

    def forward(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """X · Vᵀ · Uᵀ + b."""
        result: Tensor = self.up(self.down(x))
        return result


def named_weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every weight of a model by its name, shared ones once; see `StoredModule.weights`.

    Those of Linear layers are [out, in], of GPT-2's Conv1D too, which stores them transposed.
    """
    seen: set[int] = set()
    for prefix, part in module.named_modules():
        stored = isinstance(part, StoredModule)
        own = part.weights() if stored else part.named_parameters(recurse=False)
        for name, tensor in own:
            # Codes are made on the fly; only parameters can be shared.
            if not isinstance(tensor, nn.Parameter) or id(tensor) not in seen:
                seen.add(id(tensor))
                matrix = tensor.T if isinstance(part, Conv1D) and name == "weight" else tensor
                yield f"{prefix}.{name}" if prefix else name, matrix


def code_bits(module: nn.Module) -> dict[str, int]:
    """Bits of a code on disk, by the name of the weight, where a module says them."""
    return {
        f"{prefix}.{name}": part.bits
        for prefix, part in module.named_modules()
        if isinstance(part, StoredModule) and part.bits is not None
        for name, tensor in part.weights()
        if not tensor.is_floating_point()
    }
