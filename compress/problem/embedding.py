"""Embeddings of texts: vectors whose cosines say how much alike texts are.

A student learns the teacher's vectors where it has as many numbers in one (Reimers & Gurevych,
"Making Monolingual Sentence Embeddings Multilingual", arXiv:2004.09813, section 2, there by their
squared difference), and always the cosines of all texts of a batch with each other, which widths
and rotations do not matter to (Tung & Mori, "Similarity-Preserving Knowledge Distillation",
arXiv:1907.09682, section 3). Neither needs labels.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, final

from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional

from compress.core.problem import EMBEDDER, POOLING, TEXTS, Head, Problem, Quality
from compress.problem.regression import Regression
from compress.problem.vector_index import VectorIndex
from compress.records.schema import Comparison
from compress.records.scores import INDEX_BYTES

SCORES_OF_PAIRS = ("spearman", "pearson", INDEX_BYTES)
OF_NUMBERS = Regression()  # whose statistics those of cosines are


@dataclass(frozen=True)
class Embedding(Problem, ABC):
    """Base of the problems that are solved by the vectors of texts.

    Attributes:
        pooling: how tokens become a vector: a name of sentence-transformers; null as in the model's
            folder.
        similarities: weight of the difference of cosines in the distillation loss.
        index: how the vectors of a compressed model are kept; those of its baseline are whole.
    """

    head: ClassVar[Head] = EMBEDDER

    pooling: str | None
    similarities: float
    index: VectorIndex

    @property
    def digest(self) -> str:
        """That of all but the index."""
        return repr(self.of_baseline())

    @property
    def learned(self) -> str:
        """How many numbers are to be kept."""
        return "" if self.index.dimension is None else f"dimension={self.index.dimension}"

    def of_baseline(self) -> Self:
        """With whole vectors."""
        return replace(self, index=VectorIndex())

    def config(self) -> Mapping[str, Any]:
        """The pooling, if it is not the folder's."""
        return {} if self.pooling is None else {POOLING: [self.pooling]}

    def outputs(
        self, logits: Float[Tensor, "B*texts D"], inputs: Mapping[str, Tensor]
    ) -> Float[Tensor, "B texts D"]:
        """The vectors of each row's texts."""
        return logits.reshape(len(inputs[TEXTS]), -1, logits.shape[-1])

    def distillation_loss(
        self,
        student: Float[Tensor, "B texts D"],
        teacher: Float[Tensor, "B texts theirs"],
        targets: Shaped[Tensor, "labeled ..."],
        temperature: float,
    ) -> Float[Tensor, ""]:
        """The mean of 1 - cos(student, teacher), and the weighted difference of cosines.

        The former where vectors are as wide. The latter is of whole vectors and, where the index
        keeps fewer numbers, of those as well, against the teacher's whole ones. The temperature
        has no effect.
        """
        ours, theirs = _directions(student), _directions(teacher)
        wanted = theirs @ theirs.T
        loss = self.similarities * functional.mse_loss(ours @ ours.T, wanted)
        if self.index.dimension is not None:
            first = _directions(self.index.first(student))
            loss = loss + self.similarities * functional.mse_loss(first @ first.T, wanted)
        if ours.shape == theirs.shape:
            loss = loss + (1 - (ours * theirs).sum(dim=-1)).mean()
        return loss


@final
@dataclass(frozen=True)
class TextSimilarity(Embedding):
    """How much alike two texts are; evaluated by Spearman's correlation of cosines and labels.

    Attributes:
        highest: the label of texts that mean the same; 0 is that of unrelated ones.
    """

    highest: float

    def loss(
        self,
        logits: Float[Tensor, "B 2 D"],
        targets: Float[Tensor, " B"],
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Mean squared difference of cosines and labels (arXiv:1908.10084, section 3).

        Raises:
            UserError: labels are to be smoothed, and there are no classes to spread them over.
        """
        return OF_NUMBERS.loss(cosines(logits)[:, None], targets / self.highest, label_smoothing)

    def evaluate(self, kept: Float[Tensor, "rows 2 D"], labels: Float[Tensor, " rows"]) -> Quality:
        """Spearman and Pearson correlations of cosines and labels; and bytes of a vector."""
        found = OF_NUMBERS.evaluate(self._alike(kept), labels)
        size = self.index.bytes_each(kept.shape[-1])
        others = {"pearson": found.others["pearson"], INDEX_BYTES: size}
        return Quality(found.metric, found.value, found.low, found.high, others)

    def compare(
        self,
        candidate: Float[Tensor, "rows 2 D"],
        baseline: Float[Tensor, "rows 2 theirs"],
        labels: Float[Tensor, " rows"],
    ) -> Comparison:
        """Paired permutation test of the rank correlations of cosines and labels."""
        theirs = self.of_baseline()._alike(baseline)
        return OF_NUMBERS.compare(self._alike(candidate), theirs, labels)

    def _alike(self, kept: Float[Tensor, "rows 2 D"]) -> Float[Tensor, "rows 1"]:
        """The cosines of vectors as the index keeps them."""
        stored = self.index.kept(_directions(self.index.first(kept)))
        return cosines(stored.unflatten(0, (-1, 2)))[:, None]  # type: ignore[no-untyped-call]


def _directions(vectors: Float[Tensor, "B texts D"]) -> Float[Tensor, "B*texts D"]:
    """The vectors of all texts, with the length 1."""
    return functional.normalize(vectors.flatten(0, 1), dim=-1)


def cosines(pairs: Float[Tensor, "B 2 D"]) -> Float[Tensor, " B"]:
    """The cosine of each row's two vectors."""
    return functional.cosine_similarity(pairs[:, 0], pairs[:, 1], dim=-1)
