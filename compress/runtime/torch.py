"""The torch runtime: execution of the modules themselves, eager or through torch.compile."""

from __future__ import annotations

import copy
import importlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from compress.config.errors import ConfigError, UserError
from compress.interfaces import (
    CompressedModel,
    Device,
    Exported,
    Quantizer,
    Runnable,
    Runtime,
    StageContext,
    Step,
)
from compress.store.artifact import read_model, read_spec, write_model
from compress.transformer.positions import check_length, position_count
from compress.transformer.pretrained import head_of
from compress.transformer.processors import read_written_processor
from compress.transformer.stored_modules import StoredModule, code_bits, named_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor


# The reloaded model runs the same operators on the same numbers; this allows for another order
# of summation in the processor's kernels and nothing more.
RELOAD_TOLERANCE = 1e-5
# torch.compile leaves out roundings between the operators that it fuses: a bfloat16 MiniLM-L6 was
# off by one bfloat16 step of its largest logit.
FUSED_ROUNDINGS = 4
COMPILE = "compile"  # in a folder's `runtime.json`


class TorchFormat(ABC):
    """What a quantizer adds to be had in torch.

    Attributes:
        torch_devices: where torch has kernels for the format.
        compiles: whether torch.compile makes one graph of a model in this format.
    """

    torch_devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    compiles: ClassVar[bool] = True

    def check_torch_model(self, model: PreTrainedModel) -> None:  # noqa: B027
        """Raises a UserError if a model does not run in the format; gets its skeleton."""

    def check_torch(self) -> None:  # noqa: B027
        """Raises a UserError if torch lacks the format's kernels on this machine; mostly none."""

    @abstractmethod
    def quantize_torch_(self, module: PreTrainedModel) -> None:
        """Replaces modules, in place, by ones in this format."""


@dataclass(frozen=True, kw_only=True)
class TorchRuntime(Runtime):
    """Torch.

    Attributes:
        compile: whether torch.compile turns the modules into kernels when they are loaded. That
            takes up to a minute for each kind of shape, and a C++ compiler.
    """

    kind = "torch"
    format = TorchFormat

    compile: bool

    def check(self, quantizer: Quantizer, device: Device) -> None:
        """Refuses a format that torch does not have on the device, or cannot compile.

        Raises:
            UserError: so it is, or there is nothing to compile with.
        """
        assert isinstance(quantizer, TorchFormat), "that is what was checked"
        name = type(quantizer).__name__
        if device.torch_device not in quantizer.torch_devices:
            allowed = ", ".join(quantizer.torch_devices)
            raise ConfigError(
                f"quantizer {name} runs on {allowed} in the torch runtime, got "
                f"device={device.torch_device}"
            )
        quantizer.check_torch()
        if self.compile and not quantizer.compiles:
            raise ConfigError(
                f"device.runtime.compile=true does not go with quantizer {name}: its kernels take "
                "packed weights, at each of which torch.compile would end one graph and begin "
                "another; set device.runtime.compile=false"
            )
        if self.compile:
            require_compiler()

    def check_model(self, model: PreTrainedModel, quantizer: Quantizer) -> None:
        """Refuses a model whose own code does not run in the format.

        Raises:
            UserError: so it is.
        """
        assert isinstance(quantizer, TorchFormat), "check() refused other formats"
        quantizer.check_torch_model(model)

    def export(
        self, model: CompressedModel, quantizer: Quantizer, folder: Path, ctx: StageContext
    ) -> Exported:
        """Quantises a copy of the model and writes it."""
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
        return Exported(written, max(RELOAD_TOLERANCE, rounding))

    @classmethod
    def load(cls, folder: Path, torch_device: str, threads: int | None) -> TorchModel:
        """The model in a verified folder that this runtime wrote.

        Threads are the process's own in torch: `Device.session` sets them.

        Raises:
            UserError: it is to be compiled and there is nothing to do it with.
        """
        module = read_model(folder)
        # A stage's model is written without options: it is not deployed.
        compiled = bool(read_spec(folder).options.get(COMPILE, False))
        return TorchModel(module, read_written_processor(folder), torch_device, compiled=compiled)


