"""Embedding tables as int8 or int4; a lookup dequantizes only the rows that it reads.

Half of the bytes of a small model are its vocabulary. Rounding is to nearest, symmetric around
zero: int8 with one float32 scale per row (Zafrir et al., "Q8BERT", arXiv:1910.06188, equation 1,
there with one scale per table); int4 with one bfloat16 scale per 32 entries of a row, see
`compress.transformer.packing`.

The token embeddings and the other tables of the same module are quantized: positions and token
types in BERT-like models, positions in GPT-2, whose rows are summed to the first hidden state.
Tables of other modules, such as MPNet's bias per head and distance, stay float32. An output layer
whose weight is the table of tokens reads the same integers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn

from compress.config.errors import ConfigError
from compress.transformer.bit_packing import pack_codes, unpack_codes
from compress.transformer.packing import (
    SYMMETRIC_ZERO,
    center_groups,
    channel_bound,
    dequantize_groups,
    group_bound,
    quantize_groups,
    quantize_per_channel,
)
from compress.transformer.rounding import check_quantized
from compress.transformer.stacks import embedding_tables, tied_output
from compress.transformer.stored_modules import LazyWeight, QuantizedModule, StoredModule

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# As in llama.cpp's Q4_0: 4.5 bits per entry, the scale included.
INT4_GROUP_SIZE = 32
TABLE_BITS = {"none": 32, "int8": 8, "int4": 4}


class QuantizedEmbedding(QuantizedModule):
    """An embedding table of integers. `padding_idx` is only stored: the table is not trained."""

    qweight: Tensor
    scale: Tensor

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None) -> None:
        """An empty table; its rows come from an Embedding or from a state dict."""
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx
        codes, scale = self._encoded(torch.zeros(1, embedding_dim))  # for their shapes and types
        self.register_buffer("qweight", codes.new_zeros(num_embeddings, *codes.shape[1:]))
        self.register_buffer("scale", scale.new_ones(num_embeddings, *scale.shape[1:]))

    @classmethod
    def of(cls, table: nn.Embedding) -> Self:
        """The quantized version of a float table."""
        embedding = cls(table.num_embeddings, table.embedding_dim, table.padding_idx)
        codes, scale = embedding._encoded(table.weight.detach().float())
        embedding.load_state_dict({"qweight": codes, "scale": scale})
        return embedding

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        sizes = {"num_embeddings": self.num_embeddings, "embedding_dim": self.embedding_dim}
        return {**sizes, "padding_idx": self.padding_idx}

    def plain_shape(self) -> tuple[int, int]:
        """The shape of the table."""
        return self.num_embeddings, self.embedding_dim

    def matrix(self) -> Float[Tensor, "rows dim"]:
        """The dequantized table."""
        return self._decoded(self.qweight, self.scale)

    def forward(self, ids: Int[Tensor, ...]) -> Float[Tensor, "... dim"]:
        """The rows of the ids, in float32."""
        return self._decoded(_rows(self.qweight, ids), _rows(self.scale, ids))

    @abstractmethod
    def _encoded(self, weight: Float[Tensor, "rows dim"]) -> tuple[Tensor, Tensor]:
        """Codes and scales of a float table."""

    @abstractmethod
    def _decoded(self, codes: Tensor, scale: Tensor) -> Float[Tensor, "... dim"]:
        """The float rows of codes and scales."""


class Int8Embedding(QuantizedEmbedding):
    """One byte per entry, one scale per row."""

    kind = "int8_embedding"

    def codes(self) -> Int8[Tensor, "rows dim"]:
        """The int8 codes."""
        return self.qweight

    def error_bound(self, weight: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows 1"]:
        """Half a step of each row."""
        return channel_bound(weight)

    def _encoded(self, weight: Float[Tensor, "rows dim"]) -> tuple[Tensor, Tensor]:
        return quantize_per_channel(weight)

    def _decoded(self, codes: Tensor, scale: Tensor) -> Float[Tensor, "... dim"]:
        return codes * scale[..., None]


class Int4Embedding(QuantizedEmbedding):
    """Half a byte per entry, one scale per group of a row."""

    kind = "int4_embedding"
    bits = 4

    def codes(self) -> Int8[Tensor, "rows dim"]:
        """The codes relative to zero."""
        codes = unpack_codes(self.qweight, self.embedding_dim)
        return center_groups(codes, SYMMETRIC_ZERO, INT4_GROUP_SIZE)

    def error_bound(self, weight: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
        """See `group_bound`."""
        return group_bound(weight, INT4_GROUP_SIZE, symmetric=True)

    def _encoded(self, weight: Float[Tensor, "rows dim"]) -> tuple[Tensor, Tensor]:
        codes, scale, _ = quantize_groups(weight, INT4_GROUP_SIZE, symmetric=True)
        return pack_codes(codes), scale

    def _decoded(self, codes: Tensor, scale: Tensor) -> Float[Tensor, "... dim"]:
        return dequantize_groups(codes, scale, SYMMETRIC_ZERO, INT4_GROUP_SIZE, self.embedding_dim)


class TiedOutput(StoredModule):
    """An output layer that multiplies by a table of integers, dequantized in every call."""

    kind = "tied_output"

    def __init__(self, table: str, num_embeddings: int, embedding_dim: int, bias: bool) -> None:
        """An empty layer; see `share_`.

        Args:
            table: name of the table in the model.
            num_embeddings: its rows.
            embedding_dim: its columns.
            bias: whether the layer adds one.
        """
        super().__init__()
        self.path, self.num_embeddings, self.embedding_dim = table, num_embeddings, embedding_dim
        self.table: QuantizedEmbedding | None = None
        self.bias: Tensor | None
        self.register_buffer("bias", torch.zeros(num_embeddings) if bias else None)

    @classmethod
    def of(cls, output: nn.Linear, table: str) -> Self:
        """In the place of a Linear; see `share_`."""
        layer = cls(table, output.out_features, output.in_features, output.bias is not None)
        if output.bias is not None:
            layer.bias = output.bias.detach().float()
        return layer

    def share_(self, model: nn.Module) -> None:
        """Takes the table from its model, as a module of both."""
        table = model.get_submodule(self.path)
        assert isinstance(table, QuantizedEmbedding), f"{self.path} is {table}"
        self.table = table

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        sizes = {"num_embeddings": self.num_embeddings, "embedding_dim": self.embedding_dim}
        return {"table": self.path, **sizes, "bias": self.bias is not None}

    def plain_shape(self) -> tuple[int, int]:
        """The shape of the Linear."""
        return self.num_embeddings, self.embedding_dim

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The bias; the codes are the table's."""
        if self.bias is not None:
            yield "bias", self.bias

    @property
    def weight(self) -> LazyWeight:
        """The table's weight."""
        return self._shared.weight

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... tokens"]:
        """X · Eᵀ + b."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return nn.functional.linear(x, self._shared.matrix().to(x.dtype), bias)

    @property
    def _shared(self) -> QuantizedEmbedding:
        assert self.table is not None, "share_() was not called"
        return self.table


MAKERS: dict[str, Callable[[nn.Embedding], QuantizedEmbedding]] = {
    "int8": Int8Embedding.of,
    "int4": Int4Embedding.of,
}
CHOICES = ("none", *MAKERS)


def quantize_embeddings_(module: PreTrainedModel, choice: str) -> None:
    """Replaces the embedding tables of a model, in place.

    Args:
        module: a transformer.
        choice: one of `CHOICES`.

    Raises:
        ConfigError: the model has no table of token embeddings, or it is more than a plain table.
    """
    if choice == "none":
        return
    tied = tied_output(module)
    for name, table in _plain_tables(module, choice).items():
        embedding = MAKERS[choice](table).train(table.training).to(table.weight.device)
        check_quantized(name, embedding, table.weight.detach().float())
        module.set_submodule(name, embedding)
    if tied is not None:
        output, table_name = tied
        linear = module.get_submodule(output)
        assert isinstance(linear, nn.Linear)
        layer = TiedOutput.of(linear, table_name)
        layer.share_(module)
        module.set_submodule(output, layer)


def check_embeddings(skeleton: PreTrainedModel, choice: str) -> None:
    """Raises a ConfigError if `quantize_embeddings_` cannot quantize the tables."""
    if choice != "none":
        _plain_tables(skeleton, choice)


def _rows(table: Tensor, ids: Int[Tensor, ...]) -> Tensor:
    """Rows of a table; negative ids are errors, as in nn.Embedding."""
    return table.index_select(0, ids.reshape(-1)).view(*ids.shape, *table.shape[1:])


def _plain_tables(module: PreTrainedModel, choice: str) -> dict[str, nn.Embedding]:
    """The embedding tables, checked to be plain lookups."""
    tables = embedding_tables(module)
    if not tables:
        raise ConfigError(
            f"embeddings={choice} needs a table of token embeddings, "
            f"{type(module).__name__} has none; set quantizer.embeddings=none"
        )
    shared = list(module.named_parameters(remove_duplicate=False))
    output, _ = tied_output(module) or ("", "")
    for name, table in tables.items():
        if type(table) is not nn.Embedding or table.max_norm is not None:
            raise ConfigError(
                f"embeddings={choice} takes plain nn.Embedding tables, {name} is {table}; "
                "set quantizer.embeddings=none"
            )
        owners = [
            owner for owner, parameter in shared
            if parameter is table.weight and owner != f"{output}.weight"
        ]  # fmt: skip
        if len(owners) > 1:
            raise ConfigError(
                f"embeddings={choice} cannot quantize a shared tensor: {', '.join(owners)}; "
                "set quantizer.embeddings=none"
            )
    return tables
