from __future__ import annotations

from collections.abc import Callable

from compress.interfaces import CompressedModel, StageContext
from compress.student.none import NoStudent


def test_none_hands_the_teacher_on(
    teacher: CompressedModel, context: Callable[[CompressedModel], StageContext]
) -> None:
    assert NoStudent().distill(context(teacher)) is teacher
