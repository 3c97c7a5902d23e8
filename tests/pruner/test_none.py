from __future__ import annotations

from collections.abc import Callable

from compress.interfaces import CompressedModel, StageContext
from compress.pruner.none import NoPruner


def test_none_hands_the_model_on(
    teacher: CompressedModel, context: Callable[[CompressedModel], StageContext]
) -> None:
    assert NoPruner().prune(teacher, context(teacher)) is teacher
