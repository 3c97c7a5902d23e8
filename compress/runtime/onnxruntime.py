"""The onnxruntime runtime: executes the model as an ONNX graph, on the CPU alone.

`components/onnx_export.py` makes the graph, `compress/serve/onnxruntime.py` runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.blame import blame
from compress.config.errors import ConfigError, UserError
from compress.interfaces import (
    CompressedModel,
    Device,
    ExportResult,
    Quantizer,
    Runtime,
    StageContext,
    Step,
)
from compress.runtime.components.exportable import check_exportable
from compress.runtime.components.graphs import graph_digest, onnx_facts
from compress.runtime.components.grouped import apart
from compress.runtime.components.onnx_export import (
    as_tensor,
    export_graph,
    initializer_names,
    transposed_initializers,
)
from compress.runtime.components.onnx_formats import FORMATS, OnnxSource
from compress.runtime.components.onnx_grouped import code_bits, grouped_codes
from compress.runtime.components.onnx_quantize import CODES
from compress.runtime.components.session_model import SessionModel
from compress.serve.folder import RunSpec, read_spec
from compress.serve.onnxruntime import GRAPH, OnnxSession
from compress.store.artifact import finalize, new_folder
from compress.system.packages import require
from compress.transformer.positions import position_count
from compress.transformer.torch_model import TorchModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PACKAGES = ("onnxruntime", "onnx", "onnxscript")


@dataclass(frozen=True, kw_only=True)
class OnnxRuntime(Runtime):
    """ONNX Runtime on the CPU."""

    kind = "onnxruntime"
    libraries = ("onnxruntime",)

    @classmethod
    def supports(cls, quantizer: type[Quantizer]) -> bool:
        """Whether the quantizer's format is supported."""
        return quantizer in FORMATS

    def check(self, quantizer: Quantizer, device: Device) -> None:
        """Raises a UserError for unsupported settings, other devices, or a missing package."""
        if device.torch_device != "cpu":
            raise ConfigError(
                f"the onnxruntime runtime runs on cpu, got device={device.torch_device}"
            )
        with blame("device"):  # whatever the format is
            require("the onnxruntime runtime", "onnxruntime", *PACKAGES)
        FORMATS[type(quantizer)](quantizer).check()

    def check_model(self, model: PreTrainedModel, quantizer: Quantizer) -> None:
        """Raises a UserError for an architecture that cannot be exported."""
        check_exportable(model, "onnxruntime")

    def export(
        self, model: CompressedModel, quantizer: Quantizer, folder: Path, ctx: StageContext
    ) -> ExportResult:
        """Exports the model to a graph, converts it to the format and writes it."""
        format_ = FORMATS[type(quantizer)](quantizer)
        model, layers = apart(model, quantizer)
        graph = export_graph(model.module, model.tokenizer, ctx.data.train)
        weights = initializer_names(graph, model.module)
        graph = format_.convert(graph, OnnxSource(model, layers), ctx)
        held = {each.name for each in graph.graph.initializer}
        codes = {name: f"{name}{CODES}" for name in weights.values()}
        weights = {p: codes[n] if codes[n] in held else n for p, n in weights.items()}
        new_folder(folder)
        (folder / GRAPH).write_bytes(graph.SerializeToString())
        model.module.config.save_pretrained(folder)
        spec = RunSpec(
            self.kind,
            type(model.module).__name__,
            options={"precision": format_.precision, "positions": position_count(model.module)},
            weights=weights,
        )
        finalize(model.then(model.module, Step("quantizer", quantizer.describe())), folder, spec)
        module = format_.reference(model.module)
        reference = TorchModel(module, model.tokenizer, ctx.device.torch_device)
        return ExportResult(reference, format_.tolerance, format_.rounds_activations)

    @classmethod
    def graph(cls, folder: Path) -> str:
        """Digest of the graph."""
        return graph_digest(folder, onnx_facts(folder / GRAPH))

    @classmethod
    def check_load(cls, folder: Path, torch_device: str) -> None:
        """Raises a UserError if the device is no CPU, or a package is not installed."""
        if torch_device != "cpu":
            raise UserError(f"{folder} runs on cpu in the onnxruntime runtime, got {torch_device}")
        require("the onnxruntime runtime", "onnxruntime", *PACKAGES)

    @classmethod
    def load(cls, folder: Path, torch_device: str, threads: int | None) -> OnnxModel:
        """Loads the model from a verified folder written by this runtime.

        Raises:
            UserError: ONNX Runtime is not installed, the processor is no CPU, or the graph is
                damaged.
        """
        cls.check_load(folder, torch_device)
        spec = read_spec(folder)
        return OnnxModel(folder, spec, OnnxSession(folder, spec, threads))


class OnnxModel(SessionModel):
    """An inference session, with access to its weights."""

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter by its torch name: float, or symmetric codes."""
        import onnx

        graph = onnx.load(str(self._folder / GRAPH))
        held = {each.name: each for each in graph.graph.initializer}
        transposed, grouped = transposed_initializers(graph), grouped_codes(graph)
        for parameter, name in self._spec.weights.items():
            weight = grouped[name] if name in grouped else as_tensor(held[name])
            yield parameter, weight.T if name in transposed else weight

    def packed_bits(self) -> Mapping[str, int]:
        """Bits per entry of int4 tables, and of codes in groups."""
        import onnx

        graph, int4 = onnx.load(str(self._folder / GRAPH)), onnx.TensorProto.INT4
        packed = {each.name: 4 for each in graph.graph.initializer if each.data_type == int4}
        packed |= code_bits(graph)
        return {parameter: packed[n] for parameter, n in self._spec.weights.items() if n in packed}
