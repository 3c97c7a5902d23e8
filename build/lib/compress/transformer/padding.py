"""Padding that changes no row: which token, on which side, and a check on real rows.

A decoder's classifier finds the last token of a row by the number of the padding token; one with
absolute positions needs its padding behind the row, XLNet before it. Models that mix neighboring
tokens whatever the mask says (FNet, Funnel, ConvBERT, MobileBERT) have no right side: such a
model says something else of a row in each batch, and is refused.
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
TRIED = 16  # rows: padding that a model mixes in does not show in each
# Of a row's logits with padding and without, as a share of the largest. Another order of summation
# gives up to 1e-5 in the models of the tests; where padding counts the least was 0.02.
TOLERANCE = 1e-3

log = logging.getLogger(__name__)


@torch.no_grad()
def fit_padding_(
    where: str, module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Split
) -> dict[str, Any]:
    """Chooses token and side of the padding so that a row's logits do not depend on its batch.

    Args:
        where: names the model in errors.
        module: in eval mode; its config learns the token.
        tokenizer: changes in place.
        rows: some of those that the model will read.

    Returns:
        What was changed, for the record; mostly nothing.

    Raises:
        UserError: no token or no side serves, or the model cannot read the rows.
    """
    encoded = rows.encode(tokenizer)
    _check_types(where, module, encoded)
    tried = _spread_rows(where, encoded["length"][:])
    columns = encoded.remove_columns("length")
    some = [columns[row] for row in tried]
    changes = _choose_token_(where, module, tokenizer, _last_tokens(encoded))
    # As the checkpoint's config has it: alone, a row has no padding that could be looked for.
    alone = torch.cat([logits_of(where, module, rows.collate(tokenizer, [row])) for row in some])
    changes |= _tell_config_(where, module, tokenizer)
    worst = []
    for side in sorted(SIDES, key=lambda each: each != tokenizer.padding_side):
        if side != tokenizer.padding_side:
            set_and_keep_(tokenizer, "padding_side", side)
            changes["padding_side"] = side
        beside = logits_of(where, module, rows.collate(tokenizer, some))
        worst.append(float((beside - alone).abs().max() / alone.abs().max().clamp(min=1e-12)))
        if worst[-1] <= TOLERANCE:
            return changes
    raise UserError(
        f"{where}: what {type(module).__name__} says of a row depends on the padding beside it; "
        f"its logits change by {min(worst):.2g} of the largest{_disagreement(module, tokenizer)}"
    )


@torch.no_grad()
def logits_of(
    where: str, module: PreTrainedModel, batch: Mapping[str, Tensor]
) -> Float[Tensor, "B ..."]:
    """A model's logits of a batch of real rows.

    Raises:
        UserError: it cannot read them, or says something that is not a number.
    """
    try:
        logits: Tensor = module(**batch).logits
    except Exception as error:
        # Whatever the modules raise here, it is about these rows: nothing else has happened yet.
        said = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{where} cannot read the task's rows: {said}") from error
    if not bool(logits.isfinite().all()):
        raise UserError(f"{where} has damaged weights: its logits are not finite")
    return logits


def _spread_rows(where: str, lengths: list[int]) -> list[int]:
    """Rows of all lengths, the longest among them."""
    # A text can be made of no token at all, and then has nothing that a model could say alone.
    real = [row for row, length in enumerate(lengths) if length]
    if not real:
        raise UserError(f"the tokenizer of {where} makes no token of any of the task's rows")
    by_length = sorted(real, key=lambda row: lengths[row])
    return sorted({*by_length[:: math.ceil(len(by_length) / TRIED)], by_length[-1]})


def _last_tokens(encoded: Any) -> set[int]:
    return {tokens[-1] for tokens in encoded["input_ids"] if tokens}


def _check_types(where: str, module: PreTrainedModel, encoded: Any) -> None:
    """Refuses token types that the model has no embeddings of."""
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
            f"{type(module).__name__} knows {sizes[0]} of them, counted from 0"
        )


def _disagreement(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    """What is amiss where a model looks for another padding token than it is given."""
    ours, theirs = tokenizer.pad_token_id, module.config.pad_token_id
    return "" if ours == theirs else f"; config.json has pad_token_id {theirs}, pads are {ours}"


def _choose_token_(
    where: str, module: PreTrainedModel, tokenizer: Processor, ends: set[int]
) -> dict[str, Any]:
    """Gives a tokenizer without padding a token for it.

    That of the config, else one that ends no row, for the last token is found by it.
    """
    if tokenizer.pad_token_id is not None:
        return {}
    names = ("eos_token_id", "bos_token_id", "cls_token_id", "sep_token_id")
    numbers = [module.config.pad_token_id, *(getattr(tokenizer, name) for name in names)]
    known = set(tokenizer.get_vocab().values())
    free = [number for number in numbers if number in known - ends]
    if not free:
        raise UserError(
            f"the tokenizer of {where} has no padding token, and each special token that could "
            "serve ends a row; give it a pad_token"
        )
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(free[0])
    log.info("%s has no padding token; %r serves as one", where, tokenizer.pad_token)
    return {"pad_token": tokenizer.pad_token}


def _tell_config_(
    where: str, module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """Tells a config without a padding token that of the tokenizer."""
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
