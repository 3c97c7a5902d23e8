"""Modules that stand in for plain ones, and how a model folder describes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from transformers.pytorch_utils import Conv1D


class LazyWeight(Tensor):
    """The float matrix that a module stands for, computed only when an operator reads it.

    Models ask a Linear for `weight.dtype`, `weight.device` or `weight.shape` in every forward pass:
    T5 casts what its feed-forward layer reads to the type of that layer's weight. Integer codes
    would give the wrong answer there, and a float matrix would be computed for nothing.
    """

    _compute: Callable[[], Tensor]

    @staticmethod
    def __new__(
        cls,
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        compute: Callable[[], Tensor],
    ) -> LazyWeight:
        """A tensor without memory.

        Args:
            cls: this class.
            shape: of the matrix.
            dtype: in which the module computes.
            device: of the module.
            compute: returns the matrix.
        """
        weight: LazyWeight = torch.Tensor._make_wrapper_subclass(
            cls, list(shape), dtype=dtype, device=device
        )
        weight._compute = compute
        return weight

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Runs an operator on the matrix itself."""
        args, kwargs = tree_map_only(cls, lambda weight: weight._compute(), (args, kwargs or {}))
        return func(*args, **kwargs)


class StoredModule(nn.Module, ABC):
    """A module that a model folder can name: rebuilt from its arguments, filled from its state.

    Attributes:
        kind: its name in `runtime.json`, under which `compress.store.kinds` finds the class.
        arithmetic: what it computes in; None for the type of its weights.
        bits: of one of its codes on disk; None for those of its weights' type.
    """

    kind: ClassVar[str]
    arithmetic: ClassVar[str | None] = None
    bits: ClassVar[int | None] = None

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The weights that it stands for, one entry each, zero where the weight is zero.

        They have the names that a plain module gives them, whatever the state dict calls its own.

        A format yields its codes here, without scales: those are bookkeeping of the format.
        Submodules yield their own.
        """
        yield from self.named_parameters(recurse=False)

    def plain_shape(self) -> tuple[int, int] | None:
        """[rows, columns] of the one weight that it stands for; None if it is no such thing."""
        return None


class QuantizedModule(StoredModule, ABC):
    """A module that keeps integer codes for the one weight that it stands for."""

    @abstractmethod
    def plain_shape(self) -> tuple[int, int]:
        """[rows, columns] of that weight."""

    @abstractmethod
    def codes(self) -> Int8[Tensor, "rows columns"]:
        """The weight as integers, zero where the weight is zero."""

    @abstractmethod
    def matrix(self) -> Float[Tensor, "rows columns"]:
        """What the codes stand for, in float32."""

    @abstractmethod
    def error_bound(self, weight: Float[Tensor, "rows columns"]) -> Float[Tensor, ...]:
        """How far `matrix` may be from the float weight that it was made of, by the formula."""

    @property
    def weight(self) -> LazyWeight:
        """The weight as `matrix` has it."""
        device = next(self.buffers()).device
        return LazyWeight(self.plain_shape(), torch.float32, device, self.matrix)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The codes."""
        yield "weight", self.codes()


class LowRankLinear(StoredModule):
    """A Linear as two: W = U · V with U [out, rank] and V [rank, in]."""

    kind = "low_rank_linear"

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
    def weight(self) -> LazyWeight:
        """W = U · V."""
        up, down = self.up, self.down
        shape, dtype = (up.out_features, down.in_features), down.weight.dtype
        return LazyWeight(shape, dtype, down.weight.device, lambda: up.weight @ down.weight)

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
