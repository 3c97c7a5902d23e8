"""A checkpoint as the first model of a run: read, and held against the task's rows before work."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.config.errors import UserError
from compress.transformer.class_order import class_order, reorder_outputs_
from compress.transformer.padding import fit_padding_, logits_of
from compress.transformer.pretrained import head_of, load_pretrained, read_config

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

    from compress.interfaces import Processor, Split, TrainingData

log = logging.getLogger(__name__)


def read_checkpoint(
    path: Path, data: TrainingData, *, trained: bool
) -> tuple[PreTrainedModel, Processor, dict[str, Any]]:
    """A checkpoint with a head for the task, its tokenizer, and notes for the record.

    Args:
        path: a folder or a GGUF file; see `load_pretrained`.
        data: the rows, of which those for calibration are tried.
        trained: whether training follows: then the head may be one for other classes, or none.

    Raises:
        UserError: it cannot be read, or does not go with the rows.
    """
    config = read_config(path)
    if not trained:
        try:
            check_classes(str(path), config, data)
        except UserError as error:
            raise UserError(f"{error}; fine-tune it with epochs > 0") from error
    module, tokenizer = load_pretrained(path, data.problem, fresh_head=trained)
    notes = fit_to_rows_(str(path), module, tokenizer, config, data, trained=trained)
    return module, tokenizer, notes


def check_classes(where: str, config: PreTrainedConfig, data: TrainingData) -> None:
    """Checks that a checkpoint's outputs stand for the task's classes, in whatever order.

    Raises:
        UserError: they do not.
    """
    wanted = data.problem.config()
    if wanted:
        class_order(where, config, wanted)


def fit_to_rows_(
    where: str,
    module: PreTrainedModel,
    tokenizer: Processor,
    config: PreTrainedConfig,
    data: TrainingData,
    *,
    trained: bool,
) -> dict[str, Any]:
    """Makes a model say the task's classes in their order, and of each row what it says alone.

    Args:
        where: names the checkpoint in errors.
        module: changes in place; in eval mode, with the task's names in its config.
        tokenizer: changes in place.
        config: the checkpoint's own, with its own names.
        data: the rows, of which those for calibration are tried.
        trained: whether training follows: then outputs may stand for anything.

    Returns:
        What was changed, for the record; mostly nothing.

    Raises:
        UserError: the model does not go with the rows.
    """
    if head_of(module) == "language_model":
        return {}  # its windows are never padded, and its outputs are its own tokens
    notes: dict[str, Any] = {}
    if module.main_input_name == "input_ids":
        notes |= fit_padding_(where, module, tokenizer, data.calibration)
    batch = _first_rows(data.calibration, tokenizer)
    logits_of(where, module, batch)
    try:
        order, by_name = class_order(where, config, data.problem.config())
    except UserError:
        if not trained:
            raise
        return notes
    if not by_name and not trained:
        notes["classes"] = "the checkpoint names none: taken in the task's order"
        log.info("%s names no classes: its outputs are taken in the task's order", where)
    if list(order) != sorted(order):
        reorder_outputs_(where, module, order, batch)
        notes["class_order"] = list(order)
        log.info("%s has the task's classes in another order: outputs %s", where, list(order))
    return notes


def _first_rows(rows: Split, tokenizer: Processor) -> dict[str, Tensor]:
    """A batch of two."""
    encoded = rows.encode(tokenizer).remove_columns("length")
    return rows.collate(tokenizer, [encoded[row] for row in range(min(2, len(rows)))])
