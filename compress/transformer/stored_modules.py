"""Stored modules: replacements of plain modules that a model folder can describe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from transformers.pytorch_utils import Conv1D


class LazyWeight(Tensor):
    """The float weight of a module, computed only when an operator reads it.

    Models read `weight.dtype`, `weight.device` or `weight.shape` of a Linear in every forward pass:
    T5 casts the inputs of its feed-forward to the type of the weight. Integer codes would have the
    wrong type, and dequantizing the matrix would be wasted time.
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
    """A module that a model folder stores as a kind, constructor arguments and a state dict.

    Attributes:
        kind: name in `runtime.json`, which `compress.store.kinds` maps to the class.
        arithmetic: type of its arithmetic; None for the type of its weights.
        bits: of a code on disk; None for the size of the weights' type.
    """

    kind: ClassVar[str]
    arithmetic: ClassVar[str | None] = None
    bits: ClassVar[int | None] = None

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Name and tensor of each weight, under a plain module's names, zero where it is zero.

        Quantized modules yield their codes without scales. Weights of submodules are not included.
        """
        yield from self.named_parameters(recurse=False)

    def plain_shape(self) -> tuple[int, int] | None:
        """[rows, columns] of the weight that it replaces; None if it replaces several."""
        return None

    def share_(self, model: nn.Module) -> None:
        """Takes what belongs to another module too, once all are in place."""


class QuantizedModule(StoredModule, ABC):
    """A module that stores integer codes of one weight."""

    @abstractmethod
    def plain_shape(self) -> tuple[int, int]:
        """[rows, columns] of that weight."""

    @abstractmethod
    def codes(self) -> Int8[Tensor, "rows columns"]:
        """The weight as integers, zero where the weight is zero."""

    @abstractmethod
    def matrix(self) -> Float[Tensor, "rows columns"]:
        """The dequantized weight, in float32."""

    @abstractmethod
    def error_bound(self, weight: Float[Tensor, "rows columns"]) -> Float[Tensor, ...]:
        """The largest difference of `matrix` from the float weight, by the format's formula."""

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


class FactorizedEmbedding(StoredModule):
    """An embedding table as two: E = T · Pᵀ with T [tokens, width] and P [dim, width].

    Lan et al., "ALBERT", arXiv:1909.11942, section 3.1.
    """

    kind = "factorized_embedding"

    def __init__(
        self, num_embeddings: int, width: int, embedding_dim: int, padding_idx: int | None
    ) -> None:
        """Arbitrary weights; the real ones come from a state dict."""
        super().__init__()
        self.table = nn.Embedding(num_embeddings, width, padding_idx)
        self.projection = nn.Linear(width, embedding_dim, bias=False)

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        table = self.table  # or the quantized table in its place, with the same attributes
        sizes = {"num_embeddings": table.num_embeddings, "width": table.embedding_dim}
        dim, _ = self.projection.weight.shape
        return {**sizes, "embedding_dim": dim, "padding_idx": table.padding_idx}

    @property
    def weight(self) -> LazyWeight:
        """E = T · Pᵀ."""
        table, projection = self.table.weight, self.projection.weight
        shape = (len(table), len(projection))
        return LazyWeight(shape, table.dtype, table.device, lambda: table @ projection.T)

    def forward(self, ids: Int[Tensor, ...]) -> Float[Tensor, "... dim"]:
        """The rows of T for the ids, times Pᵀ."""
        result: Tensor = self.projection(self.table(ids))
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
            # Codes are computed on the fly; only parameters can be shared.
            if not isinstance(tensor, nn.Parameter) or id(tensor) not in seen:
                seen.add(id(tensor))
                matrix = tensor.T if isinstance(part, Conv1D) and name == "weight" else tensor
                yield f"{prefix}.{name}" if prefix else name, matrix
