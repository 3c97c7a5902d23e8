"""The torch runtime: eager execution of the modules themselves."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from compress.artifact import read_model, read_tokenizer, write_model
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
from compress.modules import StoredModule, named_weights
from compress.settings import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor


# The reloaded model runs the same operators on the same numbers; this allows for another order
# of summation in the processor's kernels and nothing more.
RELOAD_TOLERANCE = 1e-5


class TorchFormat(ABC):
    """What a quantizer adds to be had in torch.

    Attributes:
        torch_devices: where torch has kernels for the format.
    """

    torch_devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")

    @abstractmethod
    def quantize_torch_(self, module: PreTrainedModel) -> None:
        """Replaces modules, in place, by ones in this format."""


@dataclass(frozen=True, kw_only=True)
class TorchRuntime(Runtime):
    """Eager torch."""

    def check(self, quantizer: Quantizer, device: Device) -> None:
        """Refuses a format that torch does not have on the device.

        Raises:
            ConfigError: so it is.
        """
        name = type(quantizer).__name__
        if not isinstance(quantizer, TorchFormat):
            raise ConfigError(f"quantizer {name} cannot be had in the torch runtime")
        if device.torch_device not in quantizer.torch_devices:
            allowed = ", ".join(quantizer.torch_devices)
            raise ConfigError(
                f"quantizer {name} runs on {allowed} in the torch runtime, got "
                f"device={device.torch_device}"
            )

    def export(
        self, model: CompressedModel, quantizer: Quantizer, folder: Path, ctx: StageContext
    ) -> Exported:
        """Quantises a copy of the model and writes it."""
        assert isinstance(quantizer, TorchFormat), "check() refused other formats"
        module = copy.deepcopy(model.module)
        quantizer.quantize_torch_(module)
        step = Step("quantizer", quantizer.describe())
        # The last step of a model that was trained for the format says so already.
        told = model.history[-1].settings == step.settings
        exported = replace(model, module=module) if told else model.then(module, step)
        write_model(exported, folder, f"{__name__}.{type(self).__qualname__}")
        written = TorchModel(module, model.tokenizer, ctx.device.torch_device)
        return Exported(written, RELOAD_TOLERANCE)

    @classmethod
    def load(cls, folder: Path, torch_device: str, threads: int | None) -> TorchModel:
        """The model in a verified folder that this runtime wrote.

        Threads are the process's own in torch: `Device.session` sets them.
        """
        module = read_model(folder)
        return TorchModel(module, read_tokenizer(folder), torch_device)


class TorchModel(Runnable):
    """Torch modules, ready to run."""

    def __init__(self, module: PreTrainedModel, tokenizer: Processor, torch_device: str) -> None:
        """Moves the modules to the device."""
        self.module = module.to(torch_device)
        self.tokenizer = tokenizer
        self.precision = _precision(module)
        self._device = torch_device

    @torch.inference_mode()
    def predict(self, batch: Mapping[str, Int[Tensor, "B L"]]) -> Float[Tensor, "B classes"]:
        """Logits of one padded batch, on the model's device; copies the batch there."""
        moved = {name: tensor.to(self._device) for name, tensor in batch.items()}
        logits: Tensor = self.module(**moved).logits
        return logits

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters, and what modules that stand in for plain ones have instead."""
        yield from named_weights(self.module)

    def tensors(self) -> Iterator[Tensor]:
        """Parameters and buffers."""
        yield from self.module.parameters()
        yield from self.module.buffers()

    def synchronize(self) -> None:
        """Waits for the GPU, if there is one."""
        if self._device == "cuda":
            torch.cuda.synchronize()


def _precision(module: PreTrainedModel) -> str:
    """What most of the arithmetic happens in."""
    formats = [part.arithmetic for part in module.modules() if isinstance(part, StoredModule)]
    named = [name for name in formats if name is not None]
    floats = (p.dtype for p in module.parameters() if p.is_floating_point())
    return named[0] if named else str(next(floats, torch.float32)).removeprefix("torch.")
