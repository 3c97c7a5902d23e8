"""Check that quantized weights match the float weights within the format's error bound.

The check at reload compares a saved model with the one in memory and misses errors of both; this
check does not. Each format has a formula for its largest rounding error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from compress.config.errors import UserError
from compress.transformer.surgery import kept_in_float32

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.transformer.stored_modules import QuantizedModule


def check_rounding(
    name: str,
    weight: Float[Tensor, ...],
    restored: Float[Tensor, ...],
    bound: Float[Tensor, ...],
) -> None:
    """Checks that no weight changed by more than its format's error bound.

    Raises:
        AssertionError: a difference is larger or not finite: a bug of this program or a library.
    """
    error = (restored - weight).abs_()
    # A comparison with NaN is false, so that it counts as too far.
    if not bool((error <= bound).all()):
        worst = float((error / bound).nan_to_num(nan=torch.inf).max())
        raise AssertionError(
            f"{name}: the quantized weights are off by up to {worst:.3g} times what rounding to "
            "the format explains"
        )


def check_quantized(name: str, module: QuantizedModule, weight: Float[Tensor, ...]) -> None:
    """Checks a quantized module against its float weight; see `check_rounding`."""
    check_rounding(name, weight, module.matrix(), module.error_bound(weight))


def half_ulp(weight: Float[Tensor, ...], dtype: torch.dtype) -> Float[Tensor, ...]:
    """The largest error of rounding to a float type: half a unit in the last place.

    `eps` is the step above 1; below the smallest normal number all steps are alike.
    """
    facts = torch.finfo(dtype)
    return weight.abs().clamp_min(facts.tiny) * (facts.eps / 2)


def cast_(module: PreTrainedModel, choice: str, dtype: torch.dtype, other: str) -> None:
    """Casts a model to a float type of 16 bits, in place; see `check_range`.

    Parameters that transformers keeps in float32 stay float32, such as T5's in float16.
    """
    check_range(module, choice, dtype, other)
    before = {name: parameter.detach() for name, parameter in module.named_parameters()}
    wide = kept_in_float32(module, dtype)
    stored = module.state_dict().keys()
    # Buffers that are not saved are recomputed in their own type when the model is loaded, such as
    # the frequencies of rotary positions, which bfloat16 would change.
    kept = {name: buffer for name, buffer in module.named_buffers() if name not in stored}
    module.to(dtype)
    for name, buffer in kept.items():
        owner, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(owner), leaf, buffer)
    for name in wide:
        module.get_parameter(name).data = before[name]
    for name, parameter in module.named_parameters():
        bound = half_ulp(before[name], dtype)
        check_rounding(name, before[name], parameter.detach().float(), bound)


def check_range(module: PreTrainedModel, choice: str, dtype: torch.dtype, other: str) -> None:
    """Raises a UserError if a weight is outside the range of a float type of 16 bits.

    The message names the quantizer, `choice`, and another one that takes larger weights.
    """
    largest = torch.finfo(dtype).max
    for name, parameter in module.named_parameters():
        found = float(parameter.detach().abs().max())
        if found > largest:
            type_name = str(dtype).removeprefix("torch.")
            raise UserError(
                f"quantizer={choice}: {name} has a weight of {found:g}, {type_name} ends at "
                f"{largest:g}; use quantizer={other}"
            )
