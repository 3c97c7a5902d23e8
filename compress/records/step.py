"""One entry of a model's history, in memory and in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One entry of a model's history: what one stage did to it.

    Attributes:
        stage: teacher, student, pruner or quantizer.
        settings: the stage's own `describe()`.
        expected_zeros: for each weight that the stage pruned, how many zeros it must hold from
            now on. The pipeline counts them after the stage and again in the reloaded artifact.
        expected_shapes: for each weight that the stage resized, its shape from now on; null if it
            is gone. Replaces what earlier steps expected of that weight.
        expected_patterns: for each weight that the stage pruned in an N:M pattern, N and M: as
            [out, in], it has at most N of every M consecutive weights of a row from now on. Ended
            by a later step that expects zeros or a shape of the weight and no pattern.
        notes: facts worth keeping, such as the layers that were kept.
    """

    stage: str
    settings: Mapping[str, Any]
    expected_zeros: Mapping[str, int] = field(default_factory=dict)
    expected_shapes: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)
    expected_patterns: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
