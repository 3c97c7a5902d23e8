"""The ONNX graph of every kind of model, at every shape, against torch."""

from __future__ import annotations

import copy
from typing import Any

import onnxruntime
import pytest
import torch
from torch import nn

from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, TrainingData
from compress.runtime.components import onnx_export
from compress.runtime.components.onnx_export import (
    export_graph,
    initializer_names,
    initializers,
    one_export,
)
from compress.transformer.blocks import every_linear, known_blocks
from compress.transformer.stacks import find_stack
from compress.transformer.stored_modules import LowRankLinear
from compress.transformer.surgery import keep_units_, replace_linear_
from tests.configs import settings_of
from tests.runtime.openvino_models import Contexts, Teachers
from tests.slow import slow
from tests.tiny import IMAGE_ARCHITECTURES, tiny_image_model, tiny_teacher

# The others differ from these in names alone.
QUICK = ("bert", "gpt2")
OTHERS = ("roberta", "mpnet", "llama", "vit", "distilbert", "electra", "deit")
# Float32 in another order of summation; logits of the tiny models are around 0.1, and 2e-8 off.
TOLERANCE = 1e-6
SHAPES = ((1, 1), (1, 9), (2, 5), (5, 30))


@pytest.mark.parametrize("architecture", [*QUICK, *slow(OTHERS)])
def test_it_computes_what_torch_does_at_every_shape(
    architecture: str, data: TrainingData, images: TrainingData, device: Cpu
) -> None:
    if architecture in IMAGE_ARCHITECTURES:
        model, rows = tiny_image_model(architecture), images.train
    else:
        model, rows = tiny_teacher(architecture, 1).load(data, device, 0), data.train
    fill_biases_(model.module)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    graph = export_graph(model.module, model.tokenizer, rows)
    assert worst_difference(graph, model, architecture in IMAGE_ARCHITECTURES) < TOLERANCE
    after = model.module.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    names = initializer_names(graph, model.module)
    assert set(names) == {name for name, _ in model.module.named_parameters()}
    assert_linears_are_named(graph, model.module)


def test_a_model_is_exported_once_for_several_formats(
    data: TrainingData, device: Cpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports = []
    real = onnx_export.export_program

    def counted(module: Any, example: Any) -> Any:
        exports.append(module)
        return real(module, example)

    monkeypatch.setattr(onnx_export, "export_program", counted)
    one, other = (tiny_teacher("bert", 1).load(data, device, seed) for seed in (0, 1))
    with one_export():
        first = export_graph(one.module, one.tokenizer, data.train)
        before = first.SerializeToString(deterministic=True)
        first.graph.ClearField("node")
        second = export_graph(one.module, one.tokenizer, data.train)
        assert second.SerializeToString(deterministic=True) == before
        export_graph(other.module, other.tokenizer, data.train)
        export_graph(other.module, other.tokenizer, data.train)
    export_graph(other.module, other.tokenizer, data.train)
    assert exports == [one.module, other.module, other.module]


@pytest.mark.slow
def test_heads_neurons_ranks_and_words_may_be_gone(teachers: Teachers, context: Contexts) -> None:
    teacher = teachers("bert")
    pruner = settings_of("pruner", "vocabulary")
    model = pruner.prune(teacher, context(teacher))  # type: ignore[attr-defined]
    module = cut_(copy.deepcopy(model.module))
    rows = context(teacher).data.train
    graph = export_graph(module, model.tokenizer, rows)
    cut = model.then(module, model.history[-1])
    assert worst_difference(graph, cut, False) < TOLERANCE
    shapes = {name: value.shape for name, value in initializers(graph)}
    assert shapes["bert.encoder.layer.1.attention.self.query.weight"] == (16, 8)
    assert shapes["bert.encoder.layer.2.intermediate.dense.down.weight"] == (16, 3)
    assert_linears_are_named(graph, module)


def test_equal_weights_share_an_initializer(data: TrainingData, device: Cpu) -> None:
    model = tiny_teacher("bert", 1).load(data, device, 0)
    attention = model.module.bert.encoder.layer[0].attention.self
    for part in (attention.query, attention.key):
        nn.init.zeros_(part.weight)
    names = initializer_names(export_graph(model.module, model.tokenizer, data.train), model.module)
    path = "bert.encoder.layer.0.attention.self"
    assert names[f"{path}.query.weight"] == names[f"{path}.key.weight"]
    assert names[f"{path}.value.weight"] == f"{path}.value.weight"


def cut_(module: Any) -> Any:
    """Takes uneven heads and neurons away and factorizes a Linear, in place."""
    blocks = known_blocks(module)
    keep_units_(blocks[1], blocks[1].head_units(), torch.tensor([1]))
    keep_units_(blocks[0], blocks[0].neuron_units(), torch.arange(5))
    name = f"{find_stack(module).name}.2.intermediate.dense"
    linear = module.get_submodule(name)
    low_rank = LowRankLinear(linear.in_features, 3, linear.out_features, bias=True)
    replace_linear_(module, name, linear, low_rank)
    return module


def fill_biases_(module: nn.Module) -> None:
    """Biases of zero are equal to each other and add nothing: the exporter drops them."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        if parameter.dim() == 1:
            parameter.data.add_(torch.randn_like(parameter) / 10)


def worst_difference(graph: Any, model: CompressedModel, sees: bool) -> float:
    """The largest difference between logits of the graph and of the model."""
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=providers)
    names = [each.name for each in session.get_inputs()]
    worst = 0.0
    for count, length in SHAPES:
        batch = pixels(count) if sees else tokens(model, count, length, names)
        assert set(batch) == set(names)
        with torch.inference_mode():
            expected = model.module(**batch).logits
        found = session.run(["logits"], {name: value.numpy() for name, value in batch.items()})[0]
        assert found.shape == (count, 2)
        worst = max(worst, float((torch.from_numpy(found) - expected).abs().max()))
    return worst


def pixels(count: int) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.rand(count, 3, 8, 8)}


def tokens(
    model: CompressedModel, count: int, length: int, names: list[str]
) -> dict[str, torch.Tensor]:
    """Random tokens, the end of the first row padded."""
    words = model.module.get_input_embeddings().num_embeddings
    ids = torch.randint(5, words, (count, length))
    mask = torch.ones_like(ids)
    padded = length // 3
    if padded:
        ids[0, -padded:] = model.module.config.pad_token_id
        mask[0, -padded:] = 0
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    return {name: batch[name] for name in names}


def assert_linears_are_named(graph: Any, module: nn.Module) -> None:
    """The node that multiplies by a Linear's weight bears the Linear's name."""
    held = {name for name, _ in initializers(graph)}
    nodes = {node.name: node for node in graph.graph.node}
    assert len(nodes) == len(graph.graph.node)
    assert not graph.graph.value_info
    linears = dict(every_linear(module))
    assert linears
    for name in linears:
        assert nodes[name].op_type in ("MatMul", "Gemm")
        assert nodes[name].input[1] == f"{name}.weight"
        assert f"{name}.weight" in held
