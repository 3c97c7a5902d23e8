"""What heads and neurons share: scores, how many stay where, and the cut."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel, StageContext
from compress.measure.sparsity import check_history
from compress.pruner.components.structured import UnitPruner
from compress.serve.folder import PACKED_WEIGHTS
from compress.shaping.importance import IMPORTANCES, Scores
from compress.shaping.units import KINDS, highest, unit_sites
from compress.store.artifact import read_model, write_model
from compress.transformer.blocks import known_blocks, weight_matrix
from compress.transformer.stored_modules import LowRankLinear
from compress.transformer.surgery import keep_units_, replace_linear_
from tests.pruner.made import Contexts, Teachers, logits, pruner, skeleton


def unit_pruner(kind: str, **values: Any) -> UnitPruner:
    """A pruner of heads or neurons with these values in place of the yaml's."""
    made: UnitPruner = replace(pruner(kind), **values)
    return made


def loud(model: CompressedModel) -> CompressedModel:
    """A copy whose blocks say so much that a lost unit shows in the logits."""
    module = copy.deepcopy(model.module)
    with torch.no_grad():
        for block in known_blocks(module):
            for path in block.layout.projections:
                weight_matrix(block.projection(path)).mul_(15)
    return replace(model, module=module)


def factorized(model: CompressedModel) -> CompressedModel:
    """A copy with the readers and the first makers of all units in two factors."""
    module, generator = copy.deepcopy(model.module), torch.Generator().manual_seed(0)
    for block in known_blocks(module):
        for path in ("output", "down", "query"):
            place = getattr(block.layout, path)
            linear = block.projection(place)
            rows, columns = linear.weight.shape
            low = LowRankLinear(columns, 5, rows, bias=False)
            nn.init.normal_(low.down.weight, generator=generator)
            nn.init.normal_(low.up.weight, generator=generator)
            replace_linear_(module, f"{block.name}.{place}", linear, low)
    return replace(model, module=module)


def scores_of(kind: str, importance: str, model: CompressedModel, ctx: StageContext) -> Scores:
    module = copy.deepcopy(model.module)
    return IMPORTANCES[importance](module, model.tokenizer, unit_sites(module, kind), ctx)


@pytest.mark.parametrize("importance", ["taylor", "activation"])
@pytest.mark.parametrize(
    ("kind", "count", "silent"), [("heads", 2, (0, 1, 0, 1)), ("neurons", 32, (3, 31, 0, 17))]
)
def test_units_that_nobody_reads_go_and_nothing_changes(
    kind: str,
    count: int,
    silent: tuple[int, ...],
    importance: str,
    teachers: Teachers,
    context: Contexts,
) -> None:
    model = loud(teachers("bert"))
    ctx = context(model)
    one = {"sparsity": 1 / count, "round_to": 1}
    made = unit_pruner(kind, importance=importance, **one)
    for block, unit in zip(known_blocks(model.module), silent, strict=True):
        units = KINDS[kind](block)
        with torch.no_grad():
            weight_matrix(block.projection(units.reader))[:, units.columns[unit]] = 0
    before = logits(model, ctx)
    pruned = made.prune(model, ctx)
    assert torch.allclose(before, logits(pruned, ctx), atol=1e-5)
    counts = [KINDS[kind](block).count for block in known_blocks(pruned.module)]
    assert counts == [count - 1] * 4
    others = unit_pruner(kind, importance="random", **one).prune(model, ctx)
    assert not torch.allclose(before, logits(others, ctx), atol=1e-3), "other units matter"


def test_all_layers_are_scored_before_the_first_cut(teachers: Teachers, context: Contexts) -> None:
    model = loud(teachers("bert"))
    ctx = context(model)
    made = unit_pruner("neurons", importance="activation", sparsity=0.5)
    last = known_blocks(model.module)[-1].module.output.dense.weight
    expected = last[:, highest(scores_of("neurons", "activation", model, ctx)[-1], 16)]
    pruned = made.prune(model, ctx)
    assert torch.equal(known_blocks(pruned.module)[-1].module.output.dense.weight, expected)
    for block in known_blocks(model.module)[:-1]:
        keep_units_(block, block.neuron_units(), torch.arange(16))
    behind_cut_ones = highest(scores_of("neurons", "activation", model, ctx)[-1], 16)
    assert not torch.equal(last[:, behind_cut_ones], expected), "the order makes a difference"


