"""Loading a checkpoint as the first model of a run, checked against the task's rows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.config.errors import UserError
from compress.core.problem import EMBEDDER
from compress.transformer.checkpoint_files import commit_of
from compress.transformer.class_order import class_order, reorder_outputs_
from compress.transformer.padding import fit_padding_, logits_of
from compress.transformer.pretrained import head_of, load_pretrained, read_config

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from compress.interfaces import Processor, TrainingData

log = logging.getLogger(__name__)


def read_checkpoint(
    path: Path, data: TrainingData, *, trained: bool
) -> tuple[PreTrainedModel, Processor, dict[str, Any]]:
    """A checkpoint with a head for the task, its tokenizer, and notes for the record.

    Args:
        path: a folder or a GGUF file; see `load_pretrained`.
        data: the task's rows; the calibration rows are run.
        trained: whether training follows: the head may then be for other classes, or missing.

    Raises:
        UserError: the checkpoint cannot be read, or does not match the rows.
    """
    config = read_config(path)
    if not trained:
        try:
            check_classes(str(path), config, data)
        except UserError as error:
            raise UserError(f"{error}; fine-tune it with epochs > 0") from error
    module, tokenizer = load_pretrained(path, data.problem, fresh_head=trained)
    notes = fit_to_rows_(str(path), module, tokenizer, config, data, trained=trained)
    commit = commit_of(path)
    return module, tokenizer, {**({"commit": commit} if commit else {}), **notes}


def check_classes(where: str, config: PreTrainedConfig, data: TrainingData) -> None:
    """Checks that a checkpoint's outputs are the task's classes, in any order.

    Raises:
        UserError: they are not.
    """
    expected = data.problem.config()
    if expected and data.problem.head != EMBEDDER:
        class_order(where, config, expected)


def fit_to_rows_(
    where: str,
    module: PreTrainedModel,
    tokenizer: Processor,
    config: PreTrainedConfig,
    data: TrainingData,
    *,
    trained: bool,
) -> dict[str, Any]:
    """Puts a model's outputs in the order of the task's classes and makes padding change no logits.

    Args:
        where: name of the checkpoint in error messages.
        module: modified in place; in eval mode, with the task's class names in its config.
        tokenizer: modified in place.
        config: the checkpoint's original config, with its own class names.
        data: the task's rows; the calibration rows are run.
        trained: whether training follows: the outputs may then be for other classes.

    Returns:
        What was changed, for the record; usually nothing.

    Raises:
        UserError: the model does not match the rows.
    """
    if head_of(module) == "language_model":
        return {}  # its windows are never padded, and its outputs are its own tokens
    notes: dict[str, Any] = {}
    if module.main_input_name == "input_ids":
        notes |= fit_padding_(where, module, tokenizer, data.calibration)
    rows = data.calibration
    encoded = rows.encode(tokenizer).remove_columns("length")
    batch = rows.collate(tokenizer, [encoded[row] for row in range(min(2, len(rows)))])
    logits_of(where, module, batch)
    if head_of(module) == EMBEDDER:
        return notes
    try:
        order, by_name = class_order(where, config, data.problem.config())
    except UserError:
        if not trained:
            raise
        return notes
    if not by_name and not trained:
        notes["classes"] = "not named in the checkpoint: assumed to be in the task's order"
        log.info("%s names no classes: its outputs are assumed to be in the task's order", where)
    if list(order) != sorted(order):
        reorder_outputs_(where, module, order, batch)
        notes["class_order"] = list(order)
        log.info("%s has the task's classes in another order: outputs %s", where, list(order))
    return notes
