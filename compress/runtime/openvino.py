"""The openvino runtime: Intel's graph compiler for CPUs.

The model goes there as the ONNX graph of `components/onnx_export.py`;
`compress/serve/openvino.py` runs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.blame import blame
from compress.config.errors import ConfigError, UserError
from compress.config.fields import PositiveInt
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
from compress.runtime.components.graphs import graph_digest, openvino_facts
from compress.runtime.components.grouped import apart
from compress.runtime.components.onnx_export import export_graph, initializer_names
from compress.runtime.components.openvino_activations import (
    SETTING,
    check_processor,
    check_sizes,
)
from compress.runtime.components.openvino_compression import fitting_group
from compress.runtime.components.openvino_formats import FORMATS
from compress.runtime.components.openvino_graph import (
    OpenVinoSource,
    all_readers,
    constants,
    name_weights_,
    table_readers,
    transposed_constants,
    weight_bits,
    weight_readers,
    weight_tensor,
    with_weights,
)
from compress.runtime.components.openvino_rounding import plain_weights
from compress.runtime.components.openvino_state import keep_state_
from compress.runtime.components.session_model import SessionModel
from compress.serve.folder import ROUNDED, RunSpec, read_spec
from compress.serve.openvino import GRAPH, OpenVinoSession, import_openvino, read_graph
from compress.store.artifact import finalize, new_folder
from compress.system.packages import choice_name, require
from compress.transformer.blocks import every_linear
from compress.transformer.positions import position_count
from compress.transformer.torch_model import TorchModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FLOAT_BITS = 32
ROUNDED_TOLERANCE = 0.5  # as of int8_dynamic, which has one scale for all inputs of a token
# To export; what was exported needs openvino alone.
PACKAGES = ("openvino", "nncf", "onnx", "onnxscript")
# By model type, why not: OpenVINO reads the graph of these and gives other numbers.
UNSUPPORTED = {"fnet": "its Fourier transform does not give the same numbers there"}


@dataclass(frozen=True, kw_only=True)
class OpenVino(Runtime):
    """OpenVINO on the CPU.

    Attributes:
        specialize: whether a shape that occurs repeatedly gets its own compiled graph, which is a
            tenth faster at batch 1 and needs the memory of a second compiled model.
        activation_group: inputs of a Linear with integer weights that are rounded to int8 with one
            scale, so that products are of integers; null to compute in float32. It divides the
            number of weights that share a scale.
    """

    kind = "openvino"
    libraries = ("openvino", "nncf")

    specialize: bool
    activation_group: PositiveInt | None

    @classmethod
    def supports(cls, quantizer: type[Quantizer]) -> bool:
        """Whether the quantizer's format is supported."""
        return quantizer in FORMATS

    def check(self, quantizer: Quantizer, device: Device) -> None:
        """Raises a UserError for unsupported settings, other devices, or a missing package."""
        if device.torch_device != "cpu":
            raise ConfigError(f"the openvino runtime runs on cpu, got device={device.torch_device}")
        with blame("device"):  # whatever the format is
            require("the openvino runtime", "openvino", *PACKAGES)
        format_ = FORMATS[type(quantizer)](quantizer)
        format_.check()
        if self.activation_group is not None:
            if not format_.integers_alone:
                raise ConfigError(
                    f"{SETTING}={self.activation_group} needs a format that rounds weights alone, "
                    f"to integers: {', '.join(sorted(_integers_alone()))}; "
                    f"got quantizer={choice_name(type(quantizer))}"
                )
            check_processor(self.activation_group)

    def check_model(self, model: PreTrainedModel, quantizer: Quantizer) -> None:
        """Raises a UserError for an architecture, or shapes, that cannot be exported."""
        reason = UNSUPPORTED.get(model.config.model_type)
        if reason is not None:
            raise ConfigError(
                f"{type(model).__name__} is not supported by the openvino runtime: {reason}; "
                "supported: torch (device=cpu), onnxruntime (device=cpu_onnxruntime)"
            )
        check_exportable(model, "openvino")
        format_ = FORMATS[type(quantizer)](quantizer)
        format_.check_shapes(model)
        if self.activation_group is not None:
            check_sizes(self.activation_group, format_.group_sizes(model))

    def export(
        self, model: CompressedModel, quantizer: Quantizer, folder: Path, ctx: StageContext
    ) -> ExportResult:
        """Exports the model to a graph, converts it to the format and writes it."""
        format_ = FORMATS[type(quantizer)](quantizer)
        openvino = import_openvino()
        model, layers = apart(model, quantizer, fitting_group)
        onnx_graph = export_graph(model.module, model.tokenizer, ctx.data.train)
        initializers = initializer_names(onnx_graph, model.module)
        graph = openvino.Core().read_model(onnx_graph.SerializeToString(), b"")
        keep_state_(graph)
        readers = weight_readers(graph, initializers)
        every = all_readers(graph, initializers, readers)
        every |= table_readers(graph, model.module, initializers)
        source = OpenVinoSource(graph, initializers, every, model, layers, ctx.data)
        graph = format_.convert(source)
        module = model.module
        if not format_.rounds_activations and quantizer.weight_bits < FLOAT_BITS:
            weights_now = plain_weights(graph, list(readers.values()))
            module = with_weights(module, dict(zip(readers, weights_now, strict=True)))
        weights = name_weights_(graph, readers)
        kinds = _linear_kinds(graph, model.module, weights)
        allowed = format_.linears or kinds.values()
        others = {name: kind for name, kind in kinds.items() if kind not in allowed}
        assert not others, f"{type(format_).__name__} left {others}"
        new_folder(folder)
        # By default save_model makes float32 weights float16.
        openvino.save_model(graph, folder / GRAPH, compress_to_fp16=False)
        model.module.config.save_pretrained(folder)
        options = {
            "precision": format_.precision,
            "positions": position_count(model.module),
            "specialize": self.specialize,
            ROUNDED: self.activation_group,
        }
        architecture = type(model.module).__name__
        spec = RunSpec(self.kind, architecture, options=options, weights=weights)
        notes = {"linear_weights": dict(Counter(kinds.values()))}
        step = Step("quantizer", quantizer.describe(), notes=notes)
        finalize(model.then(model.module, step), folder, spec)
        reference = TorchModel(module, model.tokenizer, ctx.device.torch_device)
        if self.activation_group is not None:
            return ExportResult(reference, ROUNDED_TOLERANCE, rounds_activations=True)
        return ExportResult(reference, format_.tolerance, format_.rounds_activations)

    @classmethod
    def graph(cls, folder: Path) -> str:
        """Digest of the graph."""
        return graph_digest(folder, openvino_facts(folder / GRAPH))

    @classmethod
    def check_load(cls, folder: Path, torch_device: str) -> None:
        """Raises a UserError if the device is no CPU, or a package is not installed."""
        if torch_device != "cpu":
            raise UserError(f"{folder} runs on cpu in the openvino runtime, got {torch_device}")
        require("the openvino runtime", "openvino", "openvino")

    @classmethod
    def load(cls, folder: Path, torch_device: str, threads: int | None) -> OpenVinoModel:
        """Loads the model from a verified folder written by this runtime.

        Raises:
            UserError: OpenVINO is not installed, the processor is no CPU, or the graph is damaged.
        """
        cls.check_load(folder, torch_device)
        spec = read_spec(folder)
        return OpenVinoModel(folder, spec, OpenVinoSession(folder, spec, threads))


