"""Sentence embedders: a transformer's body, pooling over its tokens, and normalization.

They are the modules Transformer, Pooling and Normalize of sentence-transformers as one model, whose
logits are the embeddings: so all that reduces, exports and measures classifiers applies to them.
Reimers & Gurevych, "Sentence-BERT", arXiv:1908.10084, section 3.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import transformers
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers.utils import ModelOutput

from compress.config.errors import UserError
from compress.core.problem import POOLING

# Entry of a model's config, beside `POOLING`: whether vectors have the length 1.
NORMALIZED = "sentence_normalized"
WITHOUT = "add_pooling_layer"  # argument of bodies that may have a layer for their first token
LEAST = 1e-9  # tokens of a text; of one without any, the mean is 0


@dataclass
class EmbedderOutput(ModelOutput):  # type: ignore[misc]
    """What an embedder returns.

    Attributes:
        logits: the embeddings, [B, D].
        last_hidden_state: those of the tokens, [B, L, width].
    """

    logits: Tensor | None = None
    last_hidden_state: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class Embedder(transformers.PreTrainedModel):  # type: ignore[misc]
    """Base of the embedders of all architectures; see `embedder_class`."""

    body: type[transformers.PreTrainedModel]

    def __init__(self, config: Any) -> None:
        """Builds the body, without a layer for its first token, which embedders do not use."""
        super().__init__(config)
        takes = inspect.signature(self.body.__init__).parameters
        settings = {WITHOUT: False} if WITHOUT in takes else {}
        setattr(self, self.base_model_prefix, self.body(config, **settings))
        self.post_init()

    @classmethod
    def from_config(cls, config: Any, **settings: Any) -> Any:
        """As `from_config` of transformers' auto classes."""
        return cls._from_config(config, **settings)

    def forward(self, **inputs: Any) -> EmbedderOutput:
        """Embeddings of a batch."""
        output = self.base_model(**inputs)
        states, mask = output.last_hidden_state, inputs.get("attention_mask")
        if mask is None:
            mask = torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
        found = torch.cat([POOLINGS[mode](states, mask) for mode in pooling(self.config)], dim=-1)
        if getattr(self.config, NORMALIZED, False):
            found = functional.normalize(found, dim=-1)
        return EmbedderOutput(found, states, output.get("hidden_states"), output.get("attentions"))


@functools.cache
def embedder_class(body: type[transformers.PreTrainedModel]) -> type[Embedder]:
    """The embedder with such a body, such as BertModel, under the body's name.

    Its folders are read by transformers' AutoModel and by sentence-transformers.
    """
    parent = next(
        kind for kind in body.__mro__[1:] if issubclass(kind, transformers.PreTrainedModel)
    )
    embedder: type[Embedder] = type(body.__name__, (Embedder, parent), {"body": body})
    # Tokenizers give a model those inputs that its forward pass names.
    embedder.forward = _taking_inputs_of(body)  # type: ignore[method-assign]
    return embedder


def embedder_of(config: Any) -> type[Embedder]:
    """The embedder of a config's architecture.

    Raises:
        UserError: it has none.
    """
    body = transformers.MODEL_MAPPING.get(type(config), None)
    texts = getattr(body, "main_input_name", None) == "input_ids"
    if not texts or isinstance(body, tuple) or getattr(config, "is_encoder_decoder", False):
        raise UserError(
            f"the task needs an embedding of each text, and {config.model_type} is not supported; "
            "allowed: encoders such as bert, roberta, distilbert, mpnet, and decoders such as qwen3"
        )
    return embedder_class(body)


def pooling(config: Any) -> tuple[str, ...]:
    """The names of a config's vectors of a text, in the order in which they are joined."""
    return tuple(getattr(config, POOLING, ("mean",)))


def _taking_inputs_of(body: type[transformers.PreTrainedModel]) -> Any:
    @functools.wraps(body.forward)
    def forward(self: Embedder, **inputs: Any) -> EmbedderOutput:
        return Embedder.forward(self, **inputs)

    return forward


States: TypeAlias = Float[Tensor, "B L D"]
Mask: TypeAlias = Int[Tensor, "B L"]
Pooled: TypeAlias = Float[Tensor, "B D"]


def _sum(states: States, weights: Float[Tensor, "B L"]) -> Pooled:
    return (states * weights[..., None]).sum(dim=1)


def _mean(states: States, mask: Mask) -> Pooled:
    real = mask.to(states.dtype)
    return _sum(states, real) / real.sum(dim=1, keepdim=True).clamp(min=LEAST)


def _mean_by_root(states: States, mask: Mask) -> Pooled:
    real = mask.to(states.dtype)
    return _sum(states, real) / real.sum(dim=1, keepdim=True).clamp(min=LEAST).sqrt()


def _rising_mean(states: States, mask: Mask) -> Pooled:
    """The mean with the weight n for the nth token, from 1."""
    places = (mask.cumsum(dim=1) * mask).to(states.dtype)
    return _sum(states, places) / places.sum(dim=1, keepdim=True).clamp(min=LEAST)


def _largest(states: States, mask: Mask) -> Pooled:
    return states.masked_fill(mask[..., None] == 0, float("-inf")).amax(dim=1)


def _first(states: States, mask: Mask) -> Pooled:
    return _sum(states, ((mask.cumsum(dim=1) == 1) * mask).to(states.dtype))


def _last(states: States, mask: Mask) -> Pooled:
    count = mask.sum(dim=1, keepdim=True)
    return _sum(states, ((mask.cumsum(dim=1) == count) * mask).to(states.dtype))


# By the names of sentence-transformers.
POOLINGS = {
    "cls": _first,
    "max": _largest,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_by_root,
    "weightedmean": _rising_mean,
    "lasttoken": _last,
}
