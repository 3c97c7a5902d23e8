"""Models that execute the same graph have one digest, whatever their weights; others do not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from compress.build import build_run
from compress.interfaces import CompressedModel
from compress.transformer.blocks import known_blocks
from compress.transformer.surgery import keep_blocks_, keep_units_
from tests.configs import TINY, compose_config
from tests.runtime.openvino_models import Contexts
from tests.slow import slow

PAIRS = [
    ("cpu", "none"),
    ("cpu", "int8_dynamic"),
    ("cpu", "rtn"),
    ("cpu_onnxruntime", "none"),
    ("cpu_onnxruntime", "int8_dynamic"),
    ("cpu_onnxruntime", "int8_static"),
    ("cpu_openvino", "none"),
    ("cpu_openvino", "bf16"),
    ("cpu_openvino", "int8_weight_only"),
    ("cpu_openvino", "int8_static"),
]
QUICK = PAIRS[:3]  # an export to ONNX takes seconds


def zeros_(module: PreTrainedModel) -> None:
    for name, weight in module.named_parameters():
        if "layer." in name and weight.dim() == 2:
            weight.data[weight.abs() < weight.abs().median()] = 0


def other_weights_(module: PreTrainedModel) -> None:
    generator = torch.Generator().manual_seed(5)
    for weight in module.parameters():
        weight.data += 0.02 * torch.randn(weight.shape, generator=generator)


def fewer_neurons_(module: PreTrainedModel) -> None:
    block = known_blocks(module)[0]
    keep_units_(block, block.neuron_units(), torch.arange(block.neurons - 8))


def fewer_layers_(module: PreTrainedModel) -> None:
    keep_blocks_(module, [0])


def digest(
    model: CompressedModel,
    change_: Callable[[PreTrainedModel], None],
    pair: tuple[str, str],
    context: Contexts,
    folder: Path,
) -> str:
    changed = replace(model, module=copy.deepcopy(model.module))
    change_(changed.module)
    run = build_run(compose_config(*TINY, f"device={pair[0]}", f"quantizer={pair[1]}"))
    ctx = replace(context(changed), device=run.device)
    run.device.runtime.export(changed, run.quantizer, folder, ctx)
    return type(run.device.runtime).graph(folder)


@pytest.mark.parametrize("pair", [pair if pair in QUICK else slow([(pair,)])[0] for pair in PAIRS])
def test_weights_do_not_count_and_shapes_do(
    pair: tuple[str, str], biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    if pair[0] != "cpu":
        pytest.importorskip(pair[0].removeprefix("cpu_"))

    def of(change_: Callable[[PreTrainedModel], None]) -> str:
        return digest(biased, change_, pair, context, tmp_path / change_.__name__)

    original = of(torch.nn.Module.eval)
    assert of(zeros_) == original
    assert of(other_weights_) == original
    assert len({original, of(fewer_neurons_), of(fewer_layers_)}) == 3


@pytest.mark.parametrize("pairs", [QUICK, *slow([(PAIRS,)])])
def test_formats_and_runtimes_count(
    pairs: list[tuple[str, str]], biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    for device in {pair[0] for pair in pairs} - {"cpu"}:
        pytest.importorskip(device.removeprefix("cpu_"))
    found = [
        digest(biased, torch.nn.Module.eval, pair, context, tmp_path / "-".join(pair))
        for pair in pairs
    ]
    assert len(set(found)) == len(pairs)
