"""Every history says which share of the parameters a pruner or a quantizer covered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.interfaces import CompressedModel, Pruner, Quantizer, StageContext
from compress.store.artifact import load
from compress.transformer.coverage import coverage, with_quantizer
from compress.transformer.stacks import block_linears
from tests.configs import settings_of
from tests.structures import context_of, model_of, structure
from tests.tiny import torch_export

Contexts = Callable[[CompressedModel], StageContext]


def test_by_hand() -> None:
    sizes = {"a": 30, "b": 10, "c": 60}
    assert coverage(sizes, {"a", "b", "new"}) == {"covered_parameters": 40, "covered_fraction": 0.4}
    assert coverage({}, {"a"}) == {"covered_parameters": 0, "covered_fraction": 0.0}


def linears(module: Any) -> int:
    return sum(part.weight.numel() for part in block_linears(module).values())


def stack(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.bert.encoder.layer.parameters())


# By pruner, its settings and the entries that it reaches.
PRUNERS: dict[str, tuple[tuple[str, ...], Callable[[Any], int]]] = {
    "magnitude": ((), linears),
    "wanda": ((), linears),
    "sparsegpt": ((), linears),
    "layers": (("pruner.drop=1",), stack),
    "vocabulary": ((), lambda m: m.get_input_embeddings().weight.numel()),
}


@pytest.mark.parametrize("name", PRUNERS)
def test_a_pruner_says_what_it_covered(
    name: str, teacher: CompressedModel, context: Contexts
) -> None:
    overrides, reached = PRUNERS[name]
    pruner = settings_of("pruner", name, *overrides)
    assert isinstance(pruner, Pruner)
    notes = pruner.prune(teacher, context(teacher)).history[-1].notes
    total = sum(parameter.numel() for parameter in teacher.module.parameters())
    assert notes["covered_parameters"] == reached(teacher.module)
    assert notes["covered_fraction"] == pytest.approx(reached(teacher.module) / total)


def test_both_halves_of_an_encoder_decoder_and_a_shared_layer_are_covered() -> None:
    magnitude = settings_of("pruner", "magnitude")
    assert isinstance(magnitude, Pruner)
    for name in ("bart_uneven", "t5", "albert", "swin"):
        model = model_of(structure(name))
        notes = magnitude.prune(model, context_of(model)).history[-1].notes
        assert notes["covered_parameters"] == linears(model.module), name


@pytest.mark.parametrize(
    ("name", "covered"), [("none", 0), ("int8_dynamic", 1), ("rtn", 1), ("bf16", 2)]
)
def test_a_quantizer_says_what_has_another_type_on_disk(
    name: str, covered: int, teacher: CompressedModel, tmp_path: Path
) -> None:
    quantizer = settings_of("quantizer", name)
    assert isinstance(quantizer, Quantizer)
    torch_export(teacher, quantizer, tmp_path / "model")
    history = with_quantizer(teacher, quantizer, load(tmp_path / "model").weights())
    if not covered:
        assert history == teacher.history
        return
    every = {n: p.numel() for n, p in teacher.module.named_parameters()}
    heads = ("classifier.weight", "pooler.dense.weight")
    inside = {f"{n}.weight" for n in block_linears(teacher.module)}
    wanted = {n for n in every if n in inside or n.endswith(heads)}
    reached = sum(size for n, size in every.items() if covered == 2 or n in wanted)
    assert history[-1].stage == "quantizer"
    assert history[-1].notes["covered_parameters"] == reached
    again = teacher.then(teacher.module, history[-1])
    repeated = with_quantizer(again, quantizer, load(tmp_path / "model").weights())
    assert repeated == history, "an existing step is updated, not repeated"
