"""A tag for each word, such as named entities.

Models give logits for tokens; those of the first token of each word count, as in Devlin et al.,
"BERT", arXiv:1810.04805, section 5.3. So models with different tokenizers can learn from each other
and be compared, word by word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from compress.analysis.entities import f1, shared
from compress.analysis.resampling import (
    TEST_DRAWS,
    bootstrap_interval,
    paired_standard_error,
    permutation_p_value,
)
from compress.core.problem import PLACES, Head, Problem, Quality
from compress.problem.classification import head_labels
from compress.problem.per_token import IGNORED, token_divergence, token_loss
from compress.records.schema import Comparison

SCORES_OF_TAGS = ("entity_f1", "entity_precision", "entity_recall", "tag_accuracy")


@final
@dataclass(frozen=True)
class TokenClassification(Problem):
    """One tag for each word; evaluated by F1 over entities, with a bootstrap interval.

    Labels are the number of the sentence that a row is of, then the tag of each of its words;
    `IGNORED` for words that are there to be read alone, and behind the last one. Rows of a sentence
    follow each other, and so do its words.

    Attributes:
        names: the tags; O, the first one, is what a model says of a word that it has not read.
    """

    head: ClassVar[Head] = "token_classifier"

    names: tuple[str, ...]

    def config(self) -> Mapping[str, Any]:
        """Model config entries with the names of the tags."""
        return {**head_labels(self.names), "problem_type": None}

    def outputs(
        self, logits: Float[Tensor, "B L tags"], inputs: Mapping[str, Tensor]
    ) -> Float[Tensor, "B W tags"]:
        """The logits of each word's first token; zeros of words that have none."""
        places = inputs[PLACES].to(logits.device)
        at = places.clamp(min=0)[..., None].expand(-1, -1, logits.shape[-1])
        return logits.gather(1, at) * (places >= 0)[..., None]

    def targets(
        self, labels: Int[Tensor, "B 1+longest"], inputs: Mapping[str, Tensor]
    ) -> Int[Tensor, "B W"]:
        """The tag of each word of the batch."""
        return labels[:, 1 : 1 + inputs[PLACES].shape[1]]

    def loss(
        self,
        logits: Float[Tensor, "B W tags"],
        targets: Int[Tensor, "B W"],
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Cross entropy, averaged over words."""
        return token_loss(logits, targets, label_smoothing)

    def distillation_loss(
        self,
        student: Float[Tensor, "B W tags"],
        teacher: Float[Tensor, "B W tags"],
        targets: Int[Tensor, "B W"],
        temperature: float,
    ) -> Float[Tensor, ""]:
        """T² · KL(teacher ‖ student at temperature T), as a mean over words.

        A teacher's logits may have more words, as many as the longest of all rows has.
        """
        words = teacher[:, : student.shape[1]]
        return token_divergence(student, words, targets, temperature)

    def samples(self, labels: Int[Tensor, "rows 1+longest"]) -> int:
        """Sentences."""
        return len(set(labels[:, 0].tolist()))

    def evaluate(
        self, kept: Float[Tensor, "rows W tags"], labels: Int[Tensor, "rows 1+longest"]
    ) -> Quality:
        """F1 over entities, precision, recall, and the share of words with the right tag."""
        ours, right = self._said(kept, labels), self._right(labels)
        parts = _parts(ours, right)
        both, found, wanted = parts.sum(axis=0)
        low, high = bootstrap_interval(parts, f1)
        others = {
            "entity_precision": float(both / max(found, 1)),
            "entity_recall": float(both / max(wanted, 1)),
            "tag_accuracy": _share_equal(ours, right),
        }
        return Quality("entity_f1", float(f1(parts.sum(axis=0))), low, high, others)

    def compare(
        self,
        candidate: Float[Tensor, "rows W tags"],
        baseline: Float[Tensor, "rows W tags"],
        labels: Int[Tensor, "rows 1+longest"],
    ) -> Comparison:
        """Agreement on words, and a paired permutation test of F1 over sentences."""
        ours, theirs = (self._said(kept, labels) for kept in (candidate, baseline))
        right = self._right(labels)
        mine, its = _parts(ours, right), _parts(theirs, right)
        return Comparison(
            agreement=_share_equal(ours, theirs),
            n_regressed=None,
            n_improved=None,
            p_value=permutation_p_value(mine, its, f1),
            test=f"paired permutation test of F1 over sentences, {TEST_DRAWS:,} draws",
            standard_error=paired_standard_error(mine, its, f1),
        )

    def _said(
        self, kept: Float[Tensor, "rows W tags"], labels: Int[Tensor, "rows 1+longest"]
    ) -> list[list[str]]:
        """The likeliest tag of each word that counts, by sentence."""
        tags, wanted = kept.argmax(dim=-1), labels.shape[1] - 1
        return self._sentences(functional.pad(tags, (0, wanted - tags.shape[1])), labels)

    def _right(self, labels: Int[Tensor, "rows 1+longest"]) -> list[list[str]]:
        """The right tag of each word that counts, by sentence."""
        return self._sentences(labels[:, 1:], labels)

    def _sentences(
        self, tags: Int[Tensor, "rows longest"], labels: Int[Tensor, "rows 1+longest"]
    ) -> list[list[str]]:
        counts = labels[:, 1:] != IGNORED
        found: dict[int, list[str]] = {}
        for number, row, real in zip(labels[:, 0].tolist(), tags, counts, strict=True):
            found.setdefault(number, []).extend(self.names[tag] for tag in row[real].tolist())
        return list(found.values())


def _share_equal(ours: list[list[str]], others: list[list[str]]) -> float:
    """The share of words with the same tag."""
    sentences = zip(ours, others, strict=True)
    equal = [mine == other for pair in sentences for mine, other in zip(*pair, strict=True)]
    return sum(equal) / len(equal)


def _parts(ours: list[list[str]], right: list[list[str]]) -> Float[np.ndarray, "sentences 3"]:
    return np.array([shared(*pair) for pair in zip(ours, right, strict=True)], dtype=float)
