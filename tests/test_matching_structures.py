"""What is inside two models is compared where their layers match one by one, or it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from compress.config.errors import ConfigError, UserError
from compress.training.matching import Matching
from compress.transformer.surgery import keep_blocks_
from tests.structures import EVERY, structure
from tests.transformer.test_stacks import SEVERAL

# By method, what cannot be matched although a model has one stack of layers, and why.
ONE_LAYER = r"needs layers that run once each, that of Albert\w+ runs \d times"
UNEQUAL = r"cannot compare the layers of \w+ and \w+: "
HIDDEN = {
    "albert": ONE_LAYER,
    "squeezebert": UNEQUAL,  # its layers are not called as modules
    "xlnet": UNEQUAL,  # it has tokens before rows
}
KNOWN = ("bert", "roberta", "distilbert", "big_bird", "roformer", "gpt_neox", "opt", "llama",
         "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "vit", "beit", "dinov2")  # fmt: skip


def check(name: str, **settings: Any) -> None:
    """Matches a model with one of its first two layers, on skeletons."""
    teacher, student = structure(name, "meta"), structure(name, "meta")
    if name not in SEVERAL:
        keep_blocks_(student, [0, 1])
    chosen = {
        "layer_map": "even", "hidden_weight": 1.0, "attention": "maps", "attention_weight": 1.0,
        "relation_heads": None, "epochs": 0, "learning_rate": None, **settings,
    }  # fmt: skip
    Matching(**chosen).check(teacher, student)


@pytest.mark.parametrize("name", EVERY)
def test_hidden_states_are_matched_or_refused(name: str) -> None:
    reason = r"stacks of layers .*, expected exactly 1" if name in SEVERAL else HIDDEN.get(name)
    if reason is None:
        check(name, method="hidden")
        return
    with pytest.raises(ConfigError, match=reason):
        check(name, method="hidden")


@pytest.mark.parametrize("attention", ["maps", "relation"])
@pytest.mark.parametrize("name", EVERY)
def test_attention_is_matched_where_projections_are_known(name: str, attention: str) -> None:
    if (name, attention) == ("big_bird", "maps"):  # it hands none out
        with pytest.raises(ConfigError, match=UNEQUAL):
            check(name, method="attention", attention=attention)
    elif name in KNOWN or name.startswith("gpt2"):
        check(name, method="attention", attention=attention)
    else:
        with pytest.raises(UserError, match=r"expected exactly 1|no known layout|run once each"):
            check(name, method="attention", attention=attention)
