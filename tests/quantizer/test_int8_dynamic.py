from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from compress.build import build_run
from compress.config.errors import UserError
from compress.interfaces import CompressedModel
from compress.quantizer.int8_dynamic import Int8Dynamic, Int8DynamicLinear, activation_max, prepack
from compress.transformer.packing import quantize_per_channel
from tests.configs import compose_config


def test_by_hand() -> None:
    weight = torch.tensor([[1.27, -0.635, 0.0], [0.0, 0.0, 0.0], [-2.54, 0.03, 2.54]])
    quantized, scale = quantize_per_channel(weight)
    assert quantized.tolist() == [[127, -64, 0], [0, 0, 0], [-127, 2, 127]]
    assert scale.tolist() == pytest.approx([0.01, 1.0, 0.02])


def test_zeros_stay_zeros() -> None:
    weight = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    weight[:, ::2] = 0
    assert (quantize_per_channel(weight)[0][:, ::2] == 0).all()


def layer(codes: Tensor, scale: Tensor, bias: Tensor | None = None) -> Int8DynamicLinear:
    """A layer with the codes and scales given."""
    made = Int8DynamicLinear(codes.shape[1], codes.shape[0], bias is not None)
    state = {"qweight": codes, "scale": scale}
    made.load_state_dict(state if bias is None else {**state, "bias": bias})
    return made


def expected(layer: Int8DynamicLinear, x: Tensor) -> Tensor:
    """The same in whole numbers, exact: one scale per token, one per output channel."""
    scale = x.double().abs().amax(dim=-1, keepdim=True) / activation_max()
    codes = (x.double() / torch.where(scale > 0, scale, 1.0)).round().long()
    total = (codes @ layer.qweight.long().T).double() * scale * layer.scale.double()
    return total if layer.bias is None else total + layer.bias.double()


def whole(rows: int, columns: int) -> Tensor:
    """Activations that are whole steps of their token's scale, so that no rounding is in doubt."""
    generator = torch.Generator().manual_seed(rows * columns)
    limit = activation_max()
    codes = torch.randint(-limit, limit + 1, (rows, columns), generator=generator).float()
    codes[:, 0] = limit
    return codes * 2.0 ** torch.arange(rows)[:, None] / 8


@pytest.mark.parametrize("columns", [1, 2, 3, 5, 8, 15, 17, 31, 64, 65, 96, 257, 288, 1000])
@pytest.mark.parametrize("outputs", [1, 2, 7, 33])
def test_it_computes_exactly_what_whole_numbers_give(outputs: int, columns: int) -> None:
    torch.manual_seed(0)
    for rows in (1, 2, 5, 40):
        x = whole(rows, columns)
        for bias in (None, torch.randn(outputs)):
            codes = torch.randint(-127, 128, (outputs, columns), dtype=torch.int8)
            made = layer(codes, torch.rand(outputs) + 0.5, bias)
            reference = expected(made, x)
            limit = 1e-6 * reference.abs().amax(dim=1, keepdim=True)
            assert ((made(x).double() - reference).abs() <= limit).all()


@pytest.mark.parametrize("columns", [1, 2, 7, 16, 64, 1000, 4096])
def test_the_largest_sums_do_not_overflow(columns: int) -> None:
    codes = torch.full((3, columns), 127, dtype=torch.int8)
    codes[1] = -127
    x = torch.ones(5, columns)
    x[2] = -1
    made = layer(codes, torch.ones(3))
    assert torch.allclose(made(x).double(), expected(made, x), rtol=1e-6)


def test_without_vnni_activations_have_seven_bits_and_sums_do_not_overflow() -> None:
    """Fbgemm's switch makes a processor with VNNI compute as one without."""
    code = """
import torch
from compress.quantizer import int8_dynamic
made = int8_dynamic.Int8DynamicLinear(64, 1, False)
made.qweight.fill_(127)
print(int8_dynamic.activation_max(), made(torch.ones(1, 64)).item())
packed = int8_dynamic.prepack(made.qweight, made.scale)
print(int8_dynamic._multiply(torch.ones(1, 64), packed, 127).item())
"""
    switch = {**os.environ, "FBGEMM_ENABLE_INSTRUCTIONS": "AVX2"}
    words = subprocess.check_output([sys.executable, "-c", code], env=switch, text=True).split()
    assert words[0] == "63"
    assert float(words[1]) == pytest.approx(127 * 64)
    assert float(words[2]) < 0.01 * 127 * 64, "else the seventh bit is for nothing"


def test_activations_have_eight_bits_where_the_processor_has_vnni() -> None:
    if not torch.cpu.get_capabilities().get("avx512_vnni", False):
        pytest.skip("this processor has no AVX-512 VNNI")
    assert activation_max() == 127


