"""A session of ONNX Runtime on the CPU.

It fuses what it can when it loads; onnxruntime.transformers' offline fusions found nothing more in
these graphs that paid (MiniLM-L6, 1 x 128 tokens, one thread: 60 ms without them, 67 with), so they
are not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from compress.config.errors import UserError
from compress.serve.folder import RunSpec
from compress.serve.session import (
    PAST,
    PRESENT,
    Arrays,
    Session,
    check_decoding,
    check_length,
    check_padding,
)
from compress.system.packages import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

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
        self.precision = spec.option("precision")
        self._positions = spec.option("positions")
        self._session = _session(folder / GRAPH, threads)
        inputs = self._session.get_inputs()
        self._past = {each.name: each.shape for each in inputs if each.name.startswith(PAST)}
        self._inputs = [each.name for each in inputs if each.name not in self._past]
        self.decodes = bool(self._past)

    def run(self, batch: Arrays) -> Float[np.ndarray, "B ..."]:
        """Logits of one padded batch; see `check_length`."""
        check_length(batch, self._positions)
        check_padding(batch, self._inputs)
        inputs = {name: batch[name] for name in self._inputs}
        inputs |= empty_past(self._past, len(inputs[self._inputs[0]]))
        logits: Float[np.ndarray, "B ..."] = self._session.run(["logits"], inputs)[0]
        return logits

    def decode(self, tokens: Int[np.ndarray, "1 L"], count: int) -> Iterator[int]:
        """Greedy decoding, with keys and values that stay in the runtime's memory."""
        if not self.decodes:
            yield from super().decode(tokens, count)
        from onnxruntime import OrtValue

        check_decoding(tokens, count, self._positions)
        names = ["logits", *(PRESENT + name.removeprefix(PAST) for name in self._past)]
        past = {n: OrtValue.ortvalue_from_numpy(v) for n, v in empty_past(self._past, 1).items()}
        length = 0
        for _ in range(count):
            length += tokens.shape[1]
            given = {"input_ids": tokens, "attention_mask": np.ones((1, length), dtype=np.int64)}
            inputs = {n: OrtValue.ortvalue_from_numpy(given[n]) for n in self._inputs}
            logits, *present = self._session.run_with_ort_values(names, {**inputs, **past})
            past = dict(zip(past, present, strict=True))
            tokens = logits.numpy()[:, -1:].argmax(axis=-1)
            yield int(tokens.item())


def empty_past(shapes: Mapping[str, Any], count: int) -> dict[str, Float[np.ndarray, "B H past D"]]:
    """Keys and values of no token.

    Args:
        shapes: of the graph's inputs for them; sizes that are open are no integers there.
        count: rows of the batch.
    """
    return {
        name: np.zeros((count, heads, 0, width), dtype=np.float32)
        for name, (_, heads, _, width) in shapes.items()
    }


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
