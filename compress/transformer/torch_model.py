"""A model of torch modules, ready to run."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from compress.config.errors import UserError
from compress.interfaces import (
    InferenceModel,
)
from compress.transformer.positions import check_length, position_count
from compress.transformer.pretrained import head_of
from compress.transformer.stored_modules import StoredModule, code_bits, named_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor


class TorchModel(InferenceModel):
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
    compiled: Callable[..., Any] = torch.compile(module, dynamic=True)
    return compiled


def _precision(module: PreTrainedModel) -> str:
    """What most of the arithmetic happens in."""
    formats = [part.arithmetic for part in module.modules() if isinstance(part, StoredModule)]
    named = [name for name in formats if name is not None]
    floats = (p.dtype for p in module.parameters() if p.is_floating_point())
    return named[0] if named else str(next(floats, torch.float32)).removeprefix("torch.")
