"""A finished run: its artifact, read from disk, held against plain transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.interfaces import InferenceModel
from compress.measure.reload import rounding_share
from compress.serve.folder import PLAIN_WEIGHTS
from compress.store.artifact import load
from tests.matrix.models import Model, Row, in_batches, one_by_one, read_plain, read_processor
from tests.matrix.stages import Stage

EQUAL = 1e-4  # of the largest logit, or of 1: float32 in another order of summation


@dataclass(frozen=True)
class Made:
    """A finished run.

    Attributes:
        model: what it began with.
        stage: what it did.
        artifact: the folder that it left.
        cache: the folder of its stages.
    """

    model: Model
    stage: Stage
    artifact: Path
    cache: Path

    @cached_property
    def loaded(self) -> InferenceModel:
        """The artifact, read from disk."""
        return load(self.artifact)

    @property
    def module(self) -> PreTrainedModel:
        """Its modules in torch."""
        module: PreTrainedModel = self.loaded.module  # type: ignore[attr-defined]
        return module

    @property
    def left(self) -> PreTrainedModel | None:
        """As plain transformers reads it; None where only we can."""
        if not (self.artifact / PLAIN_WEIGHTS).is_file():
            return None
        return read_plain(self.artifact, self.model.head)

    def stored(self, stage: str) -> Path:
        """What one of its stages left in the cache."""
        (folder,) = (path for path in (self.cache / stage).iterdir() if path.is_dir())
        return folder

    def reference(self, plain: PreTrainedModel, rows: Sequence[Row]) -> Tensor:
        """Logits of a plain model of the teacher's tokens."""
        return one_by_one(plain, self.model.processor, rows)


def same_as(
    made: Made,
    plain: PreTrainedModel,
    *,
    share: float = EQUAL,
    rounds: tuple[float, float] | None = None,
    role: str = "evaluation",
) -> None:
    """Holds the artifact's logits against a plain model's, row by row alone and in padded batches.

    Args:
        made: has the artifact.
        plain: of the teacher's tokens.
        share: by how much of the largest logit, or of 1, a logit may be off.
        rounds: where activations are rounded, by how much of their spread logits may be off on the
            whole, and how they must correlate at least.
        role: of the rows.

    Raises:
        ValueError: they are off.
    """
    rows = made.model.rows(role)
    expected = made.reference(plain, rows)
    processor = read_processor(made.artifact, made.model.sees)
    for size, words in ((1, "of single rows"), (4, "of padded batches")):
        found = in_batches(made.loaded.predict, processor, rows, size)
        if rounds is None:
            off = float((found - expected).abs().max()) / max(1.0, float(expected.abs().max()))
            if not off <= share:
                raise ValueError(f"logits {words} are off by {off:.2g} of the largest")
            continue
        off = rounding_share(expected, found)
        seen = float(torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1])
        if not (off <= rounds[0] and seen >= rounds[1]):
            raise ValueError(
                f"logits {words} are off by {off:.2g} of their spread and correlate by {seen:.3f}"
            )
