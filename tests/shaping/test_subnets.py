"""Sub-nets on the parameters of their super-net: what they compute, and what they change."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel, StageContext
from compress.shaping.order import sort_by_importance_
from compress.shaping.subnets import Addresses, Subnets
from compress.shaping.subshape import cut_subnet_
from compress.store.artifact import load
from tests.configs import settings_of
from tests.pruner.made import Contexts, Teachers, skeleton
from tests.shaping.made import largest_difference, noisy, shape, sub
from tests.slow import slow_but
from tests.tiny import torch_export

ARCHITECTURES = (
    *("bert", "roberta", "distilbert", "electra", "mpnet", "gpt2", "opt", "gpt_neox", "llama"),
    "vit",
)
SIZES: dict[str, dict[str, int]] = {
    "depth": {"depth": 2},
    "hidden": {"hidden": 12},
    "heads": {"heads": 1},
    "neurons": {"neurons": 20},
}
SIZES["all"] = {axis: size for sizes in SIZES.values() for axis, size in sizes.items()}
REFUSED = {(axis, "mpnet"): "heads of MPNet cannot be cut" for axis in ("heads", "all")}
PAIRS = [(axis, name) for axis in SIZES for name in ARCHITECTURES]
QUICK = [pair for pair in PAIRS if pair[0] == "all" or pair[1] == "bert" or pair in REFUSED]


def sizes_on(axis: str, architecture: str) -> dict[str, int]:
    """Two of the tiny Llama's four queries share a key."""
    sizes = SIZES[axis]
    return {**sizes, "heads": 2} if "heads" in sizes and architecture == "llama" else sizes


def batch(model: CompressedModel, ctx: StageContext) -> dict[str, Tensor]:
    """The validation rows."""
    rows = ctx.data.validation
    encoded = rows.encode(model.tokenizer).remove_columns("length")
    return rows.collate(model.tokenizer, list(encoded))


