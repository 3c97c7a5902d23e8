"""A compiled graph of OpenVINO on the CPU.

By default OpenVINO computes in bfloat16 wherever the processor can, whatever the model is stored
in, and rounds what a weight-only Linear reads to int8 on the fly. Here the format says what is
computed in: both are set.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from compress.config.errors import UserError
from compress.serve.folder import RunSpec
from compress.serve.session import Arrays, Session, check_length
from compress.system.packages import require

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

GRAPH = "openvino_model.xml"  # as optimum-intel calls it
# To compile takes a quarter of a second for a small model: worth it for a shape that comes so often
# in a row, and never reached while rows of all lengths are scored.
HOT_STREAK = 8
PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "i8": "int8", "u8": "int8"}
TELEMETRY = "openvino_telemetry"


@final
class OpenVinoSession(Session):
    """A compiled graph, and one for the shape that comes again and again."""

    def __init__(self, folder: Path, spec: RunSpec, threads: int | None) -> None:
        """Compiles the graph of a verified folder; null threads are OpenVINO's own choice.

        Raises:
            UserError: OpenVINO is not installed, or the graph is damaged.
        """
        self._folder = folder
        self._positions = spec.options["positions"]
        self._specialize = spec.options["specialize"]
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": spec.options["precision"],
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        }
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._settings = settings
        self._compiled = self._compile(None)
        self._inputs = [each.get_any_name() for each in self._compiled.inputs]
        [(kind, _)] = linear_types(self._compiled).most_common(1)
        self.precision = PRECISIONS[kind]
        # The shape that came last, how often in a row, and the graph that is for it alone.
        self._shape: tuple[int, ...] = ()
        self._streak = 0
        self._special: Any = None

    def run(self, batch: Arrays) -> Float[np.ndarray, "B ..."]:
        """Logits of one padded batch; see `check_length`."""
        # OpenVINO does not check what a lookup asks for: it would give numbers all the same.
        check_length(batch, self._positions)
        inputs = {name: batch[name] for name in self._inputs}
        logits: Float[np.ndarray, "B ..."] = self._graph_for(inputs[self._inputs[0]].shape)(inputs)[
            0
        ]
        return logits

    def _graph_for(self, shape: tuple[int, ...]) -> Any:
        """The compiled graph: the dynamic one, or a static one for a recurring shape."""
        if shape != self._shape:
            self._shape, self._streak, self._special = shape, 0, None
        self._streak += 1
        if self._streak == HOT_STREAK and self._specialize:
            self._special = self._compile(shape)
        return self._special or self._compiled

    def _compile(self, shape: tuple[int, ...] | None) -> Any:
        """Compiles the graph for dynamic inputs or one static shape."""
        graph = read_graph(self._folder / GRAPH)
        if shape is not None:
            graph.reshape({name: list(shape) for name in self._inputs})
        return import_openvino().Core().compile_model(graph, "CPU", self._settings)


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
