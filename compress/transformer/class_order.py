"""Order of a checkpoint's classes, matched to the task's classes by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from compress.config.errors import UserError
from compress.transformer.surgery import keep_rows_

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

SHOWN = 8  # names in a message
TOLERANCE = 1e-5  # of reordered logits, as a share of the largest: kernels sum in blocks


def class_order(
    where: str, config: PreTrainedConfig, expected: Mapping[str, Any]
) -> tuple[tuple[int, ...], bool]:
    """The output of a checkpoint for each class of the task.

    Names match regardless of case and surrounding space, unless that makes two classes equal. A
    single output, as in regression, needs no name. `expected` is from `Problem.config()`.

    Returns:
        The index of the output of each class; and whether it is known by name, which the default
        names LABEL_0, LABEL_1, … of transformers are not.

    Raises:
        UserError: the outputs are for other classes.
    """
    ours = tuple(expected["id2label"].values())
    theirs = _own_names(where, config)
    if len(theirs) != len(ours):
        raise UserError(
            f"{where} has no head for {len(ours)} classes ({_listed(ours)}), but one for "
            f"{len(theirs)} ({_listed(theirs)})"
        )
    own, kind = config.problem_type, expected["problem_type"]
    if own not in (None, kind):
        raise UserError(f"{where} has problem_type {own}, the task is a {kind}")
    if len(ours) == 1:
        return (0,), True
    for normalize in (str, lambda name: name.strip().casefold()):
        names, outputs = [normalize(name) for name in ours], [normalize(name) for name in theirs]
        if len(set(names)) == len(names) and set(names) == set(outputs):
            return tuple(outputs.index(name) for name in names), True
    if theirs == tuple(f"LABEL_{index}" for index in range(len(theirs))):
        return tuple(range(len(ours))), False
    raise UserError(
        f"{where} has the classes {_listed(theirs)}, expected the task's: {_listed(ours)}"
    )


@torch.no_grad()
def reorder_outputs_(
    where: str, module: PreTrainedModel, order: Sequence[int], batch: Mapping[str, Tensor]
) -> None:
    """Reorders the outputs of a classifier by permuting the rows of its last projection.

    `order` has the index of the old output for each new one; the logits of `batch` before and
    after are compared.

    Raises:
        UserError: the logits are not the output of one projection.
    """
    used: list[nn.Module] = []

    def note(part: nn.Module, _: Any, output: Tensor) -> None:
        if output.shape[-1] == len(order):
            used.append(part)

    with ExitStack() as hooks:
        for part in module.modules():
            if isinstance(part, nn.Linear | Conv1D):
                hooks.enter_context(part.register_forward_hook(note))
        expected = module(**batch).logits[..., list(order)]
    if used:
        keep_rows_(used[-1], torch.tensor(list(order)))
    logits = module(**batch).logits
    if not torch.allclose(logits, expected, rtol=0, atol=TOLERANCE * float(expected.abs().max())):
        raise UserError(
            f"the outputs of {where} cannot be reordered to the task's classes: "
            f"{type(module).__name__} computes its logits with more than one projection"
        )


def _own_names(where: str, config: PreTrainedConfig) -> tuple[str, ...]:
    """The names of a config's outputs, in order."""
    named = config.id2label
    if sorted(named) != list(range(len(named))):
        raise UserError(f"{where}: id2label of config.json must number its names from 0")
    names = tuple(str(named[index]) for index in range(len(named)))
    numbers = config.label2id or {}
    if set(numbers) == set(names) and any(numbers[name] != i for i, name in enumerate(names)):
        raise UserError(f"{where}: id2label and label2id of config.json contradict each other")
    return names


def _listed(names: Sequence[str]) -> str:
    """The first `SHOWN` names, for a message."""
    more = f", … {len(names)} in all" if len(names) > SHOWN else ""
    return ", ".join(name[:40] for name in names[:SHOWN]) + more
