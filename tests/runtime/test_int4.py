"""Symmetric int4 in graphs: torch's codes, scales that are equal, and the bytes of both."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compress.config.errors import UserError
from compress.interfaces import CompressedModel, InferenceModel, Runtime
from compress.measure.score import predict_all
from compress.runtime.components.int4 import int4_bound, int4_groups
from compress.runtime.components.onnx_tables import quantize_tables
from compress.runtime.onnxruntime import OnnxRuntime
from compress.runtime.openvino import OpenVino
from compress.serve.folder import folder_bytes
from compress.store.artifact import load
from compress.transformer.bit_packing import pack_codes
from compress.transformer.packing import dequantize_groups, quantize_groups
from compress.transformer.quantized_embedding import Int4Embedding
from compress.transformer.stacks import embedding_tables
from compress.transformer.stored_modules import QuantizedModule
from tests.runtime.openvino_models import Contexts, Teachers, quantizer_of, with_noise
from tests.slow import slow
from tests.tiny import torch_export

pytest.importorskip("openvino")
pytestmark = pytest.mark.usefixtures("export_once")

RUNTIMES: dict[str, Runtime] = {
    "openvino": OpenVino(specialize=True, activation_group=None),
    "onnxruntime": OnnxRuntime(),
}
TABLES = "bert.embeddings.word_embeddings"


def written(
    model: CompressedModel, runtime: str, choice: tuple[str, ...], ctx: Contexts, folder: Path
) -> InferenceModel:
    """The model that a runtime's artifact is."""
    RUNTIMES[runtime].export(model, quantizer_of(*choice), folder, ctx(model))
    return load(folder, threads=1)


def dequantized(model: InferenceModel) -> dict[str, Tensor]:
    """The float weights of a torch model's int4 modules."""
    parts = model.module.named_modules()  # type: ignore[attr-defined]
    return {
        f"{name}.weight": part.matrix()
        for name, part in parts
        if isinstance(part, QuantizedModule) and part.bits == 4
    }


CODES = [
    (
        "openvino",
        ("rtn", "symmetric=true", "group_size=8", "embeddings=int4"),
        "rtn",
    ),
    ("onnxruntime", ("int8_dynamic", "embeddings=int4"), "int8_weight_only"),
    *slow(
        [
            ("openvino", ("int8_weight_only", "embeddings=int4"), "int8_weight_only"),
            ("openvino", ("int8_static", "embeddings=int4"), "int8_weight_only"),
            ("onnxruntime", ("int8_static", "embeddings=int4"), "int8_weight_only"),
        ]
    ),
]


@pytest.mark.parametrize(("runtime", "choice", "in_torch"), CODES)
def test_the_codes_are_torchs(
    runtime: str,
    choice: tuple[str, ...],
    in_torch: str,
    biased: CompressedModel,
    context: Contexts,
    tmp_path: Path,
) -> None:
    made = written(biased, runtime, choice, context, tmp_path / "graph")
    torch_export(biased, quantizer_of(in_torch, *choice[1:]), tmp_path / "torch")
    here = load(tmp_path / "torch")
    codes, found = dict(here.weights()), dict(made.weights())
    names = set(dequantized(here))
    assert len(names) == (17 if "rtn" in choice else 3)
    for name in names:
        assert torch.equal(found[name], codes[name]), name
    assert {name for name, bits in made.packed_bits().items() if bits == 4} == names


@pytest.mark.parametrize("architecture", ["bert", *slow(["gpt2", "electra", "distilbert"])])
def test_openvino_computes_with_torchs_weights(
    architecture: str, shallow: Teachers, context: Contexts, tmp_path: Path
) -> None:
    """Scales are equal in bfloat16 and float16, so that dequantized weights are, too."""
    model = with_noise(shallow(architecture))
    choice = quantizer_of("rtn", "symmetric=true", "group_size=16", "embeddings=int4")
    torch_export(model, choice, tmp_path / "torch")
    expected = dequantized(load(tmp_path / "torch"))
    exported = OpenVino(specialize=True, activation_group=None).export(
        model, choice, tmp_path / "graph", context(model)
    )
    found = dict(exported.reference.module.named_parameters())  # type: ignore[attr-defined]
    assert expected
    for name, weight in expected.items():
        forms = (weight, weight.T)
        same = (torch.equal(form, found[name]) for form in forms)  # GPT-2's are [in, out]
        assert any(same), name
    rows = context(model).data.validation
    pair = [predict_all(load(tmp_path / each), rows, 4) for each in ("torch", "graph")]
    assert (pair[0] - pair[1]).abs().max() < 1e-5


