"""Whether an artifact computes what it should, held against plain transformers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.monitor import Forecast
from compress.serve.folder import folder_bytes
from compress.serve.onnxruntime import GRAPH as ONNX
from compress.serve.openvino import GRAPH as OPENVINO
from tests.matrix.graphs import onnx_matrices, openvino_matrices
from tests.matrix.made import Made, same_as
from tests.matrix.models import batch_of, read_plain
from tests.matrix.references import (
    LINEARS,
    layer_linears,
    linears,
    linears_that_count,
    matrix,
    other_matrices,
    with_layers_skipped,
    with_matrices,
    with_units_zeroed,
)
from tests.matrix.rounding import PRODUCT_ERROR, WEIGHT_ERROR, check_products, check_weights
from tests.matrix.stages import Stage, weight_bits

EQUAL_IN_RUNTIME = 1e-3  # of the largest logit, or of 1
SPARSITY = 0.5  # what every mask pruner's yaml asks for
# Formats that choose by what layers put out: their weights are not the nearest.
BY_DATA = ("gptq", "awq", "smoothquant")
# E4M3 rounds to 4 significant bits: by 2⁻⁴ at most, and some 2⁻⁵ of the norm.
FP8_ERROR, FP8_MULTIPLE = 0.04, 16
# How far activations in a format may take the logits, as a share of their spread, and how they must
# correlate. In static ranges OpenVINO rounds the products of attention as well.
ROUNDED = {"bf16": (0.2, 0.95), "fp16": (0.05, 0.99), "int8_static": (0.6, 0.8)}
INTEGERS = (0.35, 0.93)
GRAPHS = {"openvino": (openvino_matrices, OPENVINO), "onnxruntime": (onnx_matrices, ONNX)}
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def as_teacher(made: Made) -> None:
    """The logits are the teacher's."""
    same_as(made, made.model.plain())


def as_other(made: Made) -> None:
    """The logits are those of the checkpoint that the student is."""
    same_as(made, made.model.plain(made.model.other))
    _loads(made)


def as_itself(made: Made) -> None:
    """Plain transformers reads the artifact, and computes the same with it."""
    same_as(made, _loads(made))


def as_itself_if_plain(made: Made) -> None:
    """The same, where its shapes are such that plain transformers can read it."""
    left = made.left
    same_as(made, copy.deepcopy(made.module) if left is None else left)


def masked(made: Made) -> None:
    """Half of the weights of every Linear in the layers are zero, the others are all there."""
    left = _loads(made)
    same_as(made, left)
    weights = {name: matrix(part) for name, part in layer_linears(left).items()}
    weights |= {name: left.get_parameter(name) for name in other_matrices(left)}
    for name, weight in weights.items():
        zeros = float((weight == 0).float().mean())
        if abs(zeros - SPARSITY) > 1 / weight.shape[-1]:
            raise ValueError(f"{zeros:.0%} of {name} are zero, asked were {SPARSITY:.0%}")


def masked_by_magnitude(made: Made) -> None:
    """The zeros are where the teacher's weights are smallest."""
    masked(made)
    plain = made.model.plain()
    halves = {}
    for name, part in layer_linears(plain).items():
        weight = matrix(part)
        middle = weight.abs().flatten().kthvalue(round(weight.numel() * SPARSITY)).values
        halves[name] = torch.where(weight.abs() > middle, weight, 0)
    same_as(made, with_matrices(plain, halves))


def without_units(made: Made) -> None:
    """The logits are those of the teacher with units at zero, and low ranks in full shape."""
    same_as(made, with_units_zeroed(made.model.plain(), made.module))


def without_layers(made: Made) -> None:
    """The logits are those of the teacher when layers hand on what they get."""
    same_as(made, with_layers_skipped(made.model.plain(), made.module))


def as_teacher_on_train_rows(made: Made) -> None:
    """The logits are the teacher's on the rows that say which tokens stay."""
    same_as(made, made.model.plain(), role="train")


def rounded(made: Made) -> None:
    """Weights are the float model's to the nearest, and the logits are about its logits.

    Where rounding may send a token to another expert: those of plain transformers in that type.
    """
    dtype, plain, left = HALVES[made.stage.title], made.model.plain(), _loads(made)
    for name, weight in plain.named_parameters():
        found = left.get_parameter(name)
        if not torch.equal(found, weight.to(dtype).float()) and not torch.equal(found, weight):
            raise ValueError(f"{name} is not rounded to the nearest")
    if hasattr(plain.config, "num_local_experts"):
        plain = read_plain(made.model.folder, made.model.head, dtype)
    same_as(made, plain, rounds=ROUNDED[made.stage.title])


def weights_in_few_bits(made: Made) -> None:
    """The logits are those of plain transformers with the weights that the artifact stands for."""
    same_as(made, _dequantized(made, made.model.plain()))


def all_in_few_bits(made: Made) -> None:
    """The same with activations rounded, which takes the logits further."""
    trained = made.stage.title.startswith("qat")
    plain = read_plain(made.stored("quantizer"), made.model.head) if trained else None
    dequantized = _dequantized(made, plain or made.model.plain())
    same_as(made, dequantized, rounds=INTEGERS)


def in_fp8(made: Made) -> None:
    """The same in 8-bit floats, but for Linear layers of sizes that GPUs' kernels do not take."""
    plain = made.model.plain()
    parts = {name: made.module.get_submodule(name) for name, _ in linears(plain)}
    for name, part in parts.items():
        fits = not any(size % FP8_MULTIPLE for size in matrix(plain.get_submodule(name)).shape)
        if fits is isinstance(part, LINEARS):
            raise ValueError(f"{name} is {'' if fits else 'not '}left as it was")
    matrices = {name: matrix(part).float() for name, part in parts.items()}
    check_weights(plain, matrices, FP8_ERROR)
    same_as(made, with_matrices(plain, matrices), rounds=INTEGERS)


