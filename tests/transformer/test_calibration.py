"""Layers are calibrated in order of execution, on the outputs of the changed layers before."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compress.config.errors import UserError
from compress.transformer.calibration import (
    Run,
    Unit,
    calibrate_layerwise,
    calibrate_linears,
    calibration_rows,
    capture_inputs,
    input_norms,
)
from compress.transformer.chains import find_chains
from compress.transformer.stacks import LINEARS, block_linears, layer_units
from tests.structures import EVERY, rows_of, structure

Sums = dict[str, Tensor]


@torch.no_grad()
def reference_(module: nn.Module, rows: list[dict[str, Tensor]]) -> Sums:
    """Σ x² of every Linear's inputs, by whole passes: one for each layer, in order of execution.

    Each layer is changed after its pass, as `change_` does.
    """
    order: list[str] = []
    units = layer_units(module)
    handles = [
        part.register_forward_pre_hook(lambda *_, name=name: order.append(name))
        for name, part in units.items()
    ]
    module(**rows[0])
    for handle in handles:
        handle.remove()
    found: Sums = {}
    for name in dict.fromkeys(order):
        linears = {
            n: p for n, p in units[name].named_modules(prefix=name) if isinstance(p, LINEARS)
        }

        def add(linear: str, inputs: Tensor) -> None:
            found[linear] = found.get(linear, 0) + inputs.square().sum(dim=0)

        with capture_inputs(linears, add):
            for row in rows:
                module(**row)
        change_(units[name])
    return found


@torch.no_grad()
def change_(layer: nn.Module) -> None:
    for weight in layer.parameters():
        if weight.dim() > 1:
            weight.mul_(torch.linspace(0.5, 1.5, weight.shape[-1]))


@pytest.mark.parametrize("name", EVERY)
def test_statistics_are_those_of_whole_passes_over_the_changed_layers_before(name: str) -> None:
    module, twin = structure(name), structure(name)
    config = module.config.to_dict()
    rows = rows_of(module)
    found: Sums = {}

    def visit(unit: Unit, run: Run) -> None:
        # Twice: what runs again must find what it found before.
        norms = [input_norms(unit.linears, run) for _ in range(2)]
        for linear, norm in norms[0].items():
            assert torch.equal(norm, norms[1][linear])
            found[linear] = norm.square()
        change_(unit.module)

    calibrate_layerwise(module, None, rows, visit)
    assert module.config.to_dict() == config
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    expected = reference_(twin, list(calibration_rows(twin, None, rows)))
    assert list(found) == list(expected), "in order of execution"
    assert set(found) == set(block_linears(module))
    for linear, sums in expected.items():
        assert torch.allclose(found[linear], sums, rtol=1e-4, atol=1e-6), linear


@pytest.mark.parametrize(
    ("name", "lengths"),
    [
        ("bert", [3]),
        ("gemma2", [3]),
        ("modernbert", [3]),
        ("t5", [3, 3]),
        ("bart", [4, 2]),  # each decoder layer reads what the encoder puts out last
        ("bart_uneven", [4, 1]),
        ("albert", [1]),
        ("deberta_v2", [1, 2]),  # a convolution changes what the first layer puts out
        ("swin", [2, 2, 3]),  # a stage of two layers, then merged patches and a stage, twice
    ],
)
@torch.no_grad()
def test_chains_are_as_long_as_they_may_be(name: str, lengths: list[int]) -> None:
    module = structure(name)
    for part in module.modules():  # the halves of T5 have configs of their own
        vars(part).get("config", module.config).use_cache = False
    row = next(calibration_rows(module, None, rows_of(module)))
    chains = find_chains(module, layer_units(module), row)
    assert [len(chain.names) for chain in chains] == lengths
    assert [chain.runs for chain in chains] == [3 if name == "albert" else 1] * len(lengths)


@torch.no_grad()
def test_a_layer_that_spoils_its_inputs_is_run_by_the_whole_model() -> None:
    module = structure("bert")
    layers = layer_units(module)
    second = layers["bert.encoder.layer.1"]
    forward = second.forward

    def spoil(hidden: Tensor, *others: Tensor, **named: Tensor) -> Tensor:
        output = forward(hidden, *others, **named)
        hidden.mul_(2)
        return output

    second.forward = spoil
    row = next(calibration_rows(module, None, rows_of(module)))
    chains = find_chains(module, layers, row)
    assert [chain.repeatable for chain in chains] == [True, False, True]


def test_a_linear_that_reads_no_row_is_named() -> None:
    module = structure("bert")
    module.bert.encoder.layer[1].unused = nn.Linear(4, 4)
    with pytest.raises(UserError, match=r"1 Linear layers run on none of the 5 .*layer\.1\.unused"):
        calibrate_linears(
            module, None, rows_of(module), block_linears(module), input_norms, lambda *_: None
        )
