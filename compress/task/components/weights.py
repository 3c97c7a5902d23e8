"""Weights of classes or labels in the hard-label loss, as configured."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

import numpy as np

from compress.config.errors import ConfigError, UserError
from compress.task.components.delimited import listed

BALANCED = "balanced"
LISTED = 12  # weights listed in the record
SMALLEST, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)

Weights: TypeAlias = str | tuple[float, ...] | dict[str | int, float] | None


def check_weights(where: str, weights: Weights) -> None:
    """Checks weights as far as possible without the class names.

    Args:
        where: names the setting in errors.
        weights: "balanced", a number for each class in their order, or numbers by class.

    Raises:
        ConfigError: they cannot be weights.
    """
    if isinstance(weights, str) and weights != BALANCED:
        raise ConfigError(
            f"{where} must be {BALANCED}, a list of numbers, numbers by class or null, got "
            f"{weights!r}"
        )
    for weight in _numbers(weights):
        if not SMALLEST <= weight <= LARGEST:
            raise ConfigError(f"{where} must each be > 0 and finite in float32, got {weight}")


def class_weights(
    weights: Weights, names: Sequence[str], balanced: Sequence[float]
) -> tuple[float, ...] | None:
    """Weights in the order of the classes or labels; None for equal weights.

    Args:
        weights: what was asked for.
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
                f"{len(names)}: {_listed(names)}"
            )
        return weights
    given = {str(name): weight for name, weight in weights.items()}
    if set(given) != set(names):
        raise UserError(
            f"task.class_weights names {_listed(given)}; expected a number for each of "
            f"{_listed(names)}"
        )
    return tuple(given[name] for name in names)


def weights_words(weights: Weights, names: Sequence[str], found: Sequence[float] | None) -> str:
    """Describes the weights for the record; "" for equal weights.

    Args:
        weights: what was asked for.
        names: of the classes or labels.
        found: theirs.
    """
    if found is None:
        return ""
    told = [f"{name} {weight:.4g}" for name, weight in zip(names, found, strict=True)]
    more = f" and {len(told) - LISTED} more" if len(told) > LISTED else ""
    how = f"{BALANCED} on the train rows" if weights == BALANCED else "as given"
    return f"; weighted in the loss, {how}: {', '.join(told[:LISTED])}{more}"


def _numbers(weights: Weights) -> Collection[float]:
    if isinstance(weights, dict):
        return weights.values()
    return weights if isinstance(weights, tuple) else ()


def _listed(names: Collection[str]) -> str:
    return listed(names) or "nothing"
