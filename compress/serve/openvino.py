"""A compiled graph of OpenVINO on the CPU.

By default OpenVINO computes in bfloat16 wherever the processor can, whatever the model is stored
in, and rounds what a weight-only Linear reads to int8 on the fly. Here the artifact says what is
computed in: both are set.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from compress.config.errors import UserError
from compress.serve.folder import ROUNDED, RunSpec
from compress.serve.session import (
    Arrays,
    Session,
    check_decoding,
    check_length,
    check_padding,
)
from compress.system.packages import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

GRAPH = "openvino_model.xml"  # as optimum-intel calls it
# To compile takes a quarter of a second for a small model: worth it for a shape that comes so often
# in a row, and never reached while rows of all lengths are scored.
HOT_STREAK = 8
PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "i8": "int8", "u8": "int8"}
TELEMETRY = "openvino_telemetry"
GROUP_SIZE = "DYNAMIC_QUANTIZATION_GROUP_SIZE"


@final
class OpenVinoSession(Session):
    """A compiled graph, and one for the shape that comes again and again."""

    def __init__(self, folder: Path, spec: RunSpec, threads: int | None) -> None:
        """Compiles the graph of a verified folder; null threads are OpenVINO's own choice.

        Raises:
            UserError: OpenVINO is not installed, or the graph is damaged.
        """
        self._folder = folder
        self._positions = spec.option("positions")
        self._specialize = spec.option("specialize")
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": spec.option("precision"),
            GROUP_SIZE: spec.option(ROUNDED) or 0,
        }
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._settings = settings
        compiled = self._compile(self._graph())
        self._inputs = [each.get_any_name() for each in compiled.inputs]
        [(kind, _)] = linear_types(compiled).most_common(1)
        self.precision = "int8" if settings[GROUP_SIZE] else PRECISIONS[kind]
        self._open = compiled.create_infer_request()
        # A language model keeps keys and values from call to call.
        self.decodes = bool(self._open.query_state())
        # The shape that came last, how often in a row, and what is for it alone.
        self._shape: tuple[int, ...] = ()
        self._streak = 0
        self._special: Any = None
        self._decoder: Any = None
        # Two threads that fill one request would get each other's answers.
        self._lock = threading.Lock()

    def run(self, batch: Arrays) -> Float[np.ndarray, "B ..."]:
        """Logits of one padded batch; see `check_length`."""
        # OpenVINO does not check what a lookup asks for: it would give numbers all the same.
        check_length(batch, self._positions)
        check_padding(batch, self._inputs)
        inputs = {name: batch[name] for name in self._inputs}
        with self._lock:
            request = self._request_for(inputs[self._inputs[0]].shape)
            if self.decodes:
                request.reset_state()
            logits: Float[np.ndarray, "B ..."] = request.infer(inputs, share_inputs=True)[0]
        return logits

    def decode(self, tokens: Int[np.ndarray, "1 L"], count: int) -> Iterator[int]:
        """Greedy decoding, with logits of the last token alone."""
        if not self.decodes:
            yield from super().decode(tokens, count)
        check_decoding(tokens, count, self._positions)
        request = self._decoding_request()
        length = 0
        for _ in range(count):
            length += tokens.shape[1]
            given = {"input_ids": tokens, "attention_mask": np.ones((1, length), dtype=np.int64)}
            inputs = {name: given[name] for name in self._inputs}
            tokens = request.infer(inputs, share_inputs=True)[0].argmax(axis=-1)
            yield int(tokens.item())

    def _decoding_request(self) -> Any:
        """One with keys and values of its own."""
        with self._lock:
            if self._decoder is None:
                graph = self._graph()
                last_token_alone_(graph)
                self._decoder = self._compile(graph)
        return self._decoder.create_infer_request()

    def _request_for(self, shape: tuple[int, ...]) -> Any:
        """What infers a batch: with open sizes, or with those of a shape that recurs."""
        if shape != self._shape:
            self._shape, self._streak, self._special = shape, 0, None
        self._streak += 1
        if self._streak == HOT_STREAK and self._specialize:
            graph = self._graph()
            graph.reshape({name: list(shape) for name in self._inputs})
            self._special = self._compile(graph).create_infer_request()
        return self._special or self._open

    def _graph(self) -> Any:
        return read_graph(self._folder / GRAPH)

    def _compile(self, graph: Any) -> Any:
        return import_openvino().Core().compile_model(graph, "CPU", self._settings)


def last_token_alone_(graph: Any) -> None:
    """Takes the other tokens away before the product with the vocabulary.

    Args:
        graph: of a language model, whose logits are made of that product by operators on each
            number; changed.
    """
    openvino = import_openvino()
    opset, node = openvino.opset13, graph.output(0).get_node().input_value(0).get_node()
    while node.get_type_name() != "MatMul":
        parents = [value.get_node() for value in node.input_values()]
        [node] = [each for each in parents if not _is_constant(each)]
    one, end = opset.constant([1]), opset.constant([np.iinfo(np.int64).max])
    last = opset.slice(node.input_value(0), opset.constant([-1]), end, one, one)
    node.input(0).replace_source_output(last.output(0))
    graph.validate_nodes_and_infer_types()


def _is_constant(node: Any) -> bool:
    """Whether a node depends on constants alone."""
    parents = [value.get_node() for value in node.input_values()]
    return node.get_type_name() == "Constant" or (
        bool(parents) and all(_is_constant(each) for each in parents)
    )


def linear_types(compiled: Any) -> Counter[str]:
    """Input types of the Linear layers in the executed graph of a compiled model."""
    kinds: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ops():
        if str(node.get_rt_info()["layerType"].astype(str)) == "FullyConnected":
            kinds[node.input_value(0).get_element_type().get_type_name()] += 1
    return kinds


def import_openvino() -> Any:
    """Imports openvino at first use, without its telemetry.

    Raises:
        UserError: it is not installed.
    """
    require("the openvino runtime", "serve-openvino", "openvino")
    with without_telemetry():
        import openvino

    return openvino


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Hides the package openvino_telemetry from imports in this block.

    Else openvino and nncf report every import and every call to their maker, and write a client id
    into the home folder, unless a file there says no. Without the package they take stand-ins that
    do nothing, and keep them.
    """
    shown = {name: sys.modules[name] for name in (TELEMETRY,) if name in sys.modules}
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        del sys.modules[TELEMETRY]
        sys.modules.update(shown)


def read_graph(path: Path) -> Any:
    """Reads the graph in a model folder.

    Raises:
        UserError: it is damaged.
    """
    openvino = import_openvino()
    try:
        return openvino.Core().read_model(path)
    except RuntimeError as error:
        raise UserError(f"{path} or its .bin is damaged: OpenVINO cannot read it") from error