def test_onnx_runtime_looks_up_torchs_rows(
    biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    """Every id of a table of 40 columns, whose second group is shorter; and the empty last row."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    weight = torch.randn(50, 40, generator=torch.Generator().manual_seed(0))
    weight[-1] = 0
    biased.module.get_submodule(TABLES).weight = nn.Parameter(weight)
    held = numpy_helper.from_array(weight.numpy(), f"{TABLES}.weight")
    ends = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 40]),
    ]
    node = helper.make_node("Gather", [held.name, "ids"], ["rows"], TABLES)
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:], [held])
    opsets = [helper.make_opsetid("", 20)]
    made = quantize_tables(
        helper.make_model(graph, opset_imports=opsets, ir_version=9), biased, "int4"
    )
    session = onnxruntime.InferenceSession(made.SerializeToString())
    (found,) = session.run(None, {"ids": torch.arange(50).numpy()})
    expected = Int4Embedding.of(nn.Embedding.from_pretrained(weight)).matrix()
    assert torch.equal(torch.from_numpy(found), expected)


def test_a_table_too_large_for_float16_is_refused_in_onnx_runtime(
    biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    with torch.no_grad():
        biased.module.get_submodule(TABLES).weight[3, 3] = 7e4
    with pytest.raises(UserError, match=r"float16 in the onnxruntime runtime: .* at most 65504"):
        written(biased, "onnxruntime", ("int8_dynamic", "embeddings=int4"), context, tmp_path)


@pytest.mark.parametrize("size", [1.0, 1e4, 1e-3, 1e-6, 1e-9, 0.0])
def test_float16_scales_stand_for_the_same_weights_or_keep_the_bound(size: float) -> None:
    weight = torch.randn(64, 96, generator=torch.Generator().manual_seed(0)) * size
    codes, scale = int4_groups(weight, 32)
    assert scale.dtype == torch.float16
    restored = codes * scale.float().repeat_interleave(32, dim=1)
    stored, exact, zero = quantize_groups(weight, 32, symmetric=True)
    expected = dequantize_groups(pack_codes(stored), exact, zero, 32, 96)
    # 2^-17 is 7.6e-6, an eighth of the largest weight of a group.
    assert torch.equal(restored, expected) == (size >= 1e-3 or size == 0)
    assert ((restored - weight).abs() <= int4_bound(weight, 32)).all()


SIZES = {
    "torch": ("int8_dynamic",),
    "openvino": ("int8_static",),
    "onnxruntime": ("int8_static",),
}


@pytest.mark.parametrize("runtime", SIZES)
def test_a_table_takes_four_and_a_half_bits_an_entry(
    runtime: str, shallow: Teachers, context: Contexts, tmp_path: Path
) -> None:
    """4 for its code and half of one for a scale of 16 bits that 32 entries share."""
    model = with_noise(shallow("bert"))
    tables = embedding_tables(model.module)
    entries = sum(table.weight.numel() for table in tables.values())
    rows = sum(table.num_embeddings for table in tables.values())
    found = {}
    for choice in ("none", "int4"):
        how, folder = (*SIZES[runtime], f"embeddings={choice}"), tmp_path / choice
        if runtime == "torch":
            torch_export(model, quantizer_of(*how), folder)
        else:
            written(model, runtime, how, context, folder)
        # The nodes of OpenVINO's graph are in a file of their own.
        graph = folder / "openvino_model.bin"
        found[choice] = graph.stat().st_size if graph.exists() else folder_bytes(folder)
    # Rows of 16 entries are groups of their own.
    bits = 4 * entries + 16 * rows
    names_and_nodes = 4000
    assert found["none"] - found["int4"] == pytest.approx(
        4 * entries - bits / 8, abs=names_and_nodes
    )
