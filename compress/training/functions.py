"""Functions of torch that compute differently while a model trains: dropout and attention."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from compress.config.errors import ConfigError
from compress.transformer.dry_run import any_batch, weightless

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TrainingFunctions(TorchFunctionMode):
    """A context for a forward pass in training.

    - Every dropout that is not 0 gets another probability, wherever a model has it: modules, plain
      attributes and config values all end in one of two functions of torch.
    - Attention without dropout on the CPU is computed in float32 where it would be in bfloat16:
      torch 2.13 takes 62 ms backward there for a batch of 128 × 16 tokens, in float32 3. Attention
      with dropout has another kernel, which is left alone.

    Attributes:
        found: whether a dropout that is not 0 was met.
    """

    def __init__(self, dropout: float | None) -> None:
        """Takes the probability; null for each dropout's own."""
        super().__init__()
        self._dropout = dropout
        self.found = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls the function, or what stands in for it."""
        kwargs = dict(kwargs or {})
        if func is functional.dropout:
            return self._drop(*args, **kwargs)
        if func is functional.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        return func(*args, **kwargs)

    def _drop(
        self, states: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        p = self._probability(p if training else 0.0)
        return functional.dropout(states, p, training, inplace)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **options: Any,
    ) -> Tensor:
        dropout_p = self._probability(dropout_p)
        attend: Callable[..., Tensor] = functional.scaled_dot_product_attention
        if dropout_p or not _in_bfloat16(query):
            return attend(query, key, value, attn_mask, dropout_p, is_causal, **options)
        if attn_mask is not None and attn_mask.is_floating_point():
            attn_mask = attn_mask.float()
        exact = [part.float() for part in (query, key, value)]
        with torch.autocast("cpu", enabled=False):
            return attend(*exact, attn_mask, 0.0, is_causal, **options).to(torch.bfloat16)

    def _probability(self, own: float) -> float:
        self.found = self.found or own > 0
        return self._dropout if own > 0 and self._dropout is not None else own


def check_dropout(module: PreTrainedModel, dropout: float | None, what: str) -> None:
    """Raises a ConfigError if a dropout above 0 is asked of a model, or skeleton, that has none."""
    if not dropout:
        return
    with torch.no_grad(), TrainingFunctions(None) as functions:
        weightless(module).train()(**any_batch(module))
    if not functions.found:
        raise ConfigError(
            f"dropout of {what} must be null or 0: {type(module).__name__} has none; got {dropout}"
        )


def _in_bfloat16(query: Tensor) -> bool:
    """Whether attention would be computed in bfloat16 on the CPU, with gradients."""
    if query.device.type != "cpu" or not torch.is_grad_enabled():
        return False
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") is torch.bfloat16
    return query.dtype is torch.bfloat16
