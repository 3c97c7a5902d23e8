"""The torch runtime: runs the modules, eagerly or through torch.compile."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, final

import torch
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.interfaces import (
    CompressedModel,
    Device,
    ExportResult,
    Quantizer,
    Runtime,
    StageContext,
    Step,
)
from compress.quantizer.components.torch_format import TorchFormat
from compress.runtime.components.graphs import graph_digest, torch_facts
from compress.serve.folder import COMPILE, RunSpec, read_spec
from compress.serve.session import Arrays, Session
from compress.store.artifact import read_model, read_texts, write_model
from compress.transformer.torch_model import TorchModel, require_compiler

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Int
    from transformers import PreTrainedModel


# The reloaded model runs the same operators on the same numbers; this allows for another order
# of summation in the processor's kernels and nothing more.
RELOAD_TOLERANCE = 1e-5
# torch.compile leaves out roundings between the operators that it fuses: a bfloat16 MiniLM-L6 was
# off by one bfloat16 step of its largest logit.
FUSED_ROUNDINGS = 4


@dataclass(frozen=True, kw_only=True)
class TorchRuntime(Runtime):
    """PyTorch, eager or compiled.

    Attributes:
        compile: whether to use torch.compile, which takes up to a minute for each kind of shape and
            needs a C++ compiler.
    """

    kind = "torch"

    compile: bool

    @classmethod
    def supports(cls, quantizer: type[Quantizer]) -> bool:
        """Whether the quantizer has a transform for torch modules."""
        return issubclass(quantizer, TorchFormat)

    def check(self, quantizer: Quantizer, device: Device) -> None:
        """Raises a UserError for a format that torch does not support here, or cannot compile."""
        assert isinstance(quantizer, TorchFormat), "supports() refused other formats"
        name = type(quantizer).__name__
        if device.torch_device not in quantizer.torch_devices:
            allowed = ", ".join(quantizer.torch_devices)
            raise ConfigError(
                f"quantizer {name} runs on {allowed} in the torch runtime, got "
                f"device={device.torch_device}"
            )
        quantizer.check_torch(device.torch_device)
        if self.compile and not quantizer.compiles:
            raise ConfigError(
                f"device.runtime.compile=true does not support quantizer {name}: its kernels take "
                "packed weights, at each of which torch.compile would end one graph and begin "
                "another; set device.runtime.compile=false"
            )
        if self.compile:
            require_compiler()

    def check_model(self, model: PreTrainedModel, quantizer: Quantizer) -> None:
        """Raises a UserError for a model whose code does not run in the format."""
        assert isinstance(quantizer, TorchFormat), "check() refused other formats"
        quantizer.check_torch_model(model)

    def export(
        self, model: CompressedModel, quantizer: Quantizer, folder: Path, ctx: StageContext
    ) -> ExportResult:
        """Quantizes a copy of the model and writes it."""
        assert isinstance(quantizer, TorchFormat), "check() refused other formats"
        module = _with_same_weights(model.module)
        quantizer.quantize_torch_(module)
        step = Step("quantizer", quantizer.describe())
        # The last step of a model that was trained for the format says so already.
        told = model.history[-1].settings == step.settings
        exported = replace(model, module=module) if told else model.then(module, step)
        options = {COMPILE: self.compile}
        write_model(exported, folder, self.kind, options)
        written = TorchModel(module, model.tokenizer, ctx.device.torch_device)
        rounding = FUSED_ROUNDINGS * torch.finfo(module.dtype).eps if self.compile else 0.0
        return ExportResult(written, max(RELOAD_TOLERANCE, rounding))

    @classmethod
    def graph(cls, folder: Path) -> str:
        """Digest of the modules, and of the types and shapes of weights."""
        return graph_digest(folder, torch_facts(folder))

    @classmethod
    def load(cls, folder: Path, torch_device: str, threads: int | None) -> TorchModel:
        """Loads the model from a verified folder written by this runtime.

        Threads are the process's own in torch: `Device.session` sets them.

        Raises:
            UserError: it is to be compiled and there is nothing to do it with.
        """
        module = read_model(folder)
        # A stage's model is written without options: it is not deployed.
        compiled = bool(read_spec(folder).options.get(COMPILE, False))
        tokenizer, encoder = read_texts(folder)
        return TorchModel(module, tokenizer, torch_device, compiled=compiled, encoder=encoder)


@final
class TorchSession(Session):
    """Torch modules on the CPU, for arrays."""

    def __init__(self, folder: Path, spec: RunSpec, threads: int | None) -> None:
        """Loads the modules of a verified folder.

        Args:
            folder: of the model.
            spec: of the folder.
            threads: of the whole process, for torch; null leaves what it has.

        Raises:
            UserError: the weights are damaged, or it is to be compiled and there is no compiler.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        self._model = TorchRuntime.load(folder, "cpu", threads)
        self.precision, self.decodes = self._model.precision, self._model.decodes

    def run(self, batch: Arrays) -> Float[np.ndarray, "B ..."]:
        """Logits of one padded batch, in float32; see `TorchModel.predict`."""
        tensors = {name: torch.from_numpy(values) for name, values in batch.items()}
        logits: Float[np.ndarray, "B ..."] = self._model.predict(tensors).float().numpy()
        return logits

    def decode(self, tokens: Int[np.ndarray, "1 L"], count: int) -> Iterator[int]:
        """Greedy continuation of a text; see `TorchModel.decode`."""
        for token in self._model.decode(torch.from_numpy(tokens), count):
            yield int(token)


def _with_same_weights(module: PreTrainedModel) -> PreTrainedModel:
    """A copy of the modules that shares the weights: formats replace modules, not weights."""
    parameters = {
        id(p): torch.nn.Parameter(p.detach(), p.requires_grad) for p in module.parameters()
    }
    buffers = {id(buffer): buffer for buffer in module.buffers()}
    return copy.deepcopy(module, {**parameters, **buffers})
