"""Features that a student can match besides logits: hidden states and attention.

Hidden states: Romero et al., "FitNets", arXiv:1412.6550; Sun et al., "Patient Knowledge
Distillation", arXiv:1908.09355; Jiao et al., "TinyBERT", arXiv:1909.10351. Attention: Wang et al.,
"MiniLM", arXiv:2002.10957, and "MiniLMv2", arXiv:2012.15828.

Deviations: a layer's output is that of its block, before any final norm; embeddings are not
matched. Losses are means over layers, heads and real tokens, so that a weight means the same at
every depth. Hidden states are matched at every token, by one bias-free projection per layer where
widths differ (PKD takes [CLS] alone, TinyBERT shares one projection). Attention maps are matched by
MiniLM's KL in every matched layer: transformers has no unnormalized scores to fit as TinyBERT does.
Relations are taken of the projections' outputs, so without rotary or relative positions, and over
all real tokens also where attention is causal.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from compress.config.errors import ConfigError
from compress.transformer.blocks import Block, known_blocks, stream_width
from compress.transformer.stacks import find_stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SMALLEST = 1e-9  # keeps the logarithm of a probability finite

# Whose dot products are compared: MiniLM's section 3.1 and 3.2, MiniLMv2's section 3.1.
MINILM = (("query", "key"), ("value", "value"))
MINILM_V2 = (("query", "query"), ("key", "key"), ("value", "value"))

# Outputs of the watched modules of both models in the latest forward pass.
Seen = Mapping[nn.Module, Any]
# True at real tokens, [B L]; None where every token is real, as in images.
Mask = Bool[Tensor, "B L"] | None


class Feature(ABC):
    """A feature inside both models that the student matches.

    Constructing one raises a ConfigError if the two cannot be compared.

    Attributes:
        needs_maps: whether both models must run with `output_attentions`.
        watched: the modules whose outputs `loss` reads.
        parameters: trained in addition to the student's.
    """

    needs_maps: ClassVar[bool] = False
    watched: Sequence[nn.Module]
    parameters: Sequence[nn.Parameter] = ()

    @abstractmethod
    def loss(self, seen: Seen, mask: Mask) -> Float[Tensor, ""]:
        """The loss of the student against the teacher, after both ran on one batch."""


class HiddenStates(Feature):
    """Mean squared distance between layers' outputs."""

    def __init__(
        self,
        teacher: PreTrainedModel,
        student: PreTrainedModel,
        layers: Sequence[int],
        seed: int,
        torch_device: str,
    ) -> None:
        """Draws the projections, if widths differ; `layers` as `Matching.layers` gives them."""
        theirs, ours = find_stack(teacher).blocks, find_stack(student).blocks
        self._pairs = [(theirs[layer], ours[index]) for index, layer in enumerate(layers)]
        self.watched = [block for pair in self._pairs for block in pair]
        narrow, wide = stream_width(student), stream_width(teacher)
        if narrow != wide:
            generator = torch.Generator().manual_seed(seed)
            drawn = [torch.randn(narrow, wide, generator=generator) for _ in layers]
            self.parameters = [
                nn.Parameter((weight / math.sqrt(narrow)).to(torch_device)) for weight in drawn
            ]

    def loss(self, seen: Seen, mask: Mask) -> Float[Tensor, ""]:
        """The mean of `hidden_loss` over the matched layers."""
        losses = []
        for index, (teacher, student) in enumerate(self._pairs):
            ours, theirs = (_of_text(_tensor(seen[block]), mask) for block in (student, teacher))
            if self.parameters:
                ours = ours @ self.parameters[index]
            losses.append(hidden_loss(ours, theirs, mask))
        return torch.stack(losses).mean()


class AttentionMaps(Feature):
    """Divergence between attention probabilities, head by head."""

    needs_maps = True

    def __init__(
        self, teacher: PreTrainedModel, student: PreTrainedModel, layers: Sequence[int]
    ) -> None:
        """Takes the models as a whole: transformers hands maps out with their outputs.

        Raises:
            ConfigError: matched layers have different numbers of heads.
        """
        theirs, ours = known_blocks(teacher), known_blocks(student)
        for index, layer in enumerate(layers):
            _check_heads(theirs[layer], ours[index], "matching.attention=maps")
        self._teacher, self._student, self._layers = teacher, student, layers
        self.watched = (teacher, student)

    def loss(self, seen: Seen, mask: Mask) -> Float[Tensor, ""]:
        """The mean of `map_loss` over the matched layers."""
        theirs, ours = seen[self._teacher].attentions, seen[self._student].attentions
        pairs = [(ours[index], theirs[layer]) for index, layer in enumerate(self._layers)]
        losses = [map_loss(our.float(), their.float(), mask) for our, their in pairs]
        return torch.stack(losses).mean()


class Relations(Feature):
    """Divergence between relations of queries, keys and values in the last matched layer.

    By MiniLM with each model's own heads: queries to keys, values to values. By MiniLMv2 with
    relation heads: queries, keys and values each to themselves.
    """

    def __init__(
        self,
        teacher: PreTrainedModel,
        student: PreTrainedModel,
        layers: Sequence[int],
        relation_heads: int | None,
    ) -> None:
        """Takes the last of `layers` alone.

        Raises:
            ConfigError: the numbers of heads differ, or relation heads do not divide a width.
        """
        self._teacher, self._student = known_blocks(teacher)[layers[-1]], known_blocks(student)[-1]
        if relation_heads is None:
            _check_heads(self._teacher, self._student, "student.matching.relation_heads=null")
        else:
            for block in (self._teacher, self._student):
                _check_divides(block, relation_heads)
        self._heads = relation_heads
        self.watched = [*_projections(self._teacher), *_projections(self._student)]

    def loss(self, seen: Seen, mask: Mask) -> Float[Tensor, ""]:
        """The sum of `relation_loss` over the relations."""
        theirs = attention_vectors(self._teacher, seen, self._heads)
        ours = attention_vectors(self._student, seen, self._heads)
        relations = MINILM if self._heads is None else MINILM_V2
        losses = [
            relation_loss((ours[a], ours[b]), (theirs[a], theirs[b]), mask) for a, b in relations
        ]
        return torch.stack(losses).sum()


