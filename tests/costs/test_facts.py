"""Counts by hand, and those of shapes against those of their skeletons."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.config.errors import ConfigError
from compress.costs.facts import code_bytes, facts_of
from compress.costs.family import Family
from compress.costs.space import Sizes
from compress.transformer.activations import activation_name
from tests.configs import settings_of
from tests.costs.made import run_of, space
from tests.tiny import tiny_teacher

AXES = {
    "layers": (1, 2, 3), "hidden": (None, 24), "heads": (None, 1), "neurons": (None, 40),
    "embedding": (None, 8), "activation": (None, "relu"), "vocabulary": (None, 300),
    "positions": (None, 128),
}  # fmt: skip


def test_counts_by_hand() -> None:
    """BERT: 16 wide, 32 neurons, 2 heads; 1000 tokens, 512 positions, 2 types; a pooler."""
    facts = dict(facts_of(tiny_teacher("bert", layers=3).skeleton("classifier")))
    assert facts == {
        "layers": 3,
        "projections": 3 * 16 * 16,
        "feed_forward": 3 * 16 * 32,
        "heads": 3 * 2,
        "stream": 3 * 16,
        "neurons of gelu": 3 * 32,
        "factors": 0,
        "factorized": 0,
        "tokens": 1000,
        "linear": 3 * (4 * 16 * 16 + 2 * 16 * 32) + 16 * 16 + 2 * 16,
        "linear_rows": 3 * (4 * 16 + 32 + 16) + 16 + 2,
        "table": (1000 + 512 + 2) * 16,
        "table_rows": 1000 + 512 + 2,
        # Biases as there are rows, and scales and shifts of two norms a layer and one outside.
        "rest": 3 * (4 * 16 + 32 + 16) + 16 + 2 + (3 * 2 + 1) * 2 * 16,
    }
    int4 = settings_of("quantizer", "rtn", "quantizer.embeddings=int8")
    assert code_bytes(facts, int4) == facts["linear"] / 2 + facts["table"]  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", ["distilbert", "roberta", "electra", "gpt2", "llama"])
def test_every_parameter_is_counted_once(architecture: str) -> None:
    module = tiny_teacher(architecture).skeleton("classifier")
    facts = facts_of(module)
    count = sum(parameter.numel() for parameter in module.parameters())
    assert facts["linear"] + facts["table"] + facts["rest"] == count
    assert facts["layers"] == 4
    assert facts[f"neurons of {activation_name(module)}"] == 4 * 32


@pytest.mark.parametrize(
    "sizes",
    [
        Sizes(1),
        Sizes(3, hidden=24, heads=1),
        Sizes(2, neurons=40, activation="relu", vocabulary=300),
        Sizes(3, 24, 1, 40, 8, "relu", 300, 128),
    ],
)
def test_the_counts_of_a_shape_are_those_of_its_skeleton(sizes: Sizes, tmp_path: Path) -> None:
    family = Family(run_of(tmp_path, "task.max_length=64"), space(**AXES))
    assert family.facts(sizes) == facts_of(family.skeleton(sizes))


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"layers": (1, 5)}, "costs.space.layers=5: the teacher has only 4 layers"),
        ({"hidden": (33,)}, "costs.space.hidden=33: the model has only 32 channels"),
        ({"heads": (None, 3)}, "costs.space.heads=3: the model has only 2 heads"),
        ({"vocabulary": (1001,)}, "costs.space.vocabulary must be at most the 1000 tokens"),
        ({"positions": (8,)}, "task.max_length must be at most the 8 tokens"),
    ],
)
def test_an_impossible_size_is_refused_before_anything_is_read(
    axes: dict[str, tuple[int | None, ...]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        Family(run_of(tmp_path), space(**axes))


def test_texts_that_are_timed_must_fit(tmp_path: Path) -> None:
    run = run_of(tmp_path, "task.max_length=16", "device.benchmark.shapes=[[1,33]]")
    with pytest.raises(ConfigError, match=r"has length 33, costs.space.positions=32 takes at most"):
        Family(run, space(positions=(None, 32)))


def test_sizes_are_shown_in_numbers(tmp_path: Path) -> None:
    family = Family(run_of(tmp_path), space(hidden=(None, 24)))
    assert list(family.named(Sizes(1)).values()) == [
        "1", "32", "2", "64", "–", "gelu", "1000", "512"
    ]  # fmt: skip
    assert family.named(Sizes(1, hidden=24))["hidden"] == "24"


def test_another_teacher_has_another_digest(tmp_path: Path) -> None:
    overrides = ([], ["teacher.layers=3"], ["teacher.heads=4"], ["task.seed=1"])
    digests = [Family(run_of(tmp_path, *each), space()).digest() for each in overrides]
    assert len(set(digests)) == 3
    assert digests[0] == digests[3]
