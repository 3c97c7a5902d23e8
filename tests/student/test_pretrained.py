from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from compress.config.errors import UserError
from compress.interfaces import CompressedModel, StageContext
from compress.student.pretrained import PretrainedStudent
from tests.configs import settings_of


def pretrained(path: object, *overrides: str) -> PretrainedStudent:
    return settings_of("student", "pretrained", f"student.path={path}", *overrides)


def test_another_architecture_with_another_tokenizer_learns(
    teachers: Callable[[str], CompressedModel],
    context: Callable[[CompressedModel], StageContext],
    tmp_path: Path,
) -> None:
    teacher, other = teachers("bert"), teachers("distilbert")
    other.module.save_pretrained(tmp_path)
    other.tokenizer.save_pretrained(tmp_path)
    student = pretrained(tmp_path, "student.distillation.epochs=1").distill(context(teacher))
    assert type(student.module) is type(other.module)
    assert [step.stage for step in student.history] == ["teacher", "student"]


def test_digest_follows_the_files_and_not_the_path(
    teacher: CompressedModel, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        teacher.module.save_pretrained(tmp_path / name)
    first, same = pretrained(tmp_path / "a"), pretrained(tmp_path / "b")
    assert first.content_digest() == same.content_digest()
    (tmp_path / "b" / "config.json").write_text("{}")
    assert pretrained(tmp_path / "b").content_digest() != first.content_digest()


def test_the_same_tokenizer_lets_the_inside_be_matched(
    teachers: Callable[[str], CompressedModel],
    context: Callable[[CompressedModel], StageContext],
    tmp_path: Path,
) -> None:
    """A DistilBERT under a BERT: one makes token types, the other takes none."""
    teacher, other = teachers("distilbert"), teachers("bert")
    other.module.save_pretrained(tmp_path)
    other.tokenizer.save_pretrained(tmp_path)
    student = pretrained(tmp_path, "student.matching.method=multi_level")
    student.check(teacher.module)
    made = student.distill(context(teacher))
    assert made.history[-1].notes["layer_map"] == [0, 1, 2, 3]
    assert set(made.history[-1].notes) == {"layer_map", "curve"}


def test_another_tokenizer_of_the_same_size_is_refused_before_training(
    teachers: Callable[[str], CompressedModel],
    context: Callable[[CompressedModel], StageContext],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher = teachers("bert")
    teacher.module.save_pretrained(tmp_path)
    tokenizer = copy.deepcopy(teacher.tokenizer)
    tokenizer.add_tokens(["dull film"])
    tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr("compress.student.components.base.train_", None)
    student = pretrained(tmp_path, "student.matching.method=hidden")
    with pytest.raises(UserError, match="the teacher's tokenizer, got another one"):
        student.distill(context(teacher))