@pytest.mark.parametrize(("axis", "architecture"), slow_but(QUICK, PAIRS))
def test_a_sub_net_computes_what_the_model_does_that_is_cut_and_read_back(
    axis: str, architecture: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    model = noisy(teachers(architecture))
    ctx, wanted = context(model), sub(**sizes_on(axis, architecture))
    if (axis, architecture) in REFUSED:
        with pytest.raises(ConfigError, match=REFUSED[axis, architecture]) as refusal:
            cut_subnet_(skeleton(model), wanted, "student.choices")
        assert str(refusal.value).startswith("student.choices.heads=1: ")
        return
    inputs = batch(model, ctx)
    with torch.no_grad():
        whole = model.module(**inputs).logits
        ours = Subnets(model.module).run(wanted, inputs).logits
    cut = copy.deepcopy(model.module)
    cut_subnet_(cut, wanted, "student.sub")
    written = CompressedModel(cut, model.tokenizer, model.history)
    torch_export(written, settings_of("quantizer", "none"), tmp_path / "m")  # type: ignore[arg-type]
    assert largest_difference(load(tmp_path / "m").predict(inputs), ours) < 1e-6
    assert largest_difference(whole, ours) > 1e-3


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama"])
def test_a_gradient_is_that_of_the_model_that_is_cut(
    architecture: str, teachers: Teachers, context: Contexts
) -> None:
    """Of each parameter its part; outside of it there is none."""
    model = noisy(teachers(architecture))
    inputs = batch(model, context(model))
    wanted = sub(**sizes_on("all", architecture))
    Subnets(model.module).run(wanted, inputs).logits.square().sum().backward()
    cut = copy.deepcopy(model.module)
    cut_subnet_(cut, wanted, "student.sub")
    cut.zero_grad(set_to_none=True)
    cut(**inputs).logits.square().sum().backward()
    addresses = Addresses(model.module)
    traced = addresses.written()
    cut_subnet_(traced, wanted, "student.sub")
    inside = {}
    for name, parameter in traced.named_parameters():
        part = addresses.part(parameter)
        inside[part.name] = part
        ours, theirs = model.module.get_parameter(part.name).grad, cut.get_parameter(name).grad
        if theirs is None:
            assert ours is None
            continue
        assert ours is not None
        torch.testing.assert_close(part.of(ours), theirs, rtol=1e-4, atol=1e-5)
        # Nothing but the part has one: its squares are all of them.
        torch.testing.assert_close(ours.square().sum(), part.of(ours).square().sum())
    outside = [(n, p) for n, p in model.module.named_parameters() if n not in inside]
    assert outside
    assert all(parameter.grad is None for _, parameter in outside)


def test_parts_are_views_but_for_fused_projections(teachers: Teachers) -> None:
    views = {}
    for architecture in ("bert", "gpt2"):
        module = teachers(architecture).module
        addresses = Addresses(module)
        traced = addresses.written()
        cut_subnet_(traced, sub(**SIZES["all"]), "student.sub")
        parts = [addresses.part(parameter) for parameter in traced.parameters()]
        copied = [p.name for p in parts if any(not isinstance(t, slice) for t in p.taken)]
        views[architecture] = {name.rpartition(".h.")[2].partition(".")[2] for name in copied}
        for part in parts:
            whole = module.get_parameter(part.name)
            if part.name not in copied:
                assert (
                    part.of(whole).untyped_storage().data_ptr()
                    == whole.untyped_storage().data_ptr()
                )
    assert views == {"bert": set(), "gpt2": {"attn.c_attn.weight", "attn.c_attn.bias"}}


def test_a_sub_net_follows_the_super_net(teachers: Teachers, context: Contexts) -> None:
    """Its weights, which it has no others of, and whether it trains."""
    model = noisy(teachers("bert"))
    inputs, subnets = batch(model, context(model)), Subnets(model.module)
    with torch.no_grad():
        before = subnets.run(sub(depth=2), inputs).logits
        model.module.bert.embeddings.word_embeddings.weight.mul_(-1)
        after = subnets.run(sub(depth=2), inputs).logits
        assert largest_difference(before, after) > 1e-3
        model.module.train()
        drawn = [subnets.run(sub(depth=2), inputs).logits for _ in range(2)]
        assert largest_difference(*drawn) > 1e-6
        model.module.eval()
        assert torch.equal(after, subnets.run(sub(depth=2), inputs).logits)


@pytest.mark.parametrize("hidden", [16, 12])
def test_a_table_that_is_tied_learns_from_both_its_readers(hidden: int) -> None:
    config = GPT2Config(
        vocab_size=50,
        n_positions=16,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    module = GPT2LMHeadModel(config).eval()
    tokens = {"input_ids": torch.arange(10)[None]}
    cut = copy.deepcopy(module)
    cut_subnet_(cut, sub(hidden=hidden), "student.sub")
    ours, theirs = Subnets(module).run(sub(hidden=hidden), tokens).logits, cut(**tokens).logits
    assert torch.equal(ours, theirs)
    for logits in (ours, theirs):
        logits.square().sum().backward()
    grads = {id(p): p.grad for p in (cut.transformer.wte.weight, cut.lm_head.weight)}
    both = torch.stack([grad for grad in grads.values() if grad is not None]).sum(0)
    whole = module.transformer.wte.weight.grad
    assert whole is not None
    torch.testing.assert_close(whole[:, :hidden], both)


def test_a_factorized_table_is_narrowed_behind_its_projection(
    teachers: Teachers, context: Contexts
) -> None:
    model = noisy(teachers("bert"))
    ctx, module = context(model), copy.deepcopy(model.module)
    shape(embedding=6).apply_(module, model.tokenizer, ctx, "student.shape")
    inputs = batch(model, ctx)
    cut: Any = copy.deepcopy(module)
    cut_subnet_(cut, sub(hidden=12), "student.sub")
    assert cut.bert.embeddings.word_embeddings.table.weight.shape == (1000, 6)
    with torch.no_grad():
        ours, theirs = Subnets(module).run(sub(hidden=12), inputs), cut(**inputs)
    assert largest_difference(ours.logits, theirs.logits) < 1e-6


def test_important_parts_come_first_along_chosen_axes_only(
    teachers: Teachers, context: Contexts
) -> None:
    model = noisy(teachers("mpnet"))  # whose heads cannot be sorted
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    ctx = context(model)
    sort_by_importance_(model.module, model.tokenizer, ctx, "l1", ("depth", "neurons"))
    moved = {n for n, v in model.module.state_dict().items() if not torch.equal(before[n], v)}
    assert moved
    assert all("intermediate" in name or ".output.dense.weight" in name for name in moved)