def hidden_loss(
    student: Float[Tensor, "B L width"], teacher: Float[Tensor, "B L width"], mask: Mask
) -> Float[Tensor, ""]:
    """Mean squared difference over the real tokens (TinyBERT's equation 7, FitNets' equation 3)."""
    return _over_tokens((student - teacher).square().mean(dim=-1), mask)


def map_loss(
    student: Float[Tensor, "B heads L L"], teacher: Float[Tensor, "B heads L L"], mask: Mask
) -> Float[Tensor, ""]:
    """KL(teacher ‖ student) of what each real token attends to, mean over heads (MiniLM's 6)."""
    logs = student.clamp_min(SMALLEST).log()
    divergence = functional.kl_div(logs, teacher, reduction="none").sum(dim=-1)
    return _over_tokens(divergence.mean(dim=1), mask)


def relation_loss(
    student: tuple[Float[Tensor, "B heads L d"], Float[Tensor, "B heads L d"]],
    teacher: tuple[Float[Tensor, "B heads L e"], Float[Tensor, "B heads L e"]],
    mask: Mask,
) -> Float[Tensor, ""]:
    """KL(teacher ‖ student) of softmax(A · Bᵀ / √d), mean over heads and real tokens."""
    ours, theirs = log_relation(*student, mask), log_relation(*teacher, mask)
    divergence = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=-1)
    return _over_tokens(divergence.mean(dim=1), mask)


def log_relation(
    left: Float[Tensor, "B heads L d"], right: Float[Tensor, "B heads L d"], mask: Mask
) -> Float[Tensor, "B heads L L"]:
    """Logarithm of softmax(A · Bᵀ / √d) over the real tokens of B; 0 at its padding."""
    scores = left @ right.transpose(-1, -2) / math.sqrt(left.shape[-1])
    if mask is None:
        return scores.log_softmax(dim=-1)
    padding = ~mask[:, None, None, :]
    logs = scores.masked_fill(padding, -math.inf).log_softmax(dim=-1)
    return logs.masked_fill(padding, 0.0)  # equal in both models, so that it counts for nothing


def split_heads(vectors: Float[Tensor, "B L width"], heads: int) -> Float[Tensor, "B heads L d"]:
    """Consecutive parts of each vector as heads."""
    rows, length, _ = vectors.shape
    return vectors.reshape(rows, length, heads, -1).transpose(1, 2)


def attention_vectors(block: Block, seen: Seen, relation_heads: int | None) -> dict[str, Tensor]:
    """Queries, keys and values of a block as [B heads L d]."""
    parts = [_tensor(seen[part]) for part in _projections(block)]
    if len(parts) == 1:  # one projection makes all three
        parts = _thirds(parts[0], block)
    named = dict(zip(("query", "key", "value"), parts, strict=True))
    if relation_heads is not None:
        return {name: split_heads(part, relation_heads) for name, part in named.items()}
    counts = {"query": block.heads, "key": block.key_value_heads, "value": block.key_value_heads}
    return {  # keys and values that several queries share are repeated for each
        name: split_heads(part, counts[name]).repeat_interleave(block.heads // counts[name], dim=1)
        for name, part in named.items()
    }


def _thirds(fused: Float[Tensor, "B L 3*width"], block: Block) -> list[Float[Tensor, "B L width"]]:
    """Queries, keys and values of what one projection makes."""
    if not block.layout.by_head:
        return list(fused.chunk(3, dim=-1))
    by_head = fused.view(*fused.shape[:-1], block.heads, 3, block.head_size)
    return [part.flatten(-2) for part in by_head.unbind(-2)]


def _projections(block: Block) -> list[nn.Module]:
    layout = block.layout
    return [block.projection(p) for p in dict.fromkeys((layout.query, layout.key, layout.value))]


def _tensor(output: Any) -> Tensor:
    """A module's output in float32; of several the first, which blocks pass on."""
    first: Tensor = output[0] if isinstance(output, (tuple, list)) else output
    return first.float()


def _of_text(states: Float[Tensor, "B P d"], mask: Mask) -> Float[Tensor, "B L d"]:
    """The states of a text's tokens, without those that a model appends to fill its window."""
    return states if mask is None else states[:, : mask.shape[1]]


def _over_tokens(values: Float[Tensor, "B L"], mask: Mask) -> Float[Tensor, ""]:
    return values.mean() if mask is None else values[mask].mean()


def _check_heads(teacher: Block, student: Block, what: str) -> None:
    if teacher.heads != student.heads:
        raise ConfigError(
            f"{what} needs equal numbers of heads, got {student.heads} in the student and "
            f"{teacher.heads} in the teacher; take matching.attention=relation with "
            "student.matching.relation_heads=… that divides both widths"
        )


def _check_divides(block: Block, relation_heads: int) -> None:
    for count in {block.heads, block.key_value_heads}:
        width = count * block.head_size
        if width % relation_heads:
            raise ConfigError(
                "student.matching.relation_heads must divide the width of queries, keys and "
                f"values, got {relation_heads} for a width of {width} in {block.name}"
            )
