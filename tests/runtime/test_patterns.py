"""The N:M pattern of a pruner, counted in what every format and runtime wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.interfaces import Quantizer, Runtime
from compress.measure.sparsity import broken_groups, check_history, live_patterns
from compress.runtime.onnxruntime import OnnxRuntime
from compress.runtime.openvino import OpenVino
from compress.runtime.torch import TorchRuntime
from compress.serve.folder import read_manifest
from compress.store.artifact import load
from tests.configs import settings_of, yaml_names
from tests.runtime.openvino_models import Contexts, Teachers
from tests.slow import slow
from tests.test_contract import TORCH_FORMATS

pytestmark = pytest.mark.usefixtures("export_once")

RUNTIMES: dict[str, Runtime] = {
    "torch": TorchRuntime(compile=False),
    "onnxruntime": OnnxRuntime(),
    "openvino": OpenVino(specialize=False, activation_group=None),
}
FORMATS = {
    "torch": TORCH_FORMATS,
    "onnxruntime": ["none", "int8_dynamic", "int8_static"],
    "openvino": ["none", "bf16", "int8_weight_only", "rtn", "int8_static"],
}
PAIRS = [(runtime, name) for runtime, names in FORMATS.items() for name in names]


def test_every_format_is_here() -> None:
    assert {name for names in FORMATS.values() for name in names} == set(yaml_names("quantizer"))


# GPT-2 stores its weights transposed, BERT's attention is square, Llama's head is its table.
@pytest.mark.parametrize("architecture", ["gpt2", *slow(["bert", "llama"])])
@pytest.mark.parametrize(("runtime", "name"), PAIRS)
def test_it_is_kept_on_disk(
    runtime: str, name: str, architecture: str, shallow: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher = shallow(architecture)
    ctx = context(teacher)
    pruner: Any = settings_of("pruner", "magnitude", "pruner.pattern='2:4'")
    quantizer = settings_of("quantizer", name)
    assert isinstance(quantizer, Quantizer)
    made = quantizer.prepare(pruner.prune(teacher, ctx), ctx)
    RUNTIMES[runtime].export(made, quantizer, tmp_path / "model", ctx)
    found = dict(load(tmp_path / "model").weights())
    check_history(read_manifest(tmp_path / "model").history, found.items())
    names = list(live_patterns(made.history))
    assert names
    # Along the other axis it was not made, so what is counted is the right one.
    assert any(broken_groups(found[name].T, 2, 4) for name in names)
