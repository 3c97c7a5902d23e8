"""Which of the teacher's layers a student starts from."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from compress.config.errors import ConfigError
from compress.transformer.dry_run import check_layers_drop
from compress.transformer.stacks import evenly_spaced, find_stack
from compress.transformer.surgery import keep_blocks_

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check_kept(where: str, kept: int | tuple[int, ...]) -> None:
    """Checks a number of layers, or a list of them.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(kept, int):
        if kept < 1:
            raise ConfigError(f"{where} must be at least 1 layer, got {kept}")
    elif not kept or list(kept) != sorted(set(kept)) or kept[0] < 0:
        raise ConfigError(f"{where} must list layers in ascending order, got {list(kept)}")


def shallow_skeleton(
    where: str, kept: int | tuple[int, ...], teacher: PreTrainedModel
) -> PreTrainedModel:
    """The teacher's skeleton with these layers alone; evenly spaced ones, if a number is given.

    Raises:
        ConfigError: the teacher has fewer layers, or not exactly one stack.
    """
    depth = find_stack(teacher).depth
    wanted = kept if isinstance(kept, int) else kept[-1] + 1
    if wanted > depth:
        asked = kept if isinstance(kept, int) else list(kept)
        raise ConfigError(f"{where}={asked}: the teacher has only {depth} layers")
    check_layers_drop(teacher, listed_layers(kept, depth), where)
    return shallow(teacher, kept)[0]


def shallow(
    teacher: PreTrainedModel, kept: int | tuple[int, ...]
) -> tuple[PreTrainedModel, tuple[int, ...]]:
    """A copy of the teacher with these layers alone, and their numbers."""
    student = copy.deepcopy(teacher)
    layers = listed_layers(kept, find_stack(student).depth)
    keep_blocks_(student, layers)
    return student, layers


def listed_layers(kept: int | tuple[int, ...], depth: int) -> tuple[int, ...]:
    """The layers; a number means as many from the first to the last of `depth`."""
    return evenly_spaced(kept, depth) if isinstance(kept, int) else kept
