from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch._inductor.exc import InvalidCxxCompiler

from compress.build import build_run
from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel, TrainingData
from compress.quantizer.none import NoQuantizer
from compress.runtime.torch import TorchRuntime
from compress.serve.folder import read_spec
from compress.store.artifact import load
from tests.configs import compose_config
from tests.runtime.openvino_models import Contexts
from tests.tiny import tiny_teacher

COMPILED = ("teacher=tiny_random", "device.runtime.compile=true")


@pytest.mark.parametrize("compile_", [False, True])
def test_what_is_written_says_whether_to_compile(
    compile_: bool,
    teacher: CompressedModel,
    context: Contexts,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    asked: list[dict[str, Any]] = []

    def compiled(module: Any, **options: Any) -> Any:
        asked.append(options)
        return module

    monkeypatch.setattr("torch.compile", compiled)
    runtime = TorchRuntime(compile=compile_)
    exported = runtime.export(teacher, NoQuantizer(), tmp_path, context(teacher))
    assert asked == [], "what others are compared with is eager"
    reloaded = load(tmp_path)
    assert asked == ([{"dynamic": True}] if compile_ else [])
    assert read_spec(tmp_path).options == {"compile": compile_}
    batch = {"input_ids": torch.tensor([[2, 8, 3]])}
    difference = reloaded.predict(batch) - exported.reference.predict(batch)
    assert difference.abs().max() < exported.tolerance


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_logits_at_every_shape(
    data: TrainingData, context: Contexts, tmp_path: Path, teacher: CompressedModel
) -> None:
    ctx = context(teacher)
    model = tiny_teacher("bert", 1).load(data, ctx.device, 0)
    exported = TorchRuntime(compile=True).export(model, NoQuantizer(), tmp_path, ctx)
    reloaded = load(tmp_path)
    for shape in ((3, 7), (1, 5), (4, 1), (1, 1)):
        batch = {"input_ids": torch.randint(5, 100, shape)}
        difference = reloaded.predict(batch) - exported.reference.predict(batch)
        assert difference.abs().max() < exported.tolerance


@pytest.mark.parametrize("name", ["int8_dynamic", "qat_int8"])
def test_a_format_of_packed_weights_is_not_compiled(name: str) -> None:
    with pytest.raises(ConfigError, match=r"compile=true does not support quantizer .* packed"):
        build_run(compose_config(*COMPILED, f"quantizer={name}"))


def test_without_a_compiler_it_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, teacher: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    def none() -> str:
        raise InvalidCxxCompiler

    build_run(compose_config(*COMPILED))
    TorchRuntime(compile=True).export(teacher, NoQuantizer(), tmp_path, context(teacher))
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", none)
    for act in (lambda: build_run(compose_config(*COMPILED)), lambda: load(tmp_path)):
        with pytest.raises(UserError, match="needs a C\\+\\+ compiler such as g\\+\\+"):
            act()
