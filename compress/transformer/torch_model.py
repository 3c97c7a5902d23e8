"""The inference model of the torch runtime."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from compress.config.errors import UserError
from compress.interfaces import InferenceModel
from compress.serve.session import check_decoding, check_length
from compress.serve.texts import TextEncoder
from compress.transformer.positions import position_count
from compress.transformer.pretrained import head_of
from compress.transformer.stored_modules import StoredModule, named_weights
from compress.transformer.text_tokens import TransformersEncoder

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
        encoder: TextEncoder | None = None,
    ) -> None:
        """Moves the modules to the device; they are compiled when they first run.

        Texts are tokenized by `encoder` if there is one, else by the tokenizer.

        Raises:
            UserError: `compiled` is set and there is no C++ compiler.
        """
        self.module = module.to(torch_device)
        self.tokenizer = tokenizer
        self.encoder = encoder or TransformersEncoder(tokenizer)
        self.precision = _precision(module)
        self._device = torch_device
        self._positions = position_count(module)
        self._forward: Callable[..., Any] = self.module
        if compiled:
            require_compiler()
            self._forward = torch.compile(self.module, dynamic=True)  # for any batch and length
        # With compiled kernels, every length of the KV cache would be compiled again.
        self.decodes = head_of(module) == "language_model" and not compiled

    @torch.inference_mode()
    def predict(self, batch: Mapping[str, Int[Tensor, "B L"]]) -> Float[Tensor, "B classes"]:
        """Logits of one padded batch, on the model's device; copies the batch there.

        Raises:
            UserError: the batch is longer than the model's table of positions.
        """
        check_length(batch, self._positions)
        moved = {}
        for name, tensor in batch.items():
            # Pixels in the type of the weights.
            dtype = self.module.dtype if tensor.is_floating_point() else tensor.dtype
            moved[name] = tensor.to(self._device, dtype)
        logits: Tensor = self._forward(**moved).logits
        return logits

    @torch.inference_mode()
    def decode(self, tokens: Int[Tensor, "1 L"], count: int) -> Iterator[Int[Tensor, "1 1"]]:
        """Greedy continuation of a text, token by token; see `check_decoding`."""
        check_decoding(tokens, count, self._positions)
        ids, cache = tokens.to(self._device), None
        for _ in range(count):
            outputs = self.module(
                input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1
            )
            ids, cache = outputs.logits.argmax(dim=-1), outputs.past_key_values
            yield ids

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters, and the weights of stored modules."""
        yield from named_weights(self.module)

    def packed_bits(self) -> Mapping[str, int]:
        """Those of the codes that share a byte."""
        return {
            f"{prefix}.{name}": part.bits
            for prefix, part in self.module.named_modules()
            if isinstance(part, StoredModule) and part.bits is not None
            for name, tensor in part.weights()
            if not tensor.is_floating_point()
        }

    def synchronize(self) -> None:
        """Waits for the GPU, if there is one."""
        if self._device == "cuda":
            torch.cuda.synchronize()


def require_compiler() -> None:
    """Raises a UserError if torch.compile has no C++ compiler."""
    with warnings.catch_warnings():
        # Its import warns about deprecated parts of torch.
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


def _precision(module: PreTrainedModel) -> str:
    """The type of most of the arithmetic."""
    for part in module.modules():
        if isinstance(part, StoredModule) and part.arithmetic is not None:
            return part.arithmetic
    floats = (p.dtype for p in module.parameters() if p.is_floating_point())
    return str(next(floats, torch.float32)).removeprefix("torch.")