@pytest.mark.parametrize("importance", ["l1", "taylor", "activation"])
@pytest.mark.parametrize("kind", KINDS)
def test_global_takes_from_the_layer_that_needs_them_least(
    kind: str, importance: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    """Half of the third layer's units are erased, and just as many are asked for."""
    model = loud(teachers("bert"))
    ctx = context(model)
    made = unit_pruner(kind, importance=importance, allocation="global", sparsity=0.125, round_to=1)
    block = known_blocks(model.module)[2]
    units = KINDS[kind](block)
    gone = torch.arange(units.count // 2)
    with torch.no_grad():
        weight_matrix(block.projection(units.reader))[:, units.columns[gone].flatten()] = 0
        for path, rows in units.rows.items():
            weight_matrix(block.projection(path))[rows[gone].flatten()] = 0
    pruned = made.prune(model, ctx)
    full = units.count
    counts = [full, full, full // 2, full]
    assert [KINDS[kind](block).count for block in known_blocks(pruned.module)] == counts
    notes = pruned.history[-1].notes
    assert notes[f"{kind}_kept"] == counts
    assert notes[f"{kind}_removed_fraction"] == 0.125
    assert all(".2." in name for name in pruned.history[-1].expected_shapes)
    found = logits(pruned, ctx)
    assert torch.allclose(logits(model, ctx), found, atol=1e-5)
    write_model(pruned, tmp_path / "m", "torch")
    assert (tmp_path / "m" / PACKED_WEIGHTS).is_file(), "uneven shapes have no plain config"
    reloaded = replace(pruned, module=read_model(tmp_path / "m"))
    assert torch.equal(found, logits(reloaded, ctx))


@pytest.mark.parametrize("kind", KINDS)
def test_factorized_layers_are_cut(kind: str, teachers: Teachers, context: Contexts) -> None:
    model = factorized(teachers("llama"))
    made = unit_pruner(kind, allocation="global", sparsity=0.5)
    pruned = made.prune(model, context(model))
    counts = [KINDS[kind](block).count for block in known_blocks(pruned.module)]
    assert sum(counts) * 2 == 4 * KINDS[kind](known_blocks(model.module)[0]).count
    check_history(pruned.history, pruned.module.named_parameters())
    assert logits(pruned, context(model)).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_sparsity_leaves_the_model_as_it_is(
    kind: str, teacher: CompressedModel, context: Contexts
) -> None:
    made = unit_pruner(kind, sparsity=0)
    made.check(skeleton(teacher))
    pruned = made.prune(teacher, context(teacher))
    state = pruned.module.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in teacher.module.state_dict().items())
    assert pruned.history[-1].expected_shapes == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sparsity": 1}, r"sparsity must be in \[0, 1\), got 1"),
        ({"importance": "l2"}, "importance must be one of l1, random, taylor, activation; got l2"),
        ({"allocation": "even"}, "allocation must be one of uniform, global; got even"),
        ({"round_to": 0}, "round_to must be > 0, got 0"),
        ({"round_to": 1.5}, "round_to must be an integer, got 1.5"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_bad_settings_are_refused(kind: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"{kind.title()}.{message}"):
        unit_pruner(kind, **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"round_to": 64}, r"round_to must be at most 32, .* neurons .*layer\.0 has, got 64"),
        (
            {"sparsity": 0.01, "round_to": 1},
            r"sparsity=0\.01 removes nothing: the smallest step is 1 of 32 neurons, "
            r"sparsity=0\.03125",
        ),
        (
            {"sparsity": 0.1, "round_to": 8},
            r"sparsity=0\.1 removes nothing: the smallest step is 8 of 32 neurons, sparsity=0\.25",
        ),
        (
            {"sparsity": 0.003, "round_to": 1, "allocation": "global"},
            "the smallest step is 1 of 128 neurons",
        ),
        ({"round_to": 32}, r"sparsity must be 0 where round_to=32 keeps all .* got 0\.25"),
    ],
)
def test_what_cannot_work_on_these_shapes_is_refused(
    values: dict[str, Any], message: str, teacher: CompressedModel
) -> None:
    with pytest.raises(ConfigError, match=message):
        unit_pruner("neurons", **values).check(skeleton(teacher))
