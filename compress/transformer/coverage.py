"""The share of a model's parameters that a pruner or quantizer changed, for the record."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from compress.interfaces import CompressedModel, Quantizer, Step


def coverage(sizes: Mapping[str, int], reached: Collection[str]) -> dict[str, Any]:
    """Notes for the history: the parameters, with their entries, and those that were changed."""
    total = sum(sizes.values())
    covered = sum(size for name, size in sizes.items() if name in reached)
    return {"covered_parameters": covered, "covered_fraction": covered / total if total else 0.0}


def with_quantizer(
    model: CompressedModel, quantizer: Quantizer, weights: Iterable[tuple[str, Tensor]]
) -> tuple[Step, ...]:
    """The history of a model with the coverage of its quantizer; unchanged if nothing is quantized.

    Quantized weights have another type on disk than in the model.
    """
    parameters = dict(model.module.named_parameters())
    reached = {
        name
        for name, weight in weights
        if name in parameters and weight.dtype is not parameters[name].dtype
    }
    last = model.history[-1]
    if not reached:
        return model.history
    notes = coverage({name: weight.numel() for name, weight in parameters.items()}, reached)
    # A model that was trained for its format has a step already.
    if last.settings == quantizer.describe():
        return (*model.history[:-1], replace(last, notes={**last.notes, **notes}))
    return (*model.history, Step("quantizer", quantizer.describe(), notes=notes))
