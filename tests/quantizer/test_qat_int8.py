from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel
from compress.measure.score import predict_all
from compress.measure.sparsity import check_history
from compress.quantizer.qat_int8 import FakeQuantLinear, fake_quantized
from compress.serve.folder import read_manifest
from compress.store.artifact import load
from compress.store.cache import StageStore
from compress.transformer.blocks import every_linear, weight_matrix
from compress.transformer.stored_modules import LowRankLinear
from compress.transformer.surgery import plain_config
from compress.transformer.torch_model import TorchModel
from tests.configs import settings_of
from tests.pruner.made import Contexts, Teachers, pruner
from tests.quantizer.test_fake_quantization import relative_error
from tests.tiny import torch_export


def qat(*overrides: str) -> Any:
    """The yaml's settings with a rate that moves a tiny model."""
    fast = ("quantizer.training.learning_rate=0.01", "quantizer.training.batch_size=8")
    return settings_of("quantizer", "qat_int8", *fast, *overrides)


def test_inside_every_linear_rounds_and_outside_the_module_is_plain(teachers: Teachers) -> None:
    module = copy.deepcopy(teachers("gpt2").module)
    prefix = "transformer.h.0.mlp.c_fc"
    module.set_submodule(prefix, LowRankLinear(16, 3, 32, bias=True))
    linears, weights = dict(every_linear(module)), dict(module.named_parameters())
    assert {f"{prefix}.down", f"{prefix}.up", "score"} < set(linears)
    with fake_quantized(module, "int8"):
        inside = dict(module.named_parameters())
        assert all(isinstance(module.get_submodule(n), FakeQuantLinear) for n in linears)
    # By name and identity: masks are held and the optimizer sees each weight once.
    assert {n: id(p) for n, p in inside.items()} == {n: id(p) for n, p in weights.items()}
    assert {n: id(p) for n, p in every_linear(module)} == {n: id(p) for n, p in linears.items()}
    assert not any(part._forward_hooks for part in module.modules())


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama"])
def test_training_moves_the_weights_and_leaves_plain_modules(
    architecture: str, teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers(architecture)
    before = {n: w.clone() for n, w in teacher.module.state_dict().items()}
    made = qat("quantizer.training.patience=1").prepare(teacher, context(teacher))
    assert all(torch.equal(before[n], w) for n, w in teacher.module.state_dict().items())
    for name, linear in every_linear(made.module):
        assert not torch.equal(weight_matrix(linear), before[f"{name}.weight"]), name
        assert linear.weight.dtype == torch.float32
    kinds = [
        {n: type(part) for n, part in m.named_modules()} for m in (made.module, teacher.module)
    ]
    assert kinds[0] == kinds[1]
    hooks = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "parametrizations")
    assert not any(vars(part).get(name) for part in made.module.modules() for name in hooks)
    assert not any(part.training for part in made.module.modules())
    assert plain_config(made.module) is not None


def test_the_model_computes_in_float32_after_training(
    teacher: CompressedModel, context: Contexts
) -> None:
    """Accelerate's bfloat16 autocast is gone too, on processors that have it."""
    ctx = context(teacher)
    made = qat().prepare(teacher, ctx)
    rebuilt = type(made.module)(made.module.config).eval()
    rebuilt.load_state_dict(made.module.state_dict())
    models = [TorchModel(m, made.tokenizer, "cpu") for m in (made.module, rebuilt)]
    assert torch.equal(*[predict_all(m, ctx.data.validation, 4) for m in models])


@pytest.mark.parametrize(
    ("architecture", "embeddings"), [("bert", "none"), ("bert", "int4"), ("gpt2", "int8")]
)
def test_the_exported_model_computes_what_was_trained(
    architecture: str, embeddings: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    """The promise of QAT: what training saw is what the int8 artifact says."""
    teacher = teachers(architecture)
    ctx = context(teacher)
    format_ = qat("quantizer.training.epochs=3", f"quantizer.embeddings={embeddings}")
    made = format_.prepare(teacher, ctx)
    rows = ctx.data.validation
    torch_export(made, format_, tmp_path / "m")
    exported = predict_all(load(tmp_path / "m"), rows, 4)
    plain = predict_all(TorchModel(made.module, made.tokenizer, "cpu"), rows, 4)
    with fake_quantized(made.module, embeddings):
        trained = predict_all(TorchModel(made.module, made.tokenizer, "cpu"), rows, 4)
    # Float32 roundings may tip an activation by a step; rounding itself moves all by half of one.
    assert relative_error(trained, exported) < 0.05 * relative_error(plain, exported)


def test_pruned_weights_stay_zero(
    teacher: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    ctx = context(teacher)
    pruned = pruner("magnitude", "sparsity=0.5").prune(teacher, ctx)
    made = qat().prepare(pruned, ctx)
    check_history(made.history, made.module.named_parameters())
    expected = pruned.history[-1].expected_zeros
    assert len(expected) == 24
    for name in expected:
        one, other = (m.module.get_parameter(name) for m in (pruned, made))
        assert torch.equal(one == 0, other == 0)
        assert not torch.equal(one, other)
    torch_export(made, qat(), tmp_path / "m")
    check_history(read_manifest(tmp_path / "m").history, load(tmp_path / "m").weights())


def test_the_history_says_it_once(
    teacher: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    ctx, format_ = context(teacher), qat()
    store = StageStore(tmp_path / "stages", ctx.device, 0)
    for folder, outcome in (("first", "computed"), ("second", "cached")):
        made = store.model("quantizer", format_, {}, lambda: format_.prepare(teacher, ctx))
        assert store.records[-1].outcome == outcome
        torch_export(made, format_, tmp_path / folder)
        history = read_manifest(tmp_path / folder).history
        assert [step.stage for step in history] == ["teacher", "quantizer"]
        assert history[-1].settings == format_.describe()
        assert history[-1].notes["trained_linears"] == 26
        assert [point["step"] for point in history[-1].notes["curve"]] == [1, 2, 3]
    # Of another format, the step is another one.
    other = replace(format_, training=replace(format_.training, epochs=2.0))
    torch_export(made, other, tmp_path / "other")
    assert len(read_manifest(tmp_path / "other").history) == 3


def test_no_training_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"epochs must be > 0, got 0; .*quantizer=int8_dynamic"):
        settings_of("quantizer", "qat_int8", "quantizer.training.epochs=0")


def test_embeddings_that_are_not_there_are_refused(teachers: Teachers) -> None:
    with pytest.raises(ConfigError, match="needs a table of token embeddings"):
        qat("quantizer.embeddings=int8").check(teachers("vit").module)
