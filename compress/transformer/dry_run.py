"""Dry runs of a skeleton, with weights of zero that take no memory and a batch for any model.

The outputs mean nothing, but a dry run finds shapes that do not match and shows what a model passes
from layer to layer, before any work.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from compress.config.errors import ConfigError, UserError, first_line
from compress.transformer.calibration import without_cache
from compress.transformer.chains import find_chains
from compress.transformer.stacks import LINEARS, Linear, find_stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS, TOKENS = 1, 7  # models without a padding token do not classify several rows
PIXELS = 64  # height and width of an image, where the model accepts any
LARGE = 2**20  # entries


def weightless(module: PreTrainedModel, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """A copy that runs on the CPU, with weights of zero that take almost no memory.

    Linear layers and convolutions compute only one of their outputs, to save time.
    """
    copied = copy.deepcopy(module).to("meta", dtype)
    for part in copied.modules():
        thin = isinstance(part, (*LINEARS, nn.Conv2d, nn.Embedding))
        for name, weight in part.named_parameters(recurse=False):
            setattr(part, name, nn.Parameter(_zeros(weight, thin), requires_grad=False))
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, _zeros(buffer, thin))
        if isinstance(part, LINEARS):
            vars(part)["forward"] = partial(_one_output, part)
        elif isinstance(part, nn.Conv2d) and part.groups == 1:
            vars(part)["forward"] = partial(_one_channel, part)
    return copied


def any_batch(module: PreTrainedModel, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """A batch of one image of zeros, or of one text that ends with the model's end token."""
    config = module.config
    if module.main_input_name == "pixel_values":
        config = getattr(config, "vision_config", config)
        size = getattr(config, "image_size", None) or PIXELS
        height, width = (size, size) if isinstance(size, int) else size
        channels = getattr(config, "num_channels", 3)
        return {"pixel_values": torch.zeros(ROWS, channels, height, width, dtype=dtype)}
    tokens = torch.zeros(ROWS, TOKENS, dtype=torch.long)
    # Encoder-decoders classify a text at its end token.
    end = getattr(config, "eos_token_id", None)
    # Some configs keep the token of their architecture's first model, beyond a smaller vocabulary.
    if isinstance(end, int) and end < getattr(config, "vocab_size", 0):
        tokens[:, -1] = end
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def check_runs(
    module: PreTrainedModel,
    what: str,
    dtype: torch.dtype | None = None,
    autocast: torch.dtype = torch.float32,
) -> None:
    """Raises a UserError unless a skeleton runs on a batch of texts or an image.

    Args:
        module: not modified.
        what: name of the model or setting in the message.
        dtype: of the weights; None for their own.
        autocast: type of mixed-precision training; float32 for none.
    """
    try:
        mixed = autocast is not torch.float32
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            weightless(module, dtype)(**any_batch(module, dtype))
    except Exception as error:  # whatever a model's own code raises
        raise UserError(
            f"{what} cannot run: {type(module).__name__} fails on a batch of zeros: "
            f"{first_line(error)}"
        ) from error


def check_layers_drop(module: PreTrainedModel, kept: Sequence[int], what: str) -> None:
    """Checks that each kept layer can read the outputs of the kept layer before it.

    Args:
        module: a skeleton, before layers are dropped.
        kept: indices of the layers that stay.
        what: the setting, for the message.

    Raises:
        ConfigError: the model does not have exactly one stack of layers; or it computes something
            between two of them that would move, as DeBERTa-v2's convolution after the first.
    """
    stack = find_stack(module)
    if stack.shared:
        return
    dry = weightless(module)
    layers = {
        f"{stack.name}.{i}": dry.get_submodule(f"{stack.name}.{i}") for i in range(stack.depth)
    }
    with torch.no_grad(), without_cache(dry):
        chains = find_chains(dry, layers, any_batch(dry))
    joined = {pair for chain in chains for pair in pairwise(chain.names)}
    fixed = [i for i, pair in enumerate(pairwise(layers), start=1) if pair not in joined]
    if fixed and list(kept[: fixed[-1]]) != list(range(fixed[-1])):
        raise ConfigError(
            f"{what}: {type(module).__name__} changes the outputs of its layer {fixed[-1] - 1}, so "
            f"layers 0 to {fixed[-1] - 1} must stay; got {list(kept)}"
        )


def _one_output(linear: Linear, inputs: Tensor) -> Tensor:
    """Zeros of the shape and type of a Linear's outputs; fails where the Linear would."""
    weight = linear.weight.T if isinstance(linear, Conv1D) else linear.weight
    bias = None if linear.bias is None else linear.bias[:1]
    output = functional.linear(inputs, weight[:1], bias)
    return output.new_zeros((*output.shape[:-1], len(weight)))


def _one_channel(convolution: nn.Conv2d, inputs: Tensor) -> Tensor:
    """Zeros of the shape and type of a convolution's outputs."""
    weight = convolution.weight
    bias = None if convolution.bias is None else convolution.bias[:1]
    output: Tensor = convolution._conv_forward(inputs, weight[:1].contiguous(), bias)
    return output.new_zeros((*output.shape[:-3], len(weight), *output.shape[-2:]))


def _zeros(tensor: Tensor, thin: bool) -> Tensor:
    """Zeros of the same shape; the rows of a large matrix share the memory of one row."""
    shape = tensor.shape
    if len(shape) < 2 or not (thin or tensor.numel() > LARGE):
        return torch.zeros(shape, dtype=tensor.dtype)
    # Kernels for stacks of experts need whole matrices: the experts share one.
    kept = 1 if len(shape) < 3 else len(shape) - 1
    return torch.zeros(shape[-kept:], dtype=tensor.dtype).expand(shape)
