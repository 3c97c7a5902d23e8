"""Each importance against a brute force that shares no code with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from compress.interfaces import CompressedModel, StageContext
from compress.shaping.importance import (
    IMPORTANCES,
    contribution,
    gate_saliency,
    row_mass,
    unit_moments,
)
from compress.shaping.units import KINDS, unit_sites
from compress.transformer.blocks import Units, known_blocks, weight_matrix
from compress.transformer.stored_modules import LowRankLinear
from tests.pruner.made import Contexts, Teachers
from tests.pruner.test_structured import factorized, loud, scores_of


def rows_of(model: CompressedModel, ctx: StageContext) -> Iterator[dict[str, Tensor]]:
    for row in ctx.data.calibration.encode(model.tokenizer).remove_columns("length"):
        yield {name: torch.tensor([value]) for name, value in row.items()}


def test_row_mass_by_hand() -> None:
    weight = torch.tensor([[1.0, -2.0], [0.0, 4.0], [-5.0, 0.0], [1.0, 1.0]])
    assert row_mass(weight, torch.tensor([[0, 1], [2, 3]])).tolist() == [7.0, 7.0]
    assert row_mass(weight, torch.tensor([[0, 3], [1, 2]])).tolist() == [5.0, 9.0]


def test_slopes_of_one_gate_add_up_before_their_size_counts() -> None:
    slope = torch.tensor([3.0, -3.0, 1.0, -2.0])
    assert gate_saliency(slope, torch.tensor([[0, 1], [2, 3]])).tolist() == [0.0, 1.0]
    assert gate_saliency(slope, torch.arange(4)[:, None]).tolist() == [3.0, 3.0, 1.0, 2.0]


def test_taylor_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of two tokens, which add 3, -1 and -4, 1 to the loss through the one unit.

    Equation 2 is (|3 - 1| + |-4 + 1|) / 2 = 2.5. Per token, as in the authors' code, it would be
    (3 + 1 + 4 + 1) / 4 = 2.25; of one batch of both rows, |2 - 3| / 2 = 0.5.
    """
    rows = [
        {"tokens": torch.tensor([[[3.0], [-1.0]]])},
        {"tokens": torch.tensor([[[-4.0], [1.0]]])},
    ]

    class OneUnit(nn.Module):
        device = torch.device("cpu")

        def __init__(self) -> None:
            super().__init__()
            self.reader = nn.Linear(1, 1, bias=False)
            nn.init.ones_(self.reader.weight)

        def forward(self, tokens: Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=self.reader(tokens).sum())

    model = OneUnit()
    monkeypatch.setattr("compress.shaping.gradients.calibration_batches", lambda *_: rows)

    class Rows(list[Any]):
        labels = torch.zeros(2)

    problem = SimpleNamespace(
        loss=lambda logits, _: logits, targets=lambda *_: None, outputs=lambda logits, _: logits
    )
    ctx: Any = SimpleNamespace(data=SimpleNamespace(calibration=Rows(rows), problem=problem))
    module: Any = model
    block: Any = SimpleNamespace(projection=lambda _: model.reader)
    units = Units(1, {}, torch.tensor([[0]]), "reader")
    assert IMPORTANCES["taylor"](module, module, [(block, units)], ctx)[0].tolist() == [2.5]


def test_contribution_by_hand() -> None:
    inputs = torch.tensor([[3.0, 1.0], [4.0, 0.0]])
    weight = torch.tensor([[0.0, 2.0], [2.0, 0.0], [0.0, 0.0]])
    run = lambda: iter([reader(inputs)])  # noqa: E731
    reader = nn.Linear(2, 3)
    single, pair = torch.arange(2)[:, None], torch.arange(2)[None]
    moments = unit_moments(reader, single, run)
    assert moments.tolist() == [[[25.0]], [[1.0]]], "one number per neuron, none between two"
    assert contribution(weight, moments, single).tolist() == [10.0, 2.0]  # ‖X_j‖ · ‖W_:j‖
    both = unit_moments(reader, pair, run)
    # X Wᵀ = [[2, 6, 0], [0, 8, 0]], squares 4 + 36 + 64
    assert contribution(weight, both, pair).tolist() == pytest.approx([104**0.5])
    assert not reader._forward_pre_hooks, "the hook is gone"


def test_moments_add_up_over_calls() -> None:
    reader = nn.Linear(1, 1)
    calls = (torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[2.0]]]))
    moments = unit_moments(reader, torch.tensor([[0]]), lambda: (reader(call) for call in calls))
    assert moments.item() == 9.0


