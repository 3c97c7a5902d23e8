from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from compress.config.errors import ConfigError, ConfigTypeError
from compress.interfaces import CompressedModel
from compress.quantizer.components.grouped import GroupedLinear
from compress.quantizer.int8_weight_only import Int8WeightOnlyLinear
from compress.quantizer.rtn import Rtn
from compress.store.artifact import load
from compress.transformer.packing import Grid
from tests.configs import settings_of
from tests.tiny import torch_export


def matrix(layer: nn.Module, columns: int) -> Tensor:
    """The weight that a layer multiplies with, found by feeding it the unit vectors."""
    made: Tensor = layer(torch.eye(columns)).T
    return made


def test_by_hand() -> None:
    linear = nn.Linear(4, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[-1.0, 0.0, 6.5, 1.4]]))
        linear.bias.fill_(0.25)
    made = GroupedLinear.rounded(linear, Grid(4, 4, False))
    assert made.qweight.tolist() == [[0x02, 0xF5]]
    assert made.codes().tolist() == [[-2, 0, 13, 3]]
    # Steps of 0.5: −1, 0, 6.5, 1.5.
    assert made(torch.tensor([1.0, 9.0, 2.0, 1.0])).tolist() == [-1 + 13 + 1.5 + 0.25]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("columns", [1, 2, 7, 16, 33])
def test_any_number_of_columns(columns: int, symmetric: bool) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(columns, 5), torch.randn(3, 2, columns)
    made = GroupedLinear.rounded(linear, Grid(4, 8, symmetric))
    weight = matrix(made, columns) - linear.bias[:, None]
    steps = made.scale.float().abs().repeat_interleave(8, dim=1)[:, :columns]
    # Half a step, and what bfloat16 makes of 15 steps; or what is beyond seven codes.
    cut = (linear.weight.abs() - 7 * steps) * symmetric
    assert ((weight - linear.weight).abs() <= torch.maximum(0.53 * steps, cut) + 1e-6).all()
    assert torch.allclose(made(x), nn.functional.linear(x, weight, linear.bias), atol=1e-6)
    assert made.codes().shape == (5, columns)


@pytest.mark.parametrize("symmetric", [True, False])
def test_bytes_on_disk(symmetric: bool, tmp_path: Path) -> None:
    linear = nn.Linear(1024, 512, bias=False)
    made = GroupedLinear.rounded(linear, Grid(4, 64, symmetric))
    save_file(linear.state_dict(), tmp_path / "float32")
    save_file(made.state_dict(), tmp_path / "int4")
    sizes = [(tmp_path / name).stat().st_size for name in ("float32", "int4")]
    # 4 bits, and per 64 weights a scale of 16 bits and a zero point of 4; the header is small.
    bits = 4 + (16 + (0 if symmetric else 4)) / 64
    assert sizes[1] == pytest.approx(512 * 1024 * bits / 8, rel=0.002)
    assert 7.4 < sizes[0] / sizes[1] < 7.6


def test_it_is_coarser_than_int8_and_finer_in_smaller_groups() -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(256, 64), torch.randn(20, 256)
    with torch.no_grad():
        linear.weight.normal_()  # evenly drawn weights would not mind large groups
    made = [GroupedLinear.rounded(linear, Grid(4, size, False)) for size in (256, 32)]
    layers = [*made, Int8WeightOnlyLinear.of(linear)]
    errors = [(layer(x) - linear(x)).square().mean().item() for layer in layers]
    assert errors[0] > 1.3 * errors[1] > 20 * errors[2]


def test_layers_outside_the_stack_have_a_width_of_their_own(
    teacher: CompressedModel, tmp_path: Path
) -> None:
    settings = settings_of("quantizer", "rtn", "quantizer.output_bits=8")
    assert isinstance(settings, Rtn)
    bits = torch_export(teacher, settings, tmp_path).packed_bits()
    outside = {name for name, count in bits.items() if count == 8}
    assert outside == {"classifier.weight", "bert.pooler.dense.weight"}
    assert {bits[name] for name in bits.keys() - outside} == {4}
    assert settings.weight_bits == 4


@pytest.mark.parametrize("symmetric", [True, False])
def test_pruned_weights_are_zero_in_the_reloaded_model(
    teacher: CompressedModel, tmp_path: Path, symmetric: bool
) -> None:
    module = copy.deepcopy(teacher.module)
    name = "bert.encoder.layer.1.output.dense.weight"
    pruned = module.get_parameter(name)
    with torch.no_grad():
        pruned[:, ::3] = 0
    model = CompressedModel(module, teacher.tokenizer, teacher.history)
    settings = Rtn(embeddings="none", bits=4, output_bits=None, group_size=8, symmetric=symmetric)
    torch_export(model, settings, tmp_path)
    codes = dict(load(tmp_path).weights())[name]
    assert (codes[:, ::3] == 0).all()
    assert 0.5 < codes.count_nonzero() / pruned.count_nonzero() <= 1


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"quantizer.group_size must be > 0, got 0"):
        settings_of("quantizer", "rtn", "quantizer.group_size=0")
    with pytest.raises(ConfigTypeError, match=r"symmetric must be true or false, got 1"):
        Rtn(embeddings="none", bits=4, output_bits=None, group_size=8, symmetric=1)  # type: ignore[arg-type]


def rounded(weight: list[float], *settings: str) -> list[float]:
    """What a Linear of one row multiplies by after rounding."""
    format_ = settings_of("quantizer", "rtn", *settings)
    assert isinstance(format_, Rtn)
    linear = nn.Linear(len(weight), 1, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([weight]))
    found: list[float] = format_.quantized(linear).matrix()[0].tolist()
    return found


def test_each_group_has_the_grid_of_its_own_range() -> None:
    """Two bits are four codes: of 0 to 3 with step 1, and of −4 to 8 with step 4."""
    settings = ("quantizer.bits=2", "quantizer.group_size=4", "quantizer.symmetric=false")
    found = rounded([0.0, 0.6, 1.4, 3.0, -4.0, 1.9, 2.1, 8.0], *settings)
    assert found == pytest.approx([0.0, 1.0, 1.0, 3.0, -4.0, 0.0, 4.0, 8.0])


def test_a_symmetric_grid_has_its_zero_in_the_middle() -> None:
    """Two bits are the codes −2, −1, 0 and 1 of a signed step, the largest magnitude at −2."""
    settings = ("quantizer.bits=2", "quantizer.group_size=4", "quantizer.symmetric=true")
    assert rounded([4.0, 2.0, 0.0, -2.0], *settings) == pytest.approx([4.0, 2.0, 0.0, -2.0])
    assert rounded([-4.0, 2.0, 0.0, -2.0], *settings) == pytest.approx([-4.0, 2.0, 0.0, -2.0])
