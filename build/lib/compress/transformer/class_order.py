"""What a checkpoint's outputs stand for, held against a task's classes by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from compress.config.errors import UserError
from compress.transformer.surgery import keep_rows_

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

SHOWN = 8  # names in a message
TOLERANCE = 1e-5  # of logits in another order, as a share of the largest: kernels sum in blocks


def class_order(
    where: str, config: PreTrainedConfig, wanted: Mapping[str, Any]
) -> tuple[tuple[int, ...], bool]:
    """Which output of a checkpoint is which class of the task.

    Names count as equal where they differ in nothing but case and the space around them, unless
    that makes two classes one. One output, a number, needs no name.

    Args:
        where: names the checkpoint in errors.
        config: the checkpoint's own.
        wanted: `Problem.config()` of a problem with a head.

    Returns:
        For each class of the task the index of its output; and whether that is known by name: the
        names that transformers gives by itself, LABEL_0 and so on, only say how many there are.

    Raises:
        UserError: the outputs stand for something else.
    """
    ours = tuple(wanted["id2label"].values())
    theirs = _own_names(where, config)
    if len(theirs) != len(ours):
        raise UserError(
            f"{where} has no head for {len(ours)} classes ({_listed(ours)}), but one for "
            f"{len(theirs)} ({_listed(theirs)})"
        )
    own, kind = config.problem_type, wanted["problem_type"]
    if own not in (None, kind):
        raise UserError(f"{where} is made for {own}, the task is a {kind}")
    if len(ours) == 1:
        return (0,), True
    for spelled in (str, _plain):
        names, places = [spelled(name) for name in ours], [spelled(name) for name in theirs]
        if len(set(names)) == len(names) and set(names) == set(places):
            return tuple(places.index(name) for name in names), True
    if theirs == tuple(f"LABEL_{index}" for index in range(len(theirs))):
        return tuple(range(len(ours))), False
    raise UserError(
        f"{where} has other classes than the task: {_listed(theirs)} instead of {_listed(ours)}"
    )


@torch.no_grad()
def reorder_outputs_(
    where: str, module: PreTrainedModel, order: Sequence[int], batch: Mapping[str, Tensor]
) -> None:
    """Puts the outputs of a classifier in another order: the rows of its last projection.

    Args:
        where: names the checkpoint in errors.
        module: changes in place; in eval mode.
        order: for each new output the index of the old one.
        batch: rows to hold the logits against each other on.

    Raises:
        UserError: the last projection alone does not give the logits.
    """
    used: list[nn.Module] = []

    def note(part: nn.Module, _: Any, made: Tensor) -> None:
        if made.shape[-1] == len(order):
            used.append(part)

    parts = [part for part in module.modules() if isinstance(part, nn.Linear | Conv1D)]
    hooks = [part.register_forward_hook(note) for part in parts]
    before = module(**batch).logits
    for hook in hooks:
        hook.remove()
    wanted = before[..., list(order)]
    if used:
        keep_rows_(used[-1], torch.tensor(list(order)))
    found = module(**batch).logits
    if not torch.allclose(found, wanted, rtol=0, atol=TOLERANCE * float(wanted.abs().max())):
        raise UserError(
            f"the outputs of {where} cannot be put in the order of the task's classes: "
            f"{type(module).__name__} makes its logits of more than one projection"
        )


def _own_names(where: str, config: PreTrainedConfig) -> tuple[str, ...]:
    """What a config calls its outputs, in their order."""
    named = config.id2label
    if sorted(named) != list(range(len(named))):
        raise UserError(f"{where}: id2label of config.json must number its names from 0")
    names = tuple(str(named[index]) for index in range(len(named)))
    numbers = config.label2id or {}
    if set(numbers) == set(names) and any(numbers[name] != i for i, name in enumerate(names)):
        raise UserError(f"{where}: id2label and label2id of config.json contradict each other")
    return names


def _plain(name: str) -> str:
    return name.strip().casefold()


def _listed(names: Sequence[str]) -> str:
    """Names in a message; the first few of many."""
    more = f", … {len(names)} in all" if len(names) > SHOWN else ""
    return ", ".join(name[:40] for name in names[:SHOWN]) + more
