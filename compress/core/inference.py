"""A deployed model: from texts or batches to logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from compress.core.text_encoder import TextEncoder

if TYPE_CHECKING:
    from compress.core.model import Processor


SINGLE, MULTI = "single_label_classification", "multi_label_classification"
AT_ONCE = 32  # texts in a batch of `classify`


@dataclass(frozen=True)
class Outputs:
    """What a model's logits stand for.

    Attributes:
        labels: the class of each logit.
        problem: as transformers names it in `problem_type`; "" where it names none.
        temperature: what logits are divided by for probabilities.
    """

    labels: tuple[str, ...] = ()
    problem: str = ""
    temperature: float = 1.0


class InferenceModel(ABC):
    """A deployed model, loaded from disk.

    Attributes:
        outputs: what its logits stand for.
        encoder: tokenizes texts, as `logits` does.
        precision: what it computes in, whatever it is stored in: "float32", "bfloat16", "int8".
        decodes: whether `decode` works.
    """

    encoder: TextEncoder
    precision: str
    decodes: bool = False
    outputs: Outputs = Outputs()

    @property
    def tokenizer(self) -> Processor:
        """The tokenizer or image processor of transformers."""
        return self.encoder.tokenizer

    @final
    def logits(
        self, texts: Sequence[str], seconds: Sequence[str] | None = None
    ) -> Float[Tensor, "B ..."]:
        """Logits of texts, tokenized, truncated and padded as the rows of the model's task.

        Args:
            texts: one or more.
            seconds: the second texts where rows are pairs.

        Raises:
            TypeError: the model reads images, or `texts` is a text and not a list of them.
            ValueError: there is no text, or the number of second texts is another one.
        """
        if "input_ids" not in self.tokenizer.model_input_names:
            raise TypeError("the model reads images, not texts; use predict")
        columns = [texts] if seconds is None else [texts, seconds]
        if any(isinstance(column, str) for column in columns):
            raise TypeError("texts must be a list of texts, got one text")
        if not texts or len({len(column) for column in columns}) > 1:
            counts = " and ".join(str(len(column)) for column in columns)
            raise ValueError(f"expected one or more texts, and as many second ones, got {counts}")
        return self.predict(self.encoder.encode(columns, self.encoder.max_length))

    @final
    def predict_proba(
        self, texts: Sequence[str], seconds: Sequence[str] | None = None
    ) -> Float[Tensor, "B classes"]:
        """Probabilities of the classes of texts, with the temperature that was fitted in the run.

        Those of several labels a text are each by itself.

        Args:
            texts: one or more, in any number: they go through the model in batches.
            seconds: the second texts where rows are pairs.

        Raises:
            TypeError: the model is no classifier of texts.
            ValueError: see `logits`.
        """
        outputs = self.outputs
        if outputs.problem not in (SINGLE, MULTI):
            raise TypeError("the model has no classes; use logits, or predict")
        if seconds is not None and len(seconds) != len(texts):
            raise ValueError(f"expected as many second texts, got {len(texts)} and {len(seconds)}")
        parts = []
        for start in range(0, max(1, len(texts)), AT_ONCE):
            end = start + AT_ONCE
            others = None if seconds is None else seconds[start:end]
            logits = self.logits(texts[start:end], others).float() / outputs.temperature
            parts.append(logits.softmax(-1) if outputs.problem == SINGLE else logits.sigmoid())
        return torch.cat(parts)

    @final
    def classify(
        self, texts: Sequence[str], seconds: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """The label of each text with its probability: [{"label": "positive", "score": 0.98}].

        Of models with several labels a text, all labels with a probability of at least one half:
        [{"labels": ["a", "b"], "scores": [0.9, 0.6]}].

        Raises:
            TypeError: the model is no classifier of texts.
            ValueError: see `logits`.
        """
        names = self.outputs.labels
        found: list[dict[str, Any]] = []
        for row in self.predict_proba(texts, seconds).tolist():
            if self.outputs.problem == MULTI:
                chosen = [(n, p) for n, p in zip(names, row, strict=True) if p >= 0.5]
                found.append({"labels": [n for n, _ in chosen], "scores": [p for _, p in chosen]})
            else:
                best = max(range(len(row)), key=row.__getitem__)
                found.append({"label": names[best], "score": row[best]})
        return found

    @abstractmethod
    def predict(self, batch: Mapping[str, Int[Tensor, "B L"]]) -> Float[Tensor, "B ..."]:
        """Logits of one padded batch: B × outputs, or B × L × vocabulary of a language model."""

    def decode(self, tokens: Int[Tensor, "1 L"], count: int) -> Iterator[Int[Tensor, "1 1"]]:
        """Greedy decoding with a KV cache, token by token.

        Args:
            tokens: the text.
            count: how many; none of them ends it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no KV cache")

    @abstractmethod
    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every weight by name, shared ones once; codes for packed ones.

        Those of Linear layers as [out, in], however they are stored. In the type that they have on
        disk, as far as torch has it; see `packed_bits`.
        """

    def packed_bits(self) -> Mapping[str, int]:
        """Bits per entry on disk, by name, of packed weights; by default none."""
        return {}

    @abstractmethod
    def synchronize(self) -> None:
        """Waits until all work queued on the processor is done."""