class TorchModel(Runnable):
    """Torch modules, ready to run."""

    def __init__(
        self,
        module: PreTrainedModel,
        tokenizer: Processor,
        torch_device: str,
        *,
        compiled: bool = False,
    ) -> None:
        """Moves the modules to the device; they are compiled when they first run.

        Raises:
            UserError: they are to be compiled and there is nothing to do it with.
        """
        self.module = module.to(torch_device)
        self.tokenizer = tokenizer
        self.precision = _precision(module)
        self._device = torch_device
        self._positions = position_count(module)
        self._forward = _compiled(self.module) if compiled else self.module
        # Compiled kernels would be made anew for every length of what is kept.
        self.decodes = head_of(module) == "language_model" and not compiled

    @torch.inference_mode()
    def predict(self, batch: Mapping[str, Int[Tensor, "B L"]]) -> Float[Tensor, "B classes"]:
        """Logits of one padded batch, on the model's device; copies the batch there.

        Raises:
            UserError: it is longer than the model's table of positions.
        """
        check_length(batch, self._positions)
        moved = {name: self._moved(tensor) for name, tensor in batch.items()}
        logits: Tensor = self._forward(**moved).logits
        return logits

    def _moved(self, tensor: Tensor) -> Tensor:
        """An input on the model's device, pixels in the type of its weights."""
        dtype = self.module.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self._device, dtype)

    @torch.inference_mode()
    def decode(self, tokens: Int[Tensor, "1 L"], count: int) -> Iterator[Int[Tensor, "1 1"]]:
        """The likeliest tokens behind a text, one by one."""
        following, kept = tokens.to(self._device), None
        for _ in range(count):
            said = self.module(
                input_ids=following, past_key_values=kept, use_cache=True, logits_to_keep=1
            )
            following, kept = said.logits.argmax(dim=-1), said.past_key_values
            yield following

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters, and what modules that stand in for plain ones have instead."""
        yield from named_weights(self.module)

    def packed_bits(self) -> Mapping[str, int]:
        """Those of the codes that share a byte."""
        return code_bits(self.module)

    def synchronize(self) -> None:
        """Waits for the GPU, if there is one."""
        if self._device == "cuda":
            torch.cuda.synchronize()


def require_compiler() -> None:
    """Checks that torch.compile has a C++ compiler.

    Raises:
        UserError: it has none.
    """
    with warnings.catch_warnings():
        # On import it warns of its own deprecated parts.
        warnings.simplefilter("ignore")
        importlib.import_module("torch._inductor.compile_fx")
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise UserError(
            "device.runtime.compile=true needs a C++ compiler such as g++, and none was found; "
            "install one, or set device.runtime.compile=false"
        ) from error


def _compiled(module: PreTrainedModel) -> Callable[..., Any]:
    """The modules as kernels for any batch and length."""
    require_compiler()
    made: Callable[..., Any] = torch.compile(module, dynamic=True)
    return made


def _with_same_weights(module: PreTrainedModel) -> PreTrainedModel:
    """A copy of the modules alone: formats put others in their place and change no weight."""
    parameters = {
        id(p): torch.nn.Parameter(p.detach(), p.requires_grad) for p in module.parameters()
    }
    buffers = {id(buffer): buffer for buffer in module.buffers()}
    return copy.deepcopy(module, {**parameters, **buffers})


def _precision(module: PreTrainedModel) -> str:
    """What most of the arithmetic happens in."""
    formats = [part.arithmetic for part in module.modules() if isinstance(part, StoredModule)]
    named = [name for name in formats if name is not None]
    floats = (p.dtype for p in module.parameters() if p.is_floating_point())
    return named[0] if named else str(next(floats, torch.float32)).removeprefix("torch.")
