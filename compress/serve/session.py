"""What runs a deployed model: from a batch of tokens to logits, as arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from compress.config.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Shaped


# By the names of a model's inputs.
Arrays: TypeAlias = Mapping[str, "Shaped[np.ndarray, 'B ...']"]


class Session(ABC):
    """A model of one runtime, loaded from its folder.

    Attributes:
        precision: what it computes in, whatever it is stored in: "float32", "bfloat16", "int8".
    """

    precision: str

    @abstractmethod
    def run(self, batch: Arrays) -> Float[np.ndarray, "B ..."]:
        """Logits of one padded batch.

        Raises:
            UserError: the batch is longer than the model's table of positions.
        """


def check_length(batch: Mapping[str, Any], limit: int | None) -> None:
    """Refuses a batch of too long texts, for which runtimes may give numbers all the same.

    Args:
        batch: arrays or tensors, B × L.
        limit: tokens of the longest text; None without a limit, as for images.

    Raises:
        UserError: the batch is too long.
    """
    tokens = batch.get("input_ids")
    if tokens is not None and limit is not None and tokens.shape[1] > limit:
        raise UserError(
            f"a batch is {tokens.shape[1]} tokens long, the model takes at most {limit}"
        )
