"""Losses of problems with a target for each token, or each word: means over those that count.

The distillation loss: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network",
arXiv:1503.02531, section 2, scaled by T² for each token; the mean over tokens, as in word-level
distillation (Kim & Rush, "Sequence-Level Knowledge Distillation", arXiv:1606.07947, section 3.1).
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from compress.problem.classification import softened_divergence

IGNORED = -100  # torch's own number for a target that counts for nothing


def token_loss(
    logits: Float[Tensor, "B L classes"], targets: Int[Tensor, "B L"], label_smoothing: float
) -> Float[Tensor, ""]:
    """Cross entropy, averaged over targets."""
    return functional.cross_entropy(
        logits.flatten(0, 1),
        targets.flatten(),
        ignore_index=IGNORED,
        label_smoothing=label_smoothing,
    )


def token_divergence(
    student: Float[Tensor, "B L classes"],
    teacher: Float[Tensor, "B L classes"],
    targets: Int[Tensor, "B L"],
    temperature: float,
) -> Float[Tensor, ""]:
    """T² · KL(teacher ‖ student at temperature T), as a mean over targets."""
    real = targets != IGNORED
    return softened_divergence(student[real], teacher[real], temperature)
