"""A session of ONNX Runtime on the CPU.

It fuses what it can when it loads; onnxruntime.transformers' offline fusions found nothing more in
these graphs that paid (MiniLM-L6, 1 x 128 tokens, one thread: 60 ms without them, 67 with), so they
are not used.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from compress.config.errors import UserError
from compress.serve.folder import RunSpec
from compress.serve.session import Arrays, Session, check_length
from compress.system.packages import require

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

GRAPH = "model.onnx"  # as optimum calls it
ERRORS_ALONE = 3  # ONNX Runtime's log level; it warns of its own choices
PROCESSOR = Path("/proc/cpuinfo")


@final
class OnnxSession(Session):
    """An inference session."""

    def __init__(self, folder: Path, spec: RunSpec, threads: int | None) -> None:
        """Loads the graph of a verified folder; null threads are ONNX Runtime's own choice.

        Raises:
            UserError: ONNX Runtime is not installed, or cannot run the graph.
        """
        require("the onnxruntime runtime", "serve-onnxruntime", "onnxruntime")
        self.precision = spec.options["precision"]
        self._positions = spec.options["positions"]
        self._session = _session(folder / GRAPH, threads)
        self._inputs = [each.name for each in self._session.get_inputs()]

    def run(self, batch: Arrays) -> Float[np.ndarray, "B ..."]:
        """Logits of one padded batch; see `check_length`."""
        check_length(batch, self._positions)
        inputs = {name: batch[name] for name in self._inputs}
        logits: Float[np.ndarray, "B ..."] = self._session.run(["logits"], inputs)[0]
        return logits


@cache
def has_vnni() -> bool:
    """Whether the processor adds up products of bytes in 32 bits; False where it is not known."""
    return PROCESSOR.is_file() and "avx512_vnni" in PROCESSOR.read_text().split()


def _session(path: Path, threads: int | None) -> Any:
    """A session on the CPU.

    Raises:
        UserError: it cannot run the graph in the file.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ALONE
    if not has_vnni():
        # Sums of int8 products overflow there; these kernels are slower and exact. With VNNI they
        # give the same logits and take 1.7 times as long.
        options.add_session_config_entry("session.x64quantprecision", "1")
    damaged = (states.InvalidProtobuf, states.InvalidGraph, states.InvalidArgument, states.Fail)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (*damaged, states.NotImplemented, states.NoSuchFile) as error:
        raise UserError(f"{path} is damaged: ONNX Runtime cannot read it") from error
