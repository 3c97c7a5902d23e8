"""The matrix of architectures and stages: the committed page, and some of its cells again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.architectures import find_all
from compress.transformer.torch_model import TorchModel
from tests.architectures import sentences
from tests.configs import ROOT
from tests.matrix.cells import LATE, REFUSED, RIGHT, WRONG, Cell, find_cell
from tests.matrix.evaluators import (
    Evaluator,
    as_teacher,
    masked,
    masked_by_magnitude,
    weights_in_few_bits,
    without_layers,
    without_units,
)
from tests.matrix.made import Made
from tests.matrix.models import Model, one_by_one
from tests.matrix.page import body, page, read_page
from tests.matrix.references import layer_linears
from tests.matrix.stages import PLAIN, every_stage
from tests.sizes import ARCHITECTURES

PAGE = ROOT / "docs" / "architectures.md"
PROCESSES = 2
# The page was made with it: what trains in bfloat16, or computes in it, is refused elsewhere.
BFLOAT16 = torch.cpu._is_avx512_bf16_supported()
STAGES = {stage.name: stage for stage in every_stage()}
COMMITTED = {(cell.architecture, cell.stage): cell for cell in read_page(PAGE.read_text())}
# One of each kind of trouble: shared layers, equal and unequal halves, stages, experts, a first
# layer unlike the others, no token for padding, what is no Linear layer.
QUICK = (
    ("albert", "torch pruner=magnitude"),
    ("bart", "torch pruner=wanda"),
    ("t5_uneven", "torch quantizer=rtn"),
    ("t5_uneven", "torch pruner=vocabulary"),
    ("swin", "torch student=layers [1, 3]"),
    ("mixtral", "torch quantizer=int8_weight_only"),
    ("modernbert", "torch pruner=layers [0]"),
    ("gpt2_unpadded", "torch pruner=heads"),
    ("xlnet", "torch pruner=magnitude"),
    ("bert_tags", "torch student=layers"),
    ("bert_tags", "onnxruntime quantizer=awq"),
)


def test_the_page_has_every_cell_and_none_is_late_or_wrong() -> None:
    assert set(COMMITTED) == {(name, stage) for name in ARCHITECTURES for stage in STAGES}
    bad = [cell for cell in COMMITTED.values() if cell.outcome in (LATE, WRONG)]
    assert not bad


@pytest.mark.parametrize(("architecture", "stage"), QUICK)
def test_cells_are_as_the_page_says(architecture: str, stage: str, tmp_path: Path) -> None:
    found = find_cell(Model(architecture, tmp_path / "model"), STAGES[stage], tmp_path / "run")
    assert found == COMMITTED[architecture, stage]


@pytest.mark.slow
def test_the_page_is_what_the_stages_do() -> None:
    found = find_all(list(ARCHITECTURES), [""], PROCESSES)
    assert not [cell for cell in found if cell.outcome in (LATE, WRONG)]
    if BFLOAT16:
        assert {(cell.architecture, cell.stage): cell for cell in found} == COMMITTED


def test_a_page_is_read_back_as_it_was_written() -> None:
    stages = every_stage()
    refused = (REFUSED, "needs `a | b`, got [1] *x*")
    outcomes = ((RIGHT, ""), refused, (LATE, "late: x_y"), (WRONG, "z"))
    cells = [
        Cell(name, stage.name, *outcomes[(i + j) % len(outcomes)])
        for i, name in enumerate(("bert", "vit"))
        for j, stage in enumerate(stages)
    ]
    text = page(cells, stages, "Made.")
    assert sorted(read_page(text), key=str) == sorted(cells, key=str)
    counts = f"{2 * len(stages)} cells: "
    assert next(body(cells, stages)).startswith(counts)


def test_stages_are_found_in_conf() -> None:
    names = [stage.name for stage in every_stage()]
    assert len(set(names)) == len(names)
    assert names[0] == f"torch quantizer={PLAIN}"
    assert {"torch pruner=wanda", "openvino quantizer=int8_static"} <= set(names)
    assert "onnxruntime quantizer=nf4" not in names


@pytest.mark.parametrize("name", ["bert", "gpt2_unpadded", "xlnet", "swin"])
def test_a_model_is_the_same_each_time_and_its_rows_differ(name: str, tmp_path: Path) -> None:
    models = [Model(name, tmp_path / side) for side in "ab"]
    rows = models[0].rows("evaluation")
    first, again = (one_by_one(model.plain(), model.processor, rows) for model in models)
    assert torch.equal(first, again)
    other = one_by_one(models[0].plain(models[0].other), models[0].processor, rows)
    assert (first - other).abs().max() > 0.1
    assert first.std(dim=0).mean() > 0.1


def test_no_two_texts_are_equal() -> None:
    assert len(set(sentences(40, 1)) | set(sentences(40, 2))) == 80


@torch.no_grad()
def nudged(module: Any) -> Any:
    """One weight of the last layer is another."""
    module.bert.encoder.layer[3].output.dense.weight[0, 0] += 1
    return module


@torch.no_grad()
def half_at_random(module: Any, layers: int = 4) -> Any:
    """Half of the weights are zero, wherever they are."""
    generator = torch.Generator().manual_seed(0)
    for index, part in enumerate(layer_linears(module).values()):
        if index < 6 * layers:
            weight = part.weight
            lowest = torch.rand(weight.shape, generator=generator).flatten().argsort()
            weight.view(-1)[lowest[: weight.numel() // 2]] = 0
    return module


def upside_down(module: Any) -> Any:
    """Two layers are left, in the wrong order."""
    layers = module.bert.encoder.layer
    module.bert.encoder.layer = nn.ModuleList([layers[2], layers[0]])
    return module


@torch.no_grad()
def narrowed(module: Any) -> Any:
    """A neuron is gone from what makes the neurons, and another from what reads them."""
    layer = module.bert.encoder.layer[0]
    layer.intermediate.dense.weight = nn.Parameter(layer.intermediate.dense.weight[1:])
    layer.intermediate.dense.bias = nn.Parameter(layer.intermediate.dense.bias[1:])
    layer.output.dense.weight = nn.Parameter(layer.output.dense.weight[:, :-1])
    return module


SEEN: dict[str, tuple[Evaluator, Callable[[Any], Any], str]] = {
    "a weight": (as_teacher, nudged, "logits of single rows are off"),
    "a unit's weight": (without_units, nudged, "output.dense is off by"),
    "another neuron": (without_units, narrowed, "logits of single rows are off"),
    "a mask": (masked_by_magnitude, half_at_random, "logits of single rows are off"),
    "a layer": (masked, lambda m: half_at_random(m, layers=3), "0% of bert.encoder.layer.3"),
    "no layer": (without_layers, lambda module: module, "no list of layers is shorter"),
    "layers": (without_layers, upside_down, r"has its layers in the order \[2, 0\]"),
    "a format": (weights_in_few_bits, lambda module: module, "is left as it was"),
}


@pytest.mark.parametrize("what", SEEN)
def test_an_evaluator_sees_what_is_wrong(what: str, tmp_path: Path) -> None:
    evaluator, change, words = SEEN[what]
    made = made_by(change, tmp_path)
    with pytest.raises(ValueError, match=words):
        evaluator(made)


def test_an_evaluator_sees_that_nothing_is_wrong(tmp_path: Path) -> None:
    as_teacher(made_by(lambda module: module, tmp_path))


def made_by(change: Callable[[Any], Any], folder: Path) -> Made:
    """A run that changed a BERT in a way of its own."""
    model = Model("bert", folder / "model")
    module = change(model.plain()).eval()
    module.save_pretrained(folder / "artifact")
    model.processor.save_pretrained(folder / "artifact")
    stage = STAGES["torch quantizer=int8_weight_only"]
    made = Made(model, stage, folder / "artifact", folder / "cache")
    made.__dict__["loaded"] = TorchModel(module, model.processor, "cpu")
    return made
