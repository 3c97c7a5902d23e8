from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
import torch

from compress.config.errors import UserError
from compress.interfaces import CompressedModel, StageContext
from compress.student.components.word_noise import WordNoise, noisy_words
from compress.task.components.text import TextSplit
from compress.training.distillation import teacher_logits
from tests.configs import settings_of
from tests.tiny import ImageSplit, make_split

ON = "+student/augmentation=word_noise"


def noise(**changed: object) -> WordNoise:
    return WordNoise(**{"copies": 1, "swap": 0.1, "deletion": 0.1, **changed})


def noisy(text: str, swap: float, deletion: float, seed: int = 0) -> list[str]:
    return noisy_words(text.split(), swap, deletion, torch.Generator().manual_seed(seed))


def test_the_command_line_adds_it() -> None:
    made = settings_of("student", "layers", ON, "student.augmentation.copies=3")
    assert made.augmentation == noise(copies=3)
    assert settings_of("student", "layers").augmentation is None


def test_swaps_keep_every_word() -> None:
    text = "a b c d e f g h i j"
    made = [noisy(text, 0.3, 0.0, seed) for seed in range(20)]
    assert all(sorted(words) == text.split() for words in made)
    moved = [sum(a != b for a, b in zip(words, text.split(), strict=True)) for words in made]
    assert max(moved) <= 6  # three swaps
    assert sum(moved) > 20


def test_one_swap_at_least() -> None:
    assert any(noisy("a b", 0.1, 0.0, seed) == ["b", "a"] for seed in range(20))


def test_deletions_keep_the_order_and_their_share() -> None:
    text = " ".join(f"{i:04d}" for i in range(4000))
    made = noisy(text, 0.0, 0.25)
    assert made == sorted(made)
    assert len(made) == pytest.approx(3000, abs=120)


def test_no_text_becomes_empty() -> None:
    assert noisy("alone", 0.5, 0.99) == ["alone"]
    assert all(noisy("two words", 0.0, 0.99, seed) for seed in range(20))


def test_rows_come_first_and_copies_keep_their_label(teacher: CompressedModel) -> None:
    rows = make_split(10)
    more = noise(copies=2).augment(rows, teacher, 0)
    assert more.columns[0][:10] == rows.columns[0]
    assert more.labels.tolist() == rows.labels.tolist() * 3
    assert more.columns[0][10:20] != more.columns[0][20:]
    same, other = (noise(copies=2).augment(rows, teacher, seed) for seed in (0, 1))
    assert more.digest == same.digest != other.digest
    assert rows.digest not in (more.digest, other.digest)
    lengths = more.encode(teacher.tokenizer)["length"][:]
    assert max(lengths) <= 32


def test_both_texts_of_a_pair_are_changed_each_in_itself(teacher: CompressedModel) -> None:
    words = [[f"{column}{i}" for i in range(30)] for column in "ab"]
    texts = {"text": [" ".join(words[0])], "second": [" ".join(words[1])]}
    rows = TextSplit("x", pd.DataFrame({**texts, "label": [0]}), 128)
    more = noise(copies=3).augment(rows, teacher, 0)
    for column, own in zip(more.columns, words, strict=True):
        assert len(column) == len(set(column)) == 4
        assert all(set(text.split()) <= set(own) for text in column)


def test_the_teacher_labels_the_new_rows_too(
    teacher: CompressedModel,
    context: Callable[[CompressedModel], StageContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ctx = context(teacher)
    seen: list[torch.Tensor] = []

    def spy(ctx: StageContext, folders: object) -> torch.Tensor:
        seen.append(teacher_logits(ctx))
        return seen[-1]

    monkeypatch.setattr("compress.training.distillation.teacher_logits", spy)
    settings_of("student", "layers", ON, "student.augmentation.copies=2").distill(ctx)
    assert len(seen[0]) == 3 * len(ctx.data.train)
    assert torch.allclose(seen[0][: len(ctx.data.train)], teacher_logits(ctx), atol=1e-5)


def test_images_are_refused_up_front(teachers: Callable[[str], CompressedModel]) -> None:
    with pytest.raises(UserError, match="ViTForImageClassification reads pixel_values"):
        settings_of("student", "layers", ON).check(teachers("vit").module)
    with pytest.raises(UserError, match="augments texts, got ImageSplit"):
        noise().augment(ImageSplit(4, "train"), teachers("vit"), 0)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"copies": 0}, "copies must be > 0, got 0"),
        ({"swap": 1.0}, r"swap must be in \[0, 1\), got 1"),
        ({"deletion": -0.1}, r"deletion must be in \[0, 1\), got -0.1"),
        ({"swap": 0.0, "deletion": 0.0}, "swap or deletion above 0, got 0 for both"),
    ],
)
def test_bad_settings_are_refused(changed: dict[str, object], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        noise(**changed)