def test_an_outlier_in_one_token_costs_the_others_nothing() -> None:
    """Unlike in torch's own dynamic kernel, which has one scale for all tokens."""
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 32, bias=False).requires_grad_(False), torch.randn(9, 64)
    x[3, 5] = 1000
    made, exact = Int8DynamicLinear.of(linear), linear(x)
    kernels = (
        made(x),
        torch.ops.quantized.linear_dynamic(x, prepack(made.qweight, made.scale), True),
    )
    others = torch.arange(9) != 3
    errors = [float((y - exact)[others].norm() / exact[others].norm()) for y in kernels]
    # Steps of a hundredth of a token's largest value, against steps of 8 for all.
    assert errors[0] < 0.02
    assert errors[1] > 0.5


@pytest.mark.parametrize("columns", [1, 2, 7, 16, 33, 64])
@pytest.mark.parametrize("bias", [True, False])
def test_zeros_and_what_is_not_finite(columns: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(columns, 5, bias=bias), torch.randn(6, columns)
    x[1], x[2, 0], x[3, -1] = 0, torch.nan, torch.inf
    x[4], x[5] = 1e-44, x[5] * 1e30
    made = Int8DynamicLinear.of(linear)
    found = made(x)
    assert torch.equal(found[1], linear.bias if bias else torch.zeros(5))
    assert not found[2:4].isfinite().any(), "it is not hidden"
    assert torch.allclose(found[4], linear.bias if bias else torch.zeros(5))
    assert torch.equal(found[0], made(x[:1])[0])
    assert (found[5] - linear(x[5])).abs().max() < 0.02 * 1e30 * columns


def test_a_token_alone_and_in_any_batch_gives_the_same_bits() -> None:
    torch.manual_seed(0)
    for columns, outputs in ((64, 32), (384, 1536), (97, 5)):
        made, x = Int8DynamicLinear.of(nn.Linear(columns, outputs)), torch.randn(67, columns)
        x *= 10 ** torch.empty(67, 1).uniform_(-3, 3)
        together = made(x)
        assert all(torch.equal(made(x[i : i + 1])[0], together[i]) for i in range(67))
        assert torch.equal(made(x[5:30].reshape(5, 5, columns)).flatten(0, 1), together[5:30])


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta", "gpt2", "llama"])
def test_the_logits_of_a_row_do_not_depend_on_its_batch(
    architecture: str, teachers: Callable[[str], CompressedModel]
) -> None:
    teacher = teachers(architecture)
    module = copy.deepcopy(teacher.module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(6)  # else logits of random models hardly depend on what they read
        module.get_input_embeddings().weight[7] *= 200
    Int8Dynamic(embeddings="none").quantize_torch_(module)
    ids = torch.randint(8, 200, (4, 12), generator=torch.Generator().manual_seed(0))
    ids[2, 3], ids[1, 7:] = 7, module.config.pad_token_id  # an outlier in one row, and padding
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    with torch.inference_mode():
        together = module(input_ids=ids, attention_mask=mask).logits
        for row, length in enumerate([12, 7, 12, 12]):
            one = {"input_ids": ids[row : row + 1], "attention_mask": mask[row : row + 1]}
            alone = module(**{name: tensor[:, :length] for name, tensor in one.items()}).logits[0]
            # What is left is float32's own: sums of attention in another order.
            assert torch.allclose(alone, together[row], atol=1e-5, rtol=0)
    assert together.std() > 0.01


def test_a_copy_and_a_layer_without_bias_work() -> None:
    linear = Int8DynamicLinear.of(nn.Linear(8, 4, bias=False))
    x = torch.randn(2, 8)
    first = linear(x)
    assert torch.equal(copy.deepcopy(linear)(x), first)
    assert torch.equal(linear(x.requires_grad_()), first)
    sizes = {"in_features": 8, "out_features": 4, "bias": False}
    assert linear.arguments() == {**sizes, "smoothed": False}


@pytest.mark.parametrize("name", ["int8_dynamic", "qat_int8"])
def test_it_is_refused_on_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    cfg = compose_config("teacher=tiny_random", "device=cuda", f"quantizer={name}")
    with pytest.raises(UserError, match=r"(QatInt8|Int8Dynamic) runs on cpu in the torch"):
        build_run(cfg)


@pytest.mark.parametrize("name", ["int8_dynamic", "qat_int8"])
def test_a_processor_without_the_kernels_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.quantizer.int8_dynamic.supported_engines", lambda: ["qnnpack"])
    with pytest.raises(UserError, match="need an x86 processor with AVX2"):
        build_run(compose_config("teacher=tiny_random", f"quantizer={name}"))
    with pytest.raises(UserError, match="need an x86 processor with AVX2"):
        Int8DynamicLinear.of(nn.Linear(4, 2))(torch.randn(1, 4))
