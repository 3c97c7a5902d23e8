"""What a folder would not give back is refused before there is any weight."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from compress.config.errors import ConfigError, UserError
from compress.transformer.configs import reread
from compress.transformer.dry_run import any_batch, check_layers_drop, check_runs, weightless
from compress.transformer.rebuilding import check_rebuilds
from compress.transformer.surgery import keep_blocks_
from tests.structures import EVERY, structure
from tests.transformer.test_stacks import SEVERAL

# What dropping the first layer would leave, and the words that say why not. All other structures
# with one stack of layers can lose any.
FIRST_STAYS = {
    "modernbert": r"model\.layers\.0\.attn_norm\.weight would be absent, expected \(16,\)",
    "deberta_v2": "changes the outputs of its layer 0, so layers 0 to 0 must stay",
    "gpt2_scaled": r"transformer\.h\.0\.attn\.scaling would be 0\.5, expected 0\.25",
    "squeezebert": "changes the outputs of its layer 1, so layers 0 to 1 must stay",
}


@pytest.mark.parametrize("name", EVERY)
def test_every_model_runs_on_zeros_and_is_built_again_as_it_is(name: str) -> None:
    module = structure(name, "meta")
    before = module.config.to_dict()
    devices = [weight.device for weight in module.parameters()]
    check_runs(module, "the teacher")
    check_rebuilds(module, "the teacher")
    assert module.config.to_dict() == before
    assert [weight.device for weight in module.parameters()] == devices


@pytest.mark.parametrize("dropped", ["first", "last"])
@pytest.mark.parametrize("name", [name for name in EVERY if name not in SEVERAL])
def test_the_first_or_last_layer_goes_or_has_a_reason_to_stay(name: str, dropped: str) -> None:
    module = structure(name, "meta")
    depth = module.config.num_hidden_layers
    kept = range(1, depth) if dropped == "first" else range(depth - 1)

    def drop() -> None:
        check_layers_drop(module, kept, "student.keep")
        keep_blocks_(module, kept)
        check_runs(module, "the student")
        check_rebuilds(module, "the student")

    if dropped == "first" and name in FIRST_STAYS:
        with pytest.raises(ConfigError, match=FIRST_STAYS[name]):
            drop()
        return
    drop()
    assert module.config.num_hidden_layers == depth - 1
    assert reread(module.config).num_hidden_layers == depth - 1


@pytest.mark.parametrize("name", SEVERAL)
def test_layers_of_one_of_several_stacks_do_not_go(name: str) -> None:
    with pytest.raises(ConfigError, match="expected exactly 1"):
        check_layers_drop(structure(name, "meta"), [0], "student.keep")


def test_lists_as_long_as_the_layers_follow_them() -> None:
    module = structure("longformer", "meta")
    keep_blocks_(module, [0, 2])
    assert module.config.attention_window == [4, 8]
    module = structure("gemma2", "meta")
    types = module.config.layer_types
    keep_blocks_(module, [1, 2])
    assert module.config.layer_types == types[1:]


def test_whatever_differs_is_named() -> None:
    def changed(change: str) -> nn.Module:
        module = structure("bert", "meta")
        layer = module.bert.encoder.layer[1]
        if change == "weight":
            layer.extra = nn.Linear(2, 2, device="meta")
        elif change == "class":
            layer.output.LayerNorm = nn.RMSNorm(16, device="meta")
        elif change == "attribute":
            layer.attention.self.scaling = 0.25
        return module

    reasons = {
        "weight": r"layer\.1\.extra\.bias would be absent, expected \(2,\)",
        "class": r"layer\.1\.output\.LayerNorm\.bias would be \(16,\), expected absent",
        "attribute": r"layer\.1\.attention\.self\.scaling would be 0\.5, expected 0\.25",
    }
    check_rebuilds(changed(""), "X")
    for change, reason in reasons.items():
        with pytest.raises(ConfigError, match=rf"^X: BertFor.* cannot be built again .*{reason}"):
            check_rebuilds(changed(change), "X")


def test_a_model_that_fails_is_refused_with_its_own_words() -> None:
    module = structure("nystromformer", "meta", num_landmarks=8)
    with pytest.raises(UserError, match=r"the teacher cannot run: Nystrom.* fails on .*is invalid"):
        check_runs(module, "the teacher")
    with pytest.raises(UserError, match=r"quantizer=fp16 cannot run: FNet.*: Unsupported dtype"):
        check_runs(structure("fnet", "meta"), "quantizer=fp16", torch.float16)
    with pytest.raises(UserError, match=r"cannot run: Deberta.*BFloat16 without overflow"):
        check_runs(structure("deberta", "meta"), "its training", autocast=torch.bfloat16)


def test_weights_of_zeros_take_no_memory() -> None:
    module = structure("mixtral", "meta", hidden_size=128, intermediate_size=4096)
    made = weightless(module)
    assert all(not weight.any() for weight in made.parameters())
    held = {w.untyped_storage().data_ptr(): w.untyped_storage().nbytes() for w in made.parameters()}
    assert sum(held.values()) < sum(weight.nbytes for weight in module.parameters()) / 3
    assert any_batch(made)["input_ids"].tolist() == [[0, 0, 0, 0, 0, 0, 2]]


def test_a_copy_is_made() -> None:
    module = structure("bert")
    before = copy.deepcopy(module.state_dict())
    weightless(module)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
