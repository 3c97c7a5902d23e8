"""What torch's exporter traces of a transformer: tensors in by name, tensors out.

A language model also takes the keys and values of the tokens before, and gives those with its own,
under the names that optimum uses: `past_key_values.0.key`, `present.0.key`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from compress.config.errors import UserError
from compress.core.problem import EMBEDDER
from compress.serve.session import PAST, PRESENT
from compress.transformer.pretrained import head_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# torch.export takes a size of 0 or 1 for a constant, and two equal sizes for one.
EXAMPLE_SHAPE = (3, 7)
MORE = 2  # tokens before an example than in it
LOGITS = "logits"
TOKENS = "last_hidden_state"  # beside embeddings of texts: what sentence-transformers pools itself
PAIR = ("key", "value")
KeysAndValues = Sequence[tuple[Float[Tensor, "B H past D"], Float[Tensor, "B H past D"]]]


@dataclass(frozen=True)
class Traced:
    """A module to export.

    Attributes:
        module: takes the example by name.
        example: values whose sizes stay open in the graph.
        open_sizes: of each value, its dimensions that do.
        inputs: names in the graph.
        outputs: names in the graph.
    """

    module: nn.Module
    example: dict[str, Any]
    open_sizes: dict[str, Any]
    inputs: list[str]
    outputs: list[str]


def traced(model: PreTrainedModel, example: Mapping[str, Tensor]) -> Traced:
    """A model as its graph should compute.

    Args:
        model: of eager attention.
        example: a batch, such as of `EXAMPLE_SHAPE`.

    Raises:
        UserError: a language model whose layers keep something else than keys and values.
    """
    sizes: dict[str, Any] = {name: _open(*range(_axes(value))) for name, value in example.items()}
    if head_of(model) != "language_model":
        outputs = [LOGITS, TOKENS] if head_of(model) == EMBEDDER else [LOGITS]
        return Traced(_Predictor(model, outputs), dict(example), sizes, list(example), outputs)
    count, length = example["input_ids"].shape
    before = torch.zeros(count, length + MORE, dtype=torch.long)
    past = _cached(model, before)
    whole: dict[str, Any] = {**example, "past": past}
    if "attention_mask" in whole:
        seen = torch.ones_like(before)
        whole["attention_mask"] = torch.cat([seen, whole["attention_mask"]], dim=1)
    sizes["past"] = [(_open(0, 2), _open(0, 2)) for _ in past]
    layers = [f"{number}.{what}" for number in range(len(past)) for what in PAIR]
    return Traced(
        _Decoder(model),
        whole,
        sizes,
        [*example, *(PAST + each for each in layers)],
        [LOGITS, *(PRESENT + each for each in layers)],
    )


class _Predictor(nn.Module):
    """Takes a transformer's inputs by name and returns only logits, or these outputs."""

    def __init__(self, model: PreTrainedModel, outputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self.outputs = model, outputs

    def forward(
        self,
        input_ids: Int[Tensor, "B L"] | None = None,
        attention_mask: Int[Tensor, "B L"] | None = None,
        token_type_ids: Int[Tensor, "B L"] | None = None,
        pixel_values: Float[Tensor, "B C H W"] | None = None,
    ) -> Float[Tensor, "B ..."] | tuple[Float[Tensor, "B ..."], ...]:
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "pixel_values": pixel_values,
        }
        given = {name: value for name, value in inputs.items() if value is not None}
        output = self.model(**given)
        found = tuple(getattr(output, name) for name in self.outputs)
        return found if len(found) > 1 else found[0]


class _Decoder(nn.Module):
    """The same for a language model, with keys and values in and out."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Int[Tensor, "B L"],
        attention_mask: Int[Tensor, "B past+L"] | None = None,
        past: KeysAndValues = (),
    ) -> tuple[Float[Tensor, "B L vocabulary"], KeysAndValues]:
        given = {} if attention_mask is None else {"attention_mask": attention_mask}
        # Without the config, windows of attention are masks alone and no token is dropped.
        cache = DynamicCache([tuple(pair) for pair in past])
        output = self.model(input_ids=input_ids, past_key_values=cache, use_cache=True, **given)
        return output.logits, _pairs(output.past_key_values)


@torch.no_grad()
def _cached(model: PreTrainedModel, tokens: Int[Tensor, "B L"]) -> list[tuple[Tensor, Tensor]]:
    output = model(input_ids=tokens, past_key_values=DynamicCache(), use_cache=True)
    return _pairs(output.get("past_key_values"))


def _pairs(cache: Any) -> list[tuple[Tensor, Tensor]]:
    layers = getattr(cache, "layers", ())
    if not layers or not all(isinstance(getattr(each, "keys", None), Tensor) for each in layers):
        raise UserError("its layers do not keep keys and values")
    return [(each.keys, each.values) for each in layers]


def _axes(value: Tensor) -> int:
    """Open dimensions: batch and length of tokens, batch of images."""
    return 2 if value.dim() == len(EXAMPLE_SHAPE) else 1


def _open(*axes: int) -> dict[int, Any]:
    return dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