class OpenVinoModel(SessionModel):
    """A compiled graph, with access to its weights."""

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter by its torch name: float, or codes minus their zero points."""
        # Nodes know their readers while the graph lives.
        graph = read_graph(self._folder / GRAPH)
        held, transposed = constants(graph), transposed_constants(graph)
        for parameter, name in self._spec.weights.items():
            weight = weight_tensor(held[name])
            yield parameter, weight.T if name in transposed else weight

    def packed_bits(self) -> Mapping[str, int]:
        """Bits per entry of the codes."""
        held = constants(read_graph(self._folder / GRAPH))
        bits = {parameter: weight_bits(held[n]) for parameter, n in self._spec.weights.items()}
        return {parameter: count for parameter, count in bits.items() if count <= 8}


def _integers_alone() -> list[str]:
    """The formats that round weights alone, to integers."""
    return [choice_name(each) for each, format_ in FORMATS.items() if format_.integers_alone]


def _linear_kinds(graph: Any, module: PreTrainedModel, names: Mapping[str, str]) -> dict[str, str]:
    """The storage type of each Linear's weight, by name."""
    held = constants(graph)
    return {
        name: held[names[f"{name}.weight"]].get_element_type().get_type_name()
        for name, _ in every_linear(module)
        if f"{name}.weight" in names
    }
