"""A shape: the sizes of a model that is cut out of another one, by importance.

The cuts are made in the order of the fields `vocabulary`, `positions`, `hidden`, `heads`,
`neurons`, `embedding`, `activation`; each ranks what is left by the cuts before it. Heads, neurons
and channels are kept in the order of their importance, so that the first ones of a layer are those
that a still smaller model would keep.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import OneOf, PositiveInt
from compress.config.settings import Settings
from compress.interfaces import StageContext
from compress.shaping.embedding import factorize_embedding_
from compress.shaping.importance import IMPORTANCES
from compress.shaping.order import ByImportance, ByPlace, Order
from compress.shaping.units import unit_sites
from compress.shaping.vocabulary import Kept, check_vocabulary, shrink_vocabulary_
from compress.transformer.activations import ACTIVATIONS, set_activation_
from compress.transformer.blocks import Block, Units
from compress.transformer.dry_run import check_runs
from compress.transformer.positions import keep_positions_
from compress.transformer.processors import set_and_keep_
from compress.transformer.rebuilding import check_rebuilds
from compress.transformer.residual import keep_channels_
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
            ones in the train rows and the transfer text.
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
            UserError: the model cannot be cut to a size, or not run or be saved in this shape.
        """
        if self.vocabulary is not None:
            key = f"{where}.vocabulary"
            check_vocabulary(skeleton, key, {key: self.vocabulary})
        sizes = self._sizes()
        cut_sizes_(skeleton, sizes, ByPlace(), where)
        if sizes:  # as a run does for every stage, but here the message names the shape
            check_runs(skeleton, where)
            check_rebuilds(skeleton, where)
        return skeleton

    def apply_(
        self, module: PreTrainedModel, tokenizer: Processor, ctx: StageContext, where: str
    ) -> tuple[Processor, dict[str, Any]]:
        """Cuts a model to this shape.

        Args:
            module: changes in place.
            tokenizer: of the model; left as it is.
            ctx: whose rows to learn from are counted, and whose calibration rows are run.
            where: the key of these settings, for messages.

        Returns:
            The tokenizer of the result, and notes for the record.

        Raises:
            UserError: the tokenizer cannot be shrunk to this size.
        """
        notes: dict[str, Any] = {}
        if self.vocabulary is not None:
            key, kept = f"{where}.vocabulary", Kept(size=self.vocabulary)
            tokenizer, notes = shrink_vocabulary_(module, tokenizer, ctx.data.learned, key, kept)
        if self.positions is not None:
            tokenizer = copy.deepcopy(tokenizer)
            set_and_keep_(tokenizer, "model_max_length", self.positions)
        order = ByImportance(tokenizer, ctx, self.importance)
        return tokenizer, notes | cut_sizes_(module, self._sizes(), order, where)

    def _sizes(self) -> dict[str, Any]:
        """The sizes that are asked for, without the number of tokens."""
        asked = {name: getattr(self, name) for name in CUTS}
        return {name: size for name, size in asked.items() if size is not None}


def cut_sizes_(
    module: PreTrainedModel, sizes: Mapping[str, Any], order: Order, where: str
) -> dict[str, Any]:
    """Cuts a model, or its skeleton, to each of the sizes.

    Args:
        module: changes in place.
        sizes: by name of a setting, one of `CUTS`.
        order: in which parts are kept.
        where: the key of the settings, for messages.

    Returns:
        Notes for the record.

    Raises:
        ConfigError: the model cannot be cut to a size.
    """
    notes: dict[str, Any] = {}
    for name, cut in CUTS.items():
        if name in sizes:
            with _naming(where, name, sizes[name]):
                notes |= cut(module, sizes[name], order)
    return notes


def _cut_positions_(module: PreTrainedModel, size: int, order: Order) -> dict[str, Any]:
    keep_positions_(module, size)
    return {}


def _cut_channels_(module: PreTrainedModel, size: int, order: Order) -> dict[str, Any]:
    channels = order.channels(module)
    _check_size("channels", len(channels), size)
    keep_channels_(module, channels[:size])
    return {}


def _cut_units_(kind: str, module: PreTrainedModel, size: int, order: Order) -> dict[str, Any]:
    """Keeps as many heads or neurons of every layer."""
    sites = unit_sites(module, kind)
    counts = [_unit_count(block, units, kind, size) for block, units in sites]
    orders = order.units(module, sites)
    for (block, units), ranks, count in zip(sites, orders, counts, strict=True):
        keep_units_(block, units, ranks[:count])
    return {}


def _cut_embedding_(module: PreTrainedModel, size: int, order: Order) -> dict[str, Any]:
    share = factorize_embedding_(module, size, order.frequencies(module))
    return {"embedding_norm_kept": share}


def _cut_activation_(module: PreTrainedModel, name: str, order: Order) -> dict[str, Any]:
    set_activation_(module, name)
    return {}


# By setting; returns notes for the record.
Cut: TypeAlias = Callable[["PreTrainedModel", Any, Order], dict[str, Any]]
CUTS: dict[str, Cut] = {
    "positions": _cut_positions_,
    "hidden": _cut_channels_,
    "heads": partial(_cut_units_, "heads"),
    "neurons": partial(_cut_units_, "neurons"),
    "embedding": _cut_embedding_,
    "activation": _cut_activation_,
}


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
