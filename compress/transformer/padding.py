"""Padding that does not change a row's logits: padding token and side, checked on real rows.

A decoder's classifier finds the last token of a row by the id of the padding token; with absolute
positions padding must be on the right, in XLNet on the left. Models that mix neighboring tokens
regardless of the mask (FNet, Funnel, ConvBERT, MobileBERT) have no correct side: their logits of a
row depend on the batch, and they are refused.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from compress.config.errors import UserError, first_line
from compress.transformer.positions import padding_position
from compress.transformer.processors import set_and_keep_

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from compress.interfaces import Processor, Split

SIDES = ("right", "left")
TYPES = "token_type_ids"
TRIED = 16  # rows: not every row's logits depend on the padding of such a model
# Difference of a row's logits with and without padding, as a share of the largest. Another order of
# summation gives up to 1e-5 in the models of the tests; padding that counts gave at least 0.02.
TOLERANCE = 1e-3

log = logging.getLogger(__name__)


@torch.no_grad()
def fit_padding_(
    where: str, module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Split
) -> dict[str, Any]:
    """Chooses token and side of the padding so that a row's logits do not depend on its batch.

    The tokenizer and the model's config are modified in place.

    Returns:
        What was changed, for the record; usually nothing.

    Raises:
        UserError: no token or no side works, or the model cannot read the rows.
    """
    encoded = rows.encode(tokenizer)
    _check_types(where, module, encoded)
    tried = _spread_rows(where, encoded["length"][:])
    columns = encoded.remove_columns("length")
    some = [columns[row] for row in tried]
    changes = _choose_token_(
        where, module, tokenizer, {tokens[-1] for tokens in encoded["input_ids"] if tokens}
    )
    # With the checkpoint's original config: a row alone has no padding.
    alone = torch.cat([_real(where, module, rows.collate(tokenizer, [row])) for row in some])
    changes |= _sync_config_(where, module, tokenizer)
    worst = []
    for side in sorted(SIDES, key=lambda side: side != tokenizer.padding_side):
        if side != tokenizer.padding_side:
            set_and_keep_(tokenizer, "padding_side", side)
            changes["padding_side"] = side
        padded = _real(where, module, rows.collate(tokenizer, some))
        worst.append(float((padded - alone).abs().max() / alone.abs().max().clamp(min=1e-12)))
        if worst[-1] <= TOLERANCE:
            return changes
    ours, theirs = tokenizer.pad_token_id, module.config.pad_token_id
    mismatch = f"; config.json has pad_token_id {theirs}, the tokenizer pads with {ours}"
    raise UserError(
        f"{where}: the logits of {type(module).__name__} depend on the padding of a row; they "
        f"change by {min(worst):.2g} of the largest{'' if ours == theirs else mismatch}"
    )


def _real(
    where: str, module: PreTrainedModel, batch: Mapping[str, Tensor]
) -> Float[Tensor, "real outputs"]:
    """Logits of rows, or of all tokens that are no padding where each has its own."""
    logits = logits_of(where, module, batch)
    return logits if logits.dim() == 2 else logits[batch["attention_mask"].bool()]


@torch.no_grad()
def logits_of(
    where: str, module: PreTrainedModel, batch: Mapping[str, Tensor]
) -> Float[Tensor, "B ..."]:
    """A model's logits of a batch of real rows.

    Raises:
        UserError: the forward pass fails, or the logits are not finite.
    """
    try:
        logits: Tensor = module(**batch).logits
    except Exception as error:
        # This is the first forward pass, so any error is about the rows.
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{where} cannot read the task's rows: {reason}") from error
    if not bool(logits.isfinite().all()):
        raise UserError(f"{where} has damaged weights: its logits are not finite")
    return logits


def _spread_rows(where: str, lengths: list[int]) -> list[int]:
    """Rows of all lengths, the longest among them."""
    # A text can have no tokens at all, and then has no logits.
    real = [row for row, length in enumerate(lengths) if length]
    if not real:
        raise UserError(f"the tokenizer of {where} produces no tokens for any of the task's rows")
    by_length = sorted(real, key=lambda row: lengths[row])
    return sorted({*by_length[:: math.ceil(len(by_length) / TRIED)], by_length[-1]})


def _check_types(where: str, module: PreTrainedModel, encoded: Any) -> None:
    """Refuses token types that the model has no embeddings for."""
    if TYPES not in encoded.column_names:
        return
    sizes = [
        part.num_embeddings
        for name, part in module.named_modules()
        if name.endswith("token_type_embeddings") and isinstance(part, nn.Embedding)
    ]
    largest = max((max(types, default=0) for types in encoded[TYPES]), default=0)
    if sizes and largest >= sizes[0]:
        raise UserError(
            f"{where}: its tokenizer gives the task's rows the token type {largest}, "
            f"{type(module).__name__} has {sizes[0]} token types, from 0"
        )


def _choose_token_(
    where: str, module: PreTrainedModel, tokenizer: Processor, ends: set[int]
) -> dict[str, Any]:
    """Gives a tokenizer without a padding token one.

    Takes the config's, else a special token that no row ends with, because classifiers find the
    last token of a row by the padding token.
    """
    if tokenizer.pad_token_id is not None:
        return {}
    names = ("eos_token_id", "bos_token_id", "cls_token_id", "sep_token_id")
    numbers = [module.config.pad_token_id, *(getattr(tokenizer, name) for name in names)]
    known = set(tokenizer.get_vocab().values())
    free = [number for number in numbers if number in known - ends]
    if not free:
        raise UserError(
            f"the tokenizer of {where} has no padding token, and a row ends with each special "
            "token that could be used; give it a pad_token"
        )
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(free[0])
    log.info("%s has no padding token; using %r", where, tokenizer.pad_token)
    return {"pad_token": tokenizer.pad_token}


def _sync_config_(
    where: str, module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """Sets the tokenizer's padding token in a config without one."""
    ours, theirs = tokenizer.pad_token_id, module.config.pad_token_id
    counted_from = padding_position(module)
    if counted_from is not None and counted_from != ours:
        raise UserError(
            f"{where}: {type(module).__name__} counts positions from padding token "
            f"{counted_from}, its tokenizer pads with {ours} ({tokenizer.pad_token})"
        )
    if theirs is not None and theirs >= 0:
        return {}
    module.config.pad_token_id = ours
    return {"pad_token_id": ours}
