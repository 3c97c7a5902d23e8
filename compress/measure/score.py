"""Predictions of a model on a split, and their score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from compress.core.problem import Problem, model_inputs
from compress.interfaces import InferenceModel, Split
from compress.records.schema import Score


def score(
    kept: Float[Tensor, "rows ..."], split: Split, batch_size: int, problem: Problem
) -> Score:
    """Scores what `predict_all` kept of a split's rows.

    `batch_size`, at which the logits were computed, is for the record.
    """
    found = problem.evaluate(kept, split.labels)
    return Score(
        metric=found.metric,
        value=found.value,
        low=found.low,
        high=found.high,
        samples=problem.samples(split.labels),
        batch_size=batch_size,
        split=split.name,
        others=dict(found.others),
    )


def predict_all(
    model: InferenceModel,
    split: Split,
    batch_size: int,
    keep: Callable[[Tensor, Mapping[str, Tensor]], Tensor] | None = None,
) -> Float[Tensor, "rows ..."]:
    """Logits of every row in the split's order, computed in batches of similar length.

    Of each batch's logits, what `keep` returns of them and of its inputs; all without it.
    """
    order, kept = [], []
    for rows, batch in _batches(model, split, batch_size):
        order += rows
        logits = model.predict(model_inputs(batch)).float().cpu()
        kept.append(logits if keep is None else keep(logits, batch))
    return _joined(kept)[torch.tensor(order).argsort()]


def _joined(parts: Sequence[Float[Tensor, "B ..."]]) -> Float[Tensor, "rows ..."]:
    """Batches as one tensor; where tokens are kept, shorter rows have zeros at their ends."""
    if parts[0].dim() < 3:
        return torch.cat(list(parts))
    width = max(part.shape[1] for part in parts)
    return torch.cat([functional.pad(each, (0, 0, 0, width - each.shape[1])) for each in parts])


def _batches(
    model: InferenceModel, split: Split, batch_size: int
) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """Row numbers and padded batches, sorted by length to minimize padding."""
    encoded = split.encode(model.tokenizer)
    lengths: list[int] = encoded["length"][:]
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    columns = encoded.remove_columns("length")
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield rows, split.batch(model.tokenizer, [columns[row] for row in rows])
