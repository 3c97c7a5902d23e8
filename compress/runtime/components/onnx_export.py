"""Exports a transformer to the ONNX graph that ONNX Runtime runs and OpenVINO reads.

Batch and length stay open; a language model's graph has inputs and outputs for a KV cache, see
`traced.py`. The graph's initializers bear the names of torch's parameters, and the node that
multiplies by `<path>.weight` bears the name `<path>`, so that a weight can be found again after a
quantizer has rewritten the graph.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from compress.runtime.components.traced import EXAMPLE_SHAPE, traced
from compress.transformer.stacks import tied_output

if TYPE_CHECKING:
    import onnx
    from transformers import PreTrainedModel

    from compress.interfaces import Processor, Split

EXAMPLE_PADDING = 2  # tokens
PRODUCTS = ("MatMul", "Gemm", "Conv", "Gather")


def export_graph(module: PreTrainedModel, tokenizer: Processor, rows: Split) -> onnx.ModelProto:
    """Exports a model to a float32 graph that contains its weights.

    Args:
        module: plain modules, or stored ones that compute with plain operators; left as it is.
        tokenizer: what it makes of a row is what the graph takes.
        rows: one of them serves as an example; its values leave no trace.
    """
    kept = _KEPT.get()
    if kept is not None and kept.module is module:
        return kept.copied()
    graph, exported = export_program(module, _example(tokenizer, rows))
    # Shapes of single values, some of them wrong: ONNX Runtime's quantizers trip over them.
    graph.graph.ClearField("value_info")
    _forget_origin_(graph)
    _rename_(graph, exported)
    _share_table_(graph, exported)
    if kept is not None:
        kept.module, kept.graph = module, graph
        return kept.copied()
    return graph


@contextmanager
def one_export() -> Iterator[None]:
    """Exports a model once inside the block, however many formats want its graph one by one.

    The model must not change meanwhile.
    """
    token = _KEPT.set(_Kept())
    try:
        yield
    finally:
        _KEPT.reset(token)


@dataclass
class _Kept:
    """The model that was exported last, and its graph."""

    module: PreTrainedModel | None = None
    graph: Any = None

    def copied(self) -> onnx.ModelProto:
        """A copy, which a format may change."""
        return copy.deepcopy(self.graph)


_KEPT: ContextVar[_Kept | None] = ContextVar("one_export", default=None)


def export_program(
    module: PreTrainedModel, example: Mapping[str, Tensor]
) -> tuple[onnx.ModelProto, PreTrainedModel]:
    """The raw graph of torch's exporter, and the model copy that was exported.

    Args:
        module: left as it is.
        example: a batch; its sizes stay open in the graph.
    """
    exported = copy.deepcopy(module).float().cpu().eval()
    exported.config.use_cache = False
    # Without the guards of scaled_dot_product_attention: fewer nodes, and fused by the runtimes.
    exported.set_attn_implementation("eager")
    with quiet():
        whole = traced(exported, example)
        program = torch.onnx.export(
            whole.module,
            (),
            kwargs=whole.example,
            dynamo=True,
            dynamic_shapes=whole.open_sizes,
            input_names=whole.inputs,
            output_names=whole.outputs,
            verbose=False,
        )
    assert program is not None, "the dynamo exporter returns one"
    graph: onnx.ModelProto = program.model_proto
    return graph, exported


def initializer_names(graph: onnx.ModelProto, module: nn.Module) -> dict[str, str]:
    """Maps each parameter that the graph reads to its initializer's name.

    Found by content, as it is or transposed: the exporter folds the transposition of a Linear's
    weight into the weight, and keeps one copy of equal tensors.
    """
    held = {_content(value): name for name, value in initializers(graph)}
    found = {}
    for name, parameter in module.named_parameters():
        value = parameter.detach().float().cpu().numpy()
        for form in (value, value.T):
            if _content(form) in held:
                found[name] = held[_content(form)]
                break
    return found


def initializers(graph: onnx.ModelProto) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Name and value of each initializer."""
    from onnx import numpy_helper

    for each in graph.graph.initializer:
        yield each.name, numpy_helper.to_array(each)


