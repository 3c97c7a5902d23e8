"""The super-net that a search has for a teacher, by teacher."""

from __future__ import annotations

import pytest

from compress.build import build_run
from compress.config.errors import ConfigError
from compress.frontier.sizes import proposed_sizes
from tests.configs import compose_config

SEARCH = "+search=frontier"
BERT = ("teacher=tiny_random", "task.max_length=32")
NUMBERS = ("task=csv", "task.path=rows.csv", "task.problem=regression")


def found(*words: str) -> dict[str, str]:
    """The proposed sizes by key."""
    made = proposed_sizes((SEARCH, *words), lambda each: compose_config(*each))
    return dict(word.removeprefix("student.").split("=", 1) for word in made)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # 4 layers, 64 neurons, 1,000 tokens: fewer than are kept of a large vocabulary.
        (BERT, {
            "layers": "4", "choices.depths": "[2,3]", "choices.neurons": "[32]",
            "shape.activation": "relu", "shape.positions": "32",
            "sub.depth": "2,3,4", "sub.neurons": "32,64",
        }),
        ((*BERT, "teacher.layers=6"), {
            "layers": "4", "choices.depths": "[2,3]", "choices.neurons": "[32]",
            "shape.activation": "relu", "shape.positions": "32",
            "sub.depth": "2,3,4", "sub.neurons": "32,64",
        }),
        ((*BERT, "teacher.layers=2"), {
            "layers": "2", "choices.depths": "[1]", "choices.neurons": "[32]",
            "shape.activation": "relu", "shape.positions": "32",
            "sub.depth": "1,2", "sub.neurons": "32,64",
        }),
        ((*BERT, "teacher.layers=1"), {
            "layers": "1", "choices.depths": "[]", "choices.neurons": "[32]",
            "shape.activation": "relu", "shape.positions": "32", "sub.neurons": "32,64",
        }),
        # What is named stays, and sub-nets follow it.
        ((*BERT, "student.layers=3", "student.choices.neurons=[16,32]"), {
            "choices.depths": "[2]", "shape.activation": "relu", "shape.positions": "32",
            "sub.depth": "2,3", "sub.neurons": "16,32,64",
        }),
        ((*BERT, "student.layers=[0,2,3]", "student.shape.activation=null"), {
            "choices.depths": "[2]", "choices.neurons": "[32]", "shape.positions": "32",
            "sub.depth": "2,3", "sub.neurons": "32,64",
        }),
        ((*BERT, "student.sub.depth=2,3"), {
            "layers": "4", "choices.depths": "[2,3]", "choices.neurons": "[32]",
            "shape.activation": "relu", "shape.positions": "32",
        }),
        # Images have neither tokens nor positions to spare.
        (("teacher=vit_scratch", "task=digits"), {
            "layers": "4", "choices.depths": "[2,3]", "choices.neurons": "[192]",
            "shape.activation": "relu", "sub.depth": "2,3,4", "sub.neurons": "192,384",
            "quantizer.embeddings": "none",
        }),
        # Half of what is named, and positions for what is timed.
        ((*BERT, "student.shape.neurons=48", "device.benchmark.shapes=[[1,8],[1,40]]"), {
            "layers": "4", "choices.depths": "[2,3]", "choices.neurons": "[24]",
            "shape.activation": "relu", "shape.positions": "40",
            "sub.depth": "2,3,4", "sub.neurons": "24,48",
        }),
        # Logits that are no classes' have no squared difference to learn from.
        ((*BERT, *NUMBERS), {
            "layers": "4", "choices.depths": "[2,3]", "choices.neurons": "[32]",
            "shape.activation": "relu", "shape.positions": "32",
            "supernet.logit_mse": "0.0", "distillation.logit_mse": "0.0",
            "sub.depth": "2,3,4", "sub.neurons": "32,64",
        }),
    ],
)  # fmt: skip
def test_sizes_follow_the_teacher(words: tuple[str, ...], expected: dict[str, str]) -> None:
    assert found(*words) == expected


@pytest.mark.parametrize("name", ["distilbert", "roberta", "electra", "mpnet", "gpt2", "llama"])
def test_every_architecture_has_a_super_net(name: str) -> None:
    words = (SEARCH, *BERT, f"teacher.architecture={name}", "quantizer=none", "device=cpu")
    sizes = proposed_sizes(words, lambda each: compose_config(*each))
    settings = [word for word in sizes if not word.startswith("student.sub.")]
    build_run(compose_config(*words, *settings))


def test_other_sub_nets_for_each_super_net_are_named() -> None:
    with pytest.raises(ConfigError, match="with several values of student"):
        found(*BERT, "student.layers=3,4")
    assert "sub.depth" not in found(*BERT, "student.layers=3,4", "student.sub.depth=2,3")
