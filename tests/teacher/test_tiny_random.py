from __future__ import annotations

from collections.abc import Callable

import pytest

from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, TrainingData
from tests.tiny import tiny_teacher


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_skeleton_has_the_models_shapes(
    architecture: str, teachers: Callable[[str], CompressedModel]
) -> None:
    made = teachers(architecture).module.state_dict()
    skeleton = tiny_teacher(architecture).skeleton("classifier").state_dict()
    assert {k: v.shape for k, v in skeleton.items()} == {k: v.shape for k, v in made.items()}
    assert {v.device.type for v in skeleton.values()} == {"meta"}


def test_vocabulary_is_the_same_every_time_and_knows_every_word(
    data: TrainingData, device: Cpu
) -> None:
    first, second = (tiny_teacher().load(data, device, seed).tokenizer for seed in (0, 1))
    assert first.get_vocab() == second.get_vocab()
    assert first.tokenize("a glad film") == ["a", "glad", "film"]
    assert first.tokenize("gladfilm") == ["glad", "##f", "##i", "##l", "##m"]
    assert first.unk_token not in first.tokenize(" ".join(data.train.columns[0]))  # type: ignore[attr-defined]
