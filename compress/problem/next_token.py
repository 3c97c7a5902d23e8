"""What the problems of language models have in common: the next token of a text, and its losses."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional

from compress.core.problem import Head, Problem
from compress.problem.per_token import IGNORED, token_divergence, token_loss

LARGEST_EXACT = 2**24  # whole numbers up to here are exact in float32
PLACES = 256  # of a row that are scored at once: a copy of all logits would double the memory
NLL, GUESS, HIT, CHOSEN = range(4)  # what is kept of a token
# Where in a window, as shares of its length behind a token, the other three of a choice stand.
DISTANCES = (0.29, 0.53, 0.71)


class NextToken(Problem, ABC):
    """The next token of a text: head, losses, and what is kept of each token."""

    head: ClassVar[Head] = "language_model"
    keeps_logits: ClassVar[bool] = False
    kept_version: ClassVar[int] = 2  # a fourth figure of each token: the choice among four

    def config(self) -> Mapping[str, Any]:
        """No entries: the vocabulary is part of the model's config."""
        return {}

    def targets(
        self, labels: Shaped[Tensor, " B"], inputs: Mapping[str, Tensor]
    ) -> Int[Tensor, "B L"]:
        """The next token at each position; `IGNORED` at the last and before padding."""
        return next_tokens(inputs)

    def loss(
        self,
        logits: Float[Tensor, "B L V"],
        targets: Int[Tensor, "B L"],
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Cross entropy, averaged over tokens."""
        return token_loss(logits, targets, label_smoothing)

    def distillation_loss(
        self,
        student: Float[Tensor, "B L V"],
        teacher: Float[Tensor, "B L V"],
        targets: Int[Tensor, "B L"],
        temperature: float,
    ) -> Float[Tensor, ""]:
        """T² · KL(teacher ‖ student at temperature T), as a mean over tokens."""
        return token_divergence(student, teacher, targets, temperature)

    def kept(
        self, logits: Float[Tensor, "B L V"], inputs: Mapping[str, Tensor]
    ) -> Float[Tensor, "B L-1 4"]:
        """Per-token statistics after the first token: NLL, argmax, top-1 hit, choice hit.

        The choice hit is whether the token is the likeliest of four, see `choices`; -1 where two
        of them are the same token. Padding has 0, -1, 0 and -1.
        """
        assert logits.shape[-1] <= LARGEST_EXACT, "tokens are kept as float32"
        targets = next_tokens(inputs)[:, :-1]
        parts = (logits[:, :-1], targets, choices(targets))
        split = (torch.split(each, PLACES, dim=1) for each in parts)
        return torch.cat([_token_statistics(*each) for each in zip(*split, strict=True)], dim=1)


def next_tokens(inputs: Mapping[str, Tensor]) -> Int[Tensor, "B L"]:
    """The next token at each position; `IGNORED` at the last and before padding."""
    tokens = inputs["input_ids"]
    if "attention_mask" in inputs:
        tokens = tokens.masked_fill(inputs["attention_mask"] == 0, IGNORED)
    return functional.pad(tokens[:, 1:], (0, 1), value=IGNORED)


def choices(targets: Int[Tensor, "B L"]) -> Int[Tensor, "B L 3"]:
    """Three distractors for each token, from its own window.

    A cloze test with four answers (Taylor, "Cloze procedure", Journalism Quarterly 30:415, 1953),
    of which the wrong ones stand elsewhere in the same passage. So all four are drawn from what the
    passage is made of: to know its subject, or which words are frequent, gives one right in four
    and no more; what gives more is to know what comes here.
    """
    length = targets.shape[1]
    return torch.stack([targets.roll(-round(d * length), dims=1) for d in DISTANCES], dim=-1)


def _token_statistics(
    logits: Float[Tensor, "B places V"],
    targets: Int[Tensor, "B places"],
    others: Int[Tensor, "B places 3"],
) -> Float[Tensor, "B places 4"]:
    guesses, real = logits.argmax(dim=-1), targets != IGNORED
    wanted = logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    lost = logits.logsumexp(dim=-1) - wanted
    rivals = logits.gather(-1, others.clamp(min=0)).amax(dim=-1)
    four = torch.cat([targets[..., None], others], dim=-1).sort(dim=-1).values
    asked = (four[..., 0] != IGNORED) & (four[..., 1:] != four[..., :-1]).all(dim=-1)
    chosen = torch.where(asked, (wanted > rivals).float(), -1.0)
    found = torch.stack([lost, guesses.float(), (guesses == targets).float(), chosen], dim=-1)
    return torch.where(real[..., None], found, found.new_tensor([0.0, -1.0, 0.0, -1.0]))