def as_tensor(value: onnx.TensorProto) -> Tensor:
    """A copy for torch, which has no int4: those are int8."""
    from onnx import TensorProto, numpy_helper

    array = numpy_helper.to_array(value)
    is_int4 = value.data_type == TensorProto.INT4
    return torch.from_numpy(array.astype(np.int8) if is_int4 else array.copy())


def transposed_initializers(graph: onnx.ModelProto) -> set[str]:
    """Names of the weights that a MatMul reads as [in, out].

    Found from the products, in whatever format their weights are: the exporter and ONNX Runtime's
    quantizers fold transpositions into some weights and leave them to `Gemm` at others.
    """
    held = {each.name for each in graph.graph.initializer}
    makers = {name: node for node in graph.graph.node for name in node.output}
    found = set()
    for node in graph.graph.node:
        if node.op_type not in ("MatMul", "MatMulInteger", "Gemm"):
            continue
        name = node.input[1]
        transposed = not any(each.name == "transB" and each.i for each in node.attribute)
        while name in makers and makers[name].op_type in ("DequantizeLinear", "Transpose"):
            transposed ^= makers[name].op_type == "Transpose"
            name = makers[name].input[0]
        if name in held and transposed:
            found.add(name)
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Silences prints, logs and warnings of the export tools."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _forget_origin_(graph: onnx.ModelProto) -> None:
    """Drops the exporter's metadata: source paths and lines of this machine."""
    parts = [graph, graph.graph, *graph.graph.node, *graph.graph.initializer]
    for part in (*parts, *graph.graph.input, *graph.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _rename_(graph: onnx.ModelProto, module: nn.Module) -> None:
    """Renames initializers to their parameters, and the nodes that read them to their modules."""
    renamed: dict[str, str] = {}
    for parameter, initializer in initializer_names(graph, module).items():
        renamed.setdefault(initializer, parameter)
    for each in graph.graph.initializer:
        each.name = renamed.get(each.name, each.name)
    taken: set[str] = set()
    for node in graph.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        owners = [name.removesuffix(".weight") for name in node.input if name.endswith(".weight")]
        # Equal weights are one initializer with several readers, but names of nodes are unique.
        if node.op_type in PRODUCTS and owners and owners[0] not in taken:
            node.name = owners[0]
            taken.add(node.name)


def _share_table_(graph: onnx.ModelProto, module: PreTrainedModel) -> None:
    """Lets an output layer whose weight is the embedding table read that, transposed.

    The exporter writes the transposed weight too, if it is small.
    """
    from onnx import helper

    if (tied := tied_output(module)) is None:
        return
    held = dict(initializers(graph))
    table = initializer_names(graph, module)[f"{tied[1]}.weight"]
    turned = held.pop(table).T
    for each in list(graph.graph.initializer):
        if each.name in held and np.array_equal(held[each.name], turned):
            graph.graph.initializer.remove(each)
            node = helper.make_node(
                "Transpose", [table], [each.name], f"{table}/turned", perm=[1, 0]
            )
            graph.graph.node.insert(0, node)


def _content(value: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    return value.dtype.str, value.shape, value.tobytes()


def _example(tokenizer: Processor, rows: Split) -> dict[str, Tensor]:
    """An example batch of one row: tokens repeated or truncated, padding in the first copy."""
    encoded = rows.encode(tokenizer).remove_columns("length")
    batch = rows.collate(tokenizer, [encoded[0]] * EXAMPLE_SHAPE[0])
    example = dict(batch)
    for name, value in batch.items():
        if value.dim() == len(EXAMPLE_SHAPE):  # tokens, not pixels
            example[name] = torch.from_numpy(np.resize(value.numpy(), EXAMPLE_SHAPE))
    if "attention_mask" in example:
        example["attention_mask"][0, -EXAMPLE_PADDING:] = 0
    return example