@pytest.mark.parametrize(("architecture", "change"), [("bert", loud), ("llama", factorized)])
@pytest.mark.parametrize("kind", KINDS)
def test_taylor_is_the_slope_of_an_explicit_gate(
    kind: str,
    architecture: str,
    change: Callable[[CompressedModel], CompressedModel],
    teachers: Teachers,
    context: Contexts,
) -> None:
    """The gate is put into the weights that read the unit, and one gate per unit is learned."""
    model = change(teachers(architecture))
    ctx = context(model)
    blocks = known_blocks(model.module)
    units = [KINDS[kind](block) for block in blocks]
    gates = [torch.ones(unit.count, requires_grad=True) for unit in units]
    weights = {}
    for block, unit, gate in zip(blocks, units, gates, strict=True):
        reader = block.projection(unit.reader)
        low = isinstance(reader, LowRankLinear)
        name = f"{block.name}.{unit.reader}" + (".down.weight" if low else ".weight")
        scale = gate.repeat_interleave(unit.columns.shape[1])
        weights[name] = model.module.get_parameter(name).detach() * scale
    slopes = []
    for row, label in zip(rows_of(model, ctx), ctx.data.calibration.labels.tolist(), strict=True):
        found = functional_call(model.module, weights, kwargs=row).logits
        loss = functional.cross_entropy(found, torch.tensor([label]))
        slopes.append(torch.cat(torch.autograd.grad(loss, gates, retain_graph=True)))
    expected = torch.stack(slopes).abs().mean(dim=0)
    scores = torch.cat(scores_of(kind, "taylor", model, ctx))
    assert torch.allclose(scores, expected, rtol=1e-3, atol=1e-7)
    assert not torch.allclose(scores, torch.stack(slopes).mean(dim=0).abs(), rtol=1e-2)


def test_taylor_leaves_no_trace(teacher: CompressedModel, context: Contexts) -> None:
    module = copy.deepcopy(teacher.module)
    first, *_, last = module.parameters()
    first.requires_grad_(False)
    sites = unit_sites(module, "heads")
    IMPORTANCES["taylor"](module, teacher.tokenizer, sites, context(teacher))
    assert (first.requires_grad, last.requires_grad) == (False, True)
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not any(part._forward_pre_hooks for part in module.modules())


@pytest.mark.parametrize(
    ("architecture", "change"), [("bert", factorized), ("gpt2", loud), ("llama", loud)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_activation_is_the_size_of_what_a_unit_adds(
    kind: str,
    architecture: str,
    change: Callable[[CompressedModel], CompressedModel],
    teachers: Teachers,
    context: Contexts,
) -> None:
    model = change(teachers(architecture))
    ctx = context(model)
    block = known_blocks(model.module)[1]
    units = KINDS[kind](block)
    reader = block.projection(units.reader)
    caught: list[Tensor] = []
    handle = reader.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    with torch.no_grad():
        for row in rows_of(model, ctx):
            model.module(**row)
    handle.remove()
    inputs = torch.cat([x.flatten(0, -2) for x in caught])
    weight = weight_matrix(reader).detach()
    expected = [(inputs[:, one] @ weight[:, one].T).norm() for one in units.columns]
    found = scores_of(kind, "activation", model, ctx)[1]
    assert torch.allclose(found, torch.stack(expected), rtol=1e-4)


def test_l1_is_the_sum_over_all_that_goes(teacher: CompressedModel, context: Contexts) -> None:
    part = known_blocks(teacher.module)[2].module
    rows = slice(8, 16)  # of the second head
    self_, output = part.attention.self, part.attention.output.dense.weight
    makers = [self_.query.weight[rows], self_.key.weight[rows], self_.value.weight[rows]]
    expected = sum(w.abs().sum() for w in (*makers, output[:, rows]))
    found = scores_of("heads", "l1", teacher, context(teacher))[2][1]
    assert torch.allclose(found, expected)


def test_random_comes_from_the_seed(teacher: CompressedModel, context: Contexts) -> None:
    ctx = context(teacher)
    one, again = (scores_of("neurons", "random", teacher, ctx) for _ in range(2))
    other = scores_of("neurons", "random", teacher, replace(ctx, seed=1))
    assert torch.equal(one[0], again[0])
    assert not torch.equal(one[0], other[0])
    assert not torch.equal(one[0], one[1]), "layers do not share their numbers"