def weights_in_few_bits_of_a_graph(made: Made) -> None:
    """The same in a runtime whose graph holds what makes the weights float again."""
    plain = made.model.plain()
    if left := other_matrices(plain):
        raise ValueError(f"{left[0]} is left as it was")
    batch = batch_of(made.model.processor, made.model.rows("evaluation")[:1])
    names = linears_that_count(plain, batch)
    read, file = GRAPHS[made.stage.runtime]
    matrices = read(made.artifact / file, names)
    if missing := sorted(set(names) - set(matrices)):
        raise ValueError(f"{missing[0]} is not in the graph")
    _check_rounded(made, plain, matrices)
    same_as(made, with_matrices(plain, matrices), share=EQUAL_IN_RUNTIME)


def in_runtime(made: Made) -> None:
    """The logits are the teacher's in another runtime's float32."""
    same_as(made, made.model.plain(), share=EQUAL_IN_RUNTIME)


def rounded_in_runtime(made: Made) -> None:
    """The logits are near the teacher's in another runtime's integers."""
    same_as(made, made.model.plain(), rounds=ROUNDED.get(made.stage.title, INTEGERS))


def as_foreseen(made: Made, told: Forecast) -> None:
    """The artifact has as many parameters as was told before work, and no fewer bytes.

    Raises:
        ValueError: it has not.
    """
    counted = sum(weight.numel() for _, weight in made.loaded.weights())
    if told.parameters not in (None, counted):
        raise ValueError(f"{counted} parameters, {told.parameters} were predicted")
    if told.least_bytes is not None and folder_bytes(made.artifact) < told.least_bytes:
        raise ValueError(f"fewer bytes than the {told.least_bytes} that were predicted")


Evaluator = Callable[[Made], None]
EVALUATORS: dict[str, Evaluator] = {
    "student=layers": without_layers,
    "student=pretrained": as_other,
    "pruner=gradual": masked,
    "pruner=movement": masked,
    "pruner=wanda": masked,
    "pruner=sparsegpt": masked,
    "pruner=magnitude": masked_by_magnitude,
    "pruner=heads": without_units,
    "pruner=neurons": without_units,
    "pruner=lowrank": without_units,
    "pruner=chain": without_units,
    "pruner=layers": without_layers,
    "pruner=hidden": as_itself_if_plain,
    "pruner=vocabulary": as_teacher_on_train_rows,
    "quantizer=bf16": rounded,
    "quantizer=fp16": rounded,
    "quantizer=fp8": in_fp8,
    "quantizer=int8_weight_only": weights_in_few_bits,
    "quantizer=nf4": weights_in_few_bits,
    "quantizer=rtn": weights_in_few_bits,
    "quantizer=gptq": weights_in_few_bits,
    "quantizer=awq": weights_in_few_bits,
    "quantizer=hqq": weights_in_few_bits,
    "quantizer=int8_dynamic": all_in_few_bits,
    "quantizer=qat_int8": all_in_few_bits,
    "quantizer=smoothquant": all_in_few_bits,
}
IN_RUNTIMES: dict[str, Evaluator] = {
    "onnxruntime quantizer=none": in_runtime,
    "openvino quantizer=none": in_runtime,
    "openvino quantizer=int8_weight_only": weights_in_few_bits_of_a_graph,
    **{
        f"{runtime} quantizer={name}": weights_in_few_bits_of_a_graph
        for runtime in ("openvino", "onnxruntime")
        for name in ("rtn", "gptq", "awq", "hqq")
    },
}


def evaluator_of(stage: Stage) -> Evaluator:
    """What holds a stage's artifact against plain transformers."""
    if stage.runtime != "torch":
        return IN_RUNTIMES.get(stage.name, rounded_in_runtime)
    return as_teacher if stage.plain else EVALUATORS.get(stage.choice, as_itself)


def _loads(made: Made) -> PreTrainedModel:
    """The artifact in plain transformers.

    Raises:
        ValueError: only we can read it.
    """
    left = made.left
    if left is None:
        raise ValueError("plain transformers cannot read what should be a plain model")
    return left


def _dequantized(made: Made, plain: PreTrainedModel) -> PreTrainedModel:
    """The plain model with the weights that the artifact stands for.

    Raises:
        ValueError: a Linear is left as it was, or its weight is too far from what it was.
    """
    parts = {name: made.module.get_submodule(name) for name, _ in linears(plain)}
    left = [name for name, part in parts.items() if isinstance(part, LINEARS)]
    left += other_matrices(made.module)
    if left:
        raise ValueError(f"{left[0]} is left as it was")
    matrices = {name: matrix(part) for name, part in parts.items()}
    _check_rounded(made, plain, matrices)
    return with_matrices(plain, matrices)


def _check_rounded(made: Made, plain: PreTrainedModel, matrices: Mapping[str, Tensor]) -> None:
    """Holds rounded weights against those that they were made of.

    Raises:
        ValueError: one is too far off.
    """
    bits = weight_bits(made.stage)
    if made.stage.title in BY_DATA:
        rows = made.model.rows("train")
        alone = (batch_of(made.model.processor, [row]) for row in rows)
        chosen = matrices if made.stage.title == "smoothquant" else layer_linears(plain)
        products = {name: matrices[name] for name in chosen if name in matrices}
        check_products(plain, products, alone, PRODUCT_ERROR[bits])
        # What GPTQ and AWQ do not choose, such as the head, is rounded to nearest.
        rest = {name: matrices[name] for name in matrices.keys() - chosen.keys()}
    else:
        rest = matrices
    check_weights(plain, rest, WEIGHT_ERROR[bits])
