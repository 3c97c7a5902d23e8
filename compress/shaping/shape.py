"""A shape: the sizes of a model that is cut out of another one, by importance.

The cuts are made in the order of the fields `vocabulary`, `positions`, `hidden`, `heads`,
`neurons`, `embedding`, `activation`; each ranks what is left by the cuts before it. Heads, neurons
and channels are kept in the order of their importance, so that the first ones of a layer are those
that a still smaller model would keep.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import OneOf, PositiveInt
from compress.config.settings import Settings
from compress.interfaces import StageContext
from compress.shaping.embedding import factorize_embedding_, place_factors_, token_counts
from compress.shaping.importance import IMPORTANCES
from compress.shaping.order import AsTheyAre, ByImportance, Order
from compress.shaping.units import unit_sites
from compress.shaping.vocabulary import Kept, check_vocabulary, shrink_vocabulary_
from compress.transformer.activations import ACTIVATIONS, set_activation_
from compress.transformer.blocks import Block, Units
from compress.transformer.positions import keep_positions_
from compress.transformer.processors import set_and_keep_
from compress.transformer.rebuilding import check_rebuilds
from compress.transformer.residual import keep_channels_
from compress.transformer.stacks import token_table
from compress.transformer.surgery import keep_units_

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor


@dataclass(frozen=True, kw_only=True)
class Shape(Settings):
    """Sizes to cut a model to; null keeps what it has.

    Attributes:
        heads: attention heads per layer; where several queries share a key, a multiple of these.
        neurons: width of the feed-forward.
        hidden: width of the residual stream.
        embedding: width of a factorized token table: [tokens, hidden] becomes [tokens, embedding]
            and a projection to `hidden`, by an SVD weighted by the tokens' frequency.
        activation: activation function of the feed-forward.
        vocabulary: tokens in all, at most: special tokens, single characters, and the most frequent
            ones in the train rows.
        positions: tokens of the longest text that the model takes.
        importance: what ranks heads and neurons: "l1", "random", "taylor" or "activation", see
            `compress/shaping/importance.py`; channels are ranked by their activation.
    """

    heads: PositiveInt | None
    neurons: PositiveInt | None
    hidden: PositiveInt | None
    embedding: PositiveInt | None
    activation: Annotated[str, OneOf(ACTIVATIONS)] | None
    vocabulary: PositiveInt | None
    positions: PositiveInt | None
    importance: Annotated[str, OneOf(IMPORTANCES)]

    def check(self, skeleton: PreTrainedModel, where: str) -> PreTrainedModel:
        """The skeleton in this shape, which changes the one it is given; all tokens stay.

        Args:
            skeleton: of the model to cut.
            where: the key of these settings, for messages.

        Raises:
            ConfigError: the model cannot be cut to a size; says which.
        """
        if self.vocabulary is not None:
            key = f"{where}.vocabulary"
            check_vocabulary(skeleton, key, {key: self.vocabulary})
        self._cut_(skeleton, AsTheyAre(), where)
        if self.embedding is not None:
            with _naming(where, "embedding", self.embedding):
                place_factors_(skeleton, self.embedding)
        if self.activation is not None:
            with _naming(where, "activation", self.activation):
                set_activation_(skeleton, self.activation)
                check_rebuilds(skeleton, "the model with another activation function")
        return skeleton

    def apply_(
        self, module: PreTrainedModel, tokenizer: Processor, ctx: StageContext, where: str
    ) -> tuple[Processor, dict[str, Any]]:
        """Cuts a model to this shape.

        Args:
            module: changes in place.
            tokenizer: of the model; left as it is.
            ctx: whose train rows are counted, and whose calibration rows are run.
            where: the key of these settings, for messages.

        Returns:
            The tokenizer of the result, and notes for the record.

        Raises:
            UserError: the tokenizer cannot be shrunk to this size.
        """
        notes: dict[str, Any] = {}
        if self.vocabulary is not None:
            key, kept = f"{where}.vocabulary", Kept(size=self.vocabulary)
            tokenizer, notes = shrink_vocabulary_(module, tokenizer, ctx.data.train, key, kept)
        if self.positions is not None:
            tokenizer = copy.deepcopy(tokenizer)
            set_and_keep_(tokenizer, "model_max_length", self.positions)
        self._cut_(module, ByImportance(tokenizer, ctx, self.importance), where)
        if self.embedding is not None:
            table = token_table(module)
            assert table is not None, "the check looked it up"
            counts = token_counts(tokenizer, ctx.data.train, table.num_embeddings)
            share = factorize_embedding_(module, self.embedding, counts)
            notes["embedding_norm_kept"] = share
        if self.activation is not None:
            set_activation_(module, self.activation)
        return tokenizer, notes

    def _cut_(self, module: PreTrainedModel, order: Order, where: str) -> None:
        """Cuts positions, channels, heads and neurons."""
        if self.positions is not None:
            with _naming(where, "positions", self.positions):
                keep_positions_(module, self.positions)
        if self.hidden is not None:
            with _naming(where, "hidden", self.hidden):
                channels = order.channels(module)
                _check_size("channels", len(channels), self.hidden)
                keep_channels_(module, channels[: self.hidden])
        for kind, size in (("heads", self.heads), ("neurons", self.neurons)):
            if size is not None:
                with _naming(where, kind, size):
                    _cut_units_(module, kind, size, order)


def _cut_units_(module: PreTrainedModel, kind: str, size: int, order: Order) -> None:
    """Keeps as many heads or neurons of every layer."""
    sites = unit_sites(module, kind)
    counts = [_unit_count(block, units, kind, size) for block, units in sites]
    orders = order.units(module, sites)
    for (block, units), ranks, count in zip(sites, orders, counts, strict=True):
        keep_units_(block, units, ranks[:count])


def _unit_count(block: Block, units: Units, kind: str, size: int) -> int:
    """The number of units that hold as many heads or neurons."""
    total = block.heads if kind == "heads" else block.neurons
    _check_size(f"{kind} in {block.name}", total, size)
    shared = total // units.count
    if size % shared:
        raise ConfigError(f"expected a multiple of {shared}, as many queries as share a key")
    return size // shared


def _check_size(what: str, present: int, asked: int) -> None:
    if asked > present:
        raise ConfigError(f"the model has only {present} {what}")


@contextmanager
def _naming(where: str, name: str, value: object) -> Iterator[None]:
    """Makes errors name the size that was asked for."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{where}.{name}={value}: {error}") from error
