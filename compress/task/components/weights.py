"""Weights of classes or labels in the hard-label loss, as configured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from compress.config.errors import ConfigError, UserError
from compress.task.components.delimited import listed

BALANCED = "balanced"
LISTED = 12  # weights listed in the record
SMALLEST, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)

Weights: TypeAlias = str | tuple[float, ...] | dict[str | int, float] | None


def check_weights(where: str, weights: Weights) -> None:
    """Raises a ConfigError that names `where` if no classes could have such weights."""
    if weights is None or weights == BALANCED:
        return
    if isinstance(weights, str):
        raise ConfigError(
            f"{where} must be {BALANCED}, a list of numbers, numbers by class or null, got "
            f"{weights!r}"
        )
    for weight in weights.values() if isinstance(weights, dict) else weights:
        if not SMALLEST <= weight <= LARGEST:
            raise ConfigError(f"{where} must each be > 0 and finite in float32, got {weight}")


def class_weights(
    weights: Weights, names: Sequence[str], balanced: Sequence[float]
) -> tuple[float, ...] | None:
    """Weights in the order of the classes or labels; None for equal weights.

    Args:
        weights: as configured.
        names: of the classes or labels.
        balanced: what they weigh if their rows are to count the same.

    Raises:
        UserError: weights are of other classes.
    """
    if weights is None:
        return None
    if isinstance(weights, str):
        return tuple(float(weight) for weight in balanced)
    if isinstance(weights, tuple):
        if len(weights) != len(names):
            raise UserError(
                f"task.class_weights has {len(weights)} numbers, expected one for each of "
                f"{len(names)}: {listed(names)}"
            )
        return weights
    given = {str(name): weight for name, weight in weights.items()}
    if set(given) != set(names):
        raise UserError(
            f"task.class_weights names {listed(given) or 'nothing'}; expected a number for each of "
            f"{listed(names)}"
        )
    return tuple(given[name] for name in names)


def weights_words(weights: Weights, names: Sequence[str], found: Sequence[float] | None) -> str:
    """Describes the weights that were found for the record; "" for equal weights."""
    if found is None:
        return ""
    told = [f"{name} {weight:.4g}" for name, weight in zip(names, found, strict=True)]
    more = f" and {len(told) - LISTED} more" if len(told) > LISTED else ""
    how = f"{BALANCED} on the train rows" if weights == BALANCED else "as given"
    return f"; weighted in the loss, {how}: {', '.join(told[:LISTED])}{more}"
