"""Matching of a student to its teacher: by logits, and optionally hidden states and attention.

The losses are in `features.py`, with their papers; they are added, with weights, to the loss on
logits (`distillation.py`). While attention maps are matched, both models use eager attention,
because no other kernel returns maps, and the student's attention modules run without dropout,
which would zero entries of its maps.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from compress.config.errors import ConfigError, first_line
from compress.config.fields import NotNegative, OneOf, Positive, PositiveInt
from compress.config.settings import Settings
from compress.core.problem import model_inputs
from compress.training.distillation import RowLoss, on_logits
from compress.training.features import AttentionMaps, Feature, HiddenStates, Relations, Seen
from compress.training.teachers import training_precision
from compress.training.train import Objective
from compress.transformer.blocks import known_blocks
from compress.transformer.dry_run import any_batch, weightless
from compress.transformer.stacks import find_stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import CompressedModel, Processor, Split, StageContext

# Which losses take part beside the one on logits.
METHODS: Mapping[str, tuple[str, ...]] = {
    "logit": (),
    "hidden": ("hidden",),
    "attention": ("attention",),
    "multi_level": ("hidden", "attention"),
}
ATTENTION = ("maps", "relation")

# Values that two configs must share for equal tokens, by the model's main input.
SAME_TOKENS: Mapping[str, tuple[str, ...]] = {
    "input_ids": ("vocab_size",),
    "pixel_values": ("model_type", "image_size", "patch_size"),
}


@dataclass(frozen=True, kw_only=True)
class Matching(Settings):
    """Which outputs and layers of the teacher a student matches.

    Attributes:
        method: "logit"; "hidden" adds the hidden states, "attention" the attention, "multi_level"
            both.
        epochs: of matching alone, before the epochs on logits alone: TinyBERT's two stages. 0
            matches features and logits together.
        learning_rate: peak rate of these epochs; null for that of the distillation.
        layer_map: teacher layer of each student layer: "even" (evenly spaced up to the last),
            "last" (the last ones), or one index per student layer, ascending.
        hidden_weight: weight of the loss on hidden states.
        attention: "maps" matches attention probabilities in every layer, "relation" the
            relations between queries, keys and values in the last layer alone.
        attention_weight: weight of the loss on attention.
        relation_heads: number of heads that both models are regrouped into (MiniLMv2); null for
            their own, which must be equally many.
    """

    method: Annotated[str, OneOf(METHODS)]
    epochs: NotNegative
    learning_rate: Positive | None
    layer_map: Annotated[str, OneOf(LAYER_MAPS)] | tuple[int, ...]
    hidden_weight: Positive
    attention: Annotated[str, OneOf(ATTENTION)]
    attention_weight: Positive
    relation_heads: PositiveInt | None

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        listed = () if isinstance(self.layer_map, str) else self.layer_map
        if list(listed) != sorted({abs(layer) for layer in listed}):
            raise ConfigError(
                "Matching.layer_map must be even, last, or list teacher layers in ascending "
                f"order, got {list(listed)}"
            )
        if self.epochs and not self.matches_features:
            raise ConfigError(
                "Matching.epochs must be 0 with method=logit, which matches no features; "
                f"got {self.epochs:g}"
            )
        if self.learning_rate is not None and not self.epochs:
            raise ConfigError(
                "Matching.learning_rate must be null with epochs=0, which matches features and "
                f"logits together; got {self.learning_rate:g}"
            )

    @property
    def matches_features(self) -> bool:
        """Whether hidden states or attention are matched."""
        return bool(METHODS[self.method])

    def check(self, teacher: PreTrainedModel, student: PreTrainedModel) -> None:
        """Raises a ConfigError if features of the models or skeletons cannot be compared."""
        if not self.matches_features:
            return
        for name in SAME_TOKENS[teacher.main_input_name]:
            theirs, ours = (getattr(model.config, name, None) for model in (teacher, student))
            if ours != theirs:
                raise ConfigError(
                    f"matching.method={self.method} needs a student that sees the teacher's "
                    f"tokens, got {name}={ours} over {theirs}; take matching.method=logit"
                )
        self._try(weightless(teacher), weightless(student))

    def layers(self, teacher: PreTrainedModel, student: PreTrainedModel) -> tuple[int, ...]:
        """For each student layer the teacher layer that it learns from.

        Raises:
            ConfigError: the student is deeper than the teacher, or the list does not fit the two.
        """
        depth, limit = (self._depth(module) for module in (student, teacher))
        if depth > limit:
            raise ConfigError(
                f"matching.method={self.method} needs a student no deeper than the teacher, got "
                f"{depth} layers over {limit}"
            )
        if isinstance(self.layer_map, str):
            return LAYER_MAPS[self.layer_map](depth, limit)
        if len(self.layer_map) != depth or self.layer_map[-1] >= limit:
            raise ConfigError(
                "student.matching.layer_map must list one teacher layer from 0 to "
                f"{limit - 1} for each of the student's {depth} layers, got {list(self.layer_map)}"
            )
        return self.layer_map

    def features(
        self, teacher: PreTrainedModel, student: PreTrainedModel, *, seed: int, torch_device: str
    ) -> tuple[tuple[float, Feature], ...]:
        """The features to match, each with its weight."""
        methods = METHODS[self.method]
        layers = self.layers(teacher, student) if methods else ()
        features: list[tuple[float, Feature]] = []
        if "hidden" in methods:
            hidden = HiddenStates(teacher, student, layers, seed, torch_device)
            features.append((self.hidden_weight, hidden))
        if "attention" in methods and self.attention == "maps":
            features.append((self.attention_weight, AttentionMaps(teacher, student, layers)))
        if "attention" in methods and self.attention == "relation":
            relations = Relations(teacher, student, layers, self.relation_heads)
            features.append((self.attention_weight, relations))
        return tuple(features)

    def _depth(self, module: PreTrainedModel) -> int:
        """Layers that can be matched one by one."""
        stack = find_stack(module)
        if stack.shared:
            raise ConfigError(
                f"matching.method={self.method} needs layers that run once each, that of "
                f"{type(module).__name__} runs {stack.depth} times; take matching.method=logit"
            )
        return stack.depth

    def _try(self, teacher: PreTrainedModel, student: PreTrainedModel) -> None:
        """Computes the losses once, on a batch of zeros."""
        features = [f for _, f in self.features(teacher, student, seed=0, torch_device="cpu")]
        batch = any_batch(teacher)
        mask = batch.get("attention_mask")
        options = {"output_attentions": True} if any(f.needs_maps for f in features) else {}
        try:
            with torch.no_grad(), watching([p for f in features for p in f.watched]) as seen:
                for module in (teacher, student):
                    with _eager(module):
                        module(**batch, **options)
                for feature in features:
                    feature.loss(seen, None if mask is None else mask.bool())
        except Exception as error:  # whatever a model's own code raises
            raise ConfigError(
                f"matching.method={self.method} cannot compare the layers of "
                f"{type(teacher).__name__} and {type(student).__name__}: {first_line(error)}; "
                "take matching.method=logit"
            ) from error


def even_layers(depth: int, limit: int) -> tuple[int, ...]:
    """Evenly spread, the last to the last: TinyBERT's uniform map, rounded to the nearest layer."""
    return tuple((2 * (i + 1) * limit + depth) // (2 * depth) - 1 for i in range(depth))


def last_layers(depth: int, limit: int) -> tuple[int, ...]:
    """The uppermost layers: PKD-Last."""
    return tuple(range(limit - depth, limit))


LAYER_MAPS: Mapping[str, Callable[[int, int], tuple[int, ...]]] = {
    "even": even_layers,
    "last": last_layers,
}


def check_same_tokens(
    method: str, teacher: CompressedModel, tokenizer: Processor, rows: Split
) -> None:
    """Raises a ConfigError if a student's tokenizer makes other tokens than the teacher's."""
    if tokenizer is teacher.tokenizer:
        return
    name = teacher.module.main_input_name
    pairs = zip(rows.encode(tokenizer), rows.encode(teacher.tokenizer), strict=True)
    for number, (ours, theirs) in enumerate(pairs):
        if not np.array_equal(ours[name], theirs[name]):
            raise ConfigError(
                f"matching.method={method} needs a student with the teacher's tokenizer, got "
                f"another one (row {number} of {rows.name} differs); take matching.method=logit"
            )


@contextmanager
def matching_objective(
    matching: Matching, row_loss: RowLoss | None, student: PreTrainedModel, ctx: StageContext
) -> Iterator[Objective]:
    """The loss on logits, if there is one, plus the matching losses, with hooks on both models."""
    if row_loss is not None and not matching.matches_features:
        yield Objective(on_logits(row_loss))
        return
    torch_device = ctx.device.torch_device
    teacher = copy.deepcopy(ctx.teacher.module).to(torch_device).eval()
    weighted = matching.features(teacher, student, seed=ctx.seed, torch_device=torch_device)
    features = [feature for _, feature in weighted]
    with ExitStack() as stack:
        dropouts: list[nn.Module] = []
        if any(feature.needs_maps for feature in features):
            for module in (teacher, student):
                stack.enter_context(_eager(module))
            dropouts = [block.attention for block in known_blocks(student)]
        seen = stack.enter_context(watching([p for f in features for p in f.watched]))
        options = {"output_attentions": True} if dropouts else {}
        accepted = inspect.signature(teacher.forward).parameters

        def loss(model: nn.Module, inputs: dict[str, Tensor], rows: Tensor) -> Tensor:
            for part in dropouts:
                part.eval()  # training_step sets the whole model back to train
            read = model_inputs(inputs)
            logits = model(**read, **options).logits.float()
            # Tokenizers of one vocabulary can differ in what they add, such as token types.
            known = {name: value for name, value in read.items() if name in accepted}
            with torch.no_grad(), training_precision(ctx.device):
                teacher(**known, **options)
            mask = inputs.get("attention_mask")
            real = None if mask is None else mask.bool()
            total = logits.new_zeros(()) if row_loss is None else row_loss(logits, inputs, rows)
            for weight, feature in weighted:
                total = total + weight * feature.loss(seen, real)
            return total

        learned = [parameter for feature in features for parameter in feature.parameters]
        groups = [{"params": learned}] if learned else []
        yield Objective(loss, parameters=groups, scored=row_loss is not None)


@contextmanager
def watching(parts: Sequence[nn.Module]) -> Iterator[Seen]:
    """Captures the outputs of these modules in their latest forward pass, by module."""
    seen: dict[nn.Module, Any] = {}

    def keep(part: nn.Module, _: Any, output: Any) -> None:
        seen[part] = output

    with ExitStack() as hooks:
        for part in dict.fromkeys(parts):  # once each: two features can watch one module
            hooks.enter_context(part.register_forward_hook(keep))
        yield seen


@contextmanager
def _eager(module: PreTrainedModel) -> Iterator[None]:
    """Runs a model's attention in plain torch, which returns its maps."""
    before = module.config._attn_implementation
    module.set_attn_implementation("eager")
    try:
        yield
    finally:
        module.set_attn_implementation(before)
