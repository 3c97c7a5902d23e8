"""Modules of transformers built from a config, in one thread at a time."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# `from_pretrained` takes `PreTrainedModel.tie_weights` and functions of `torch.nn.init` away from
# all threads while it runs. Of two at once the one that ends last would take them away for good,
# and a model that another thread builds meanwhile would be neither tied nor initialized.
BUILDING = RLock()


def new_module(
    make: Callable[..., PreTrainedModel], *arguments: Any, **settings: Any
) -> PreTrainedModel:
    """A model of some class, with weights of its own; `from_pretrained` has to hold `BUILDING`.

    Args:
        make: the class, or its `from_config`.
        arguments: what is passed to it, such as a config.
        settings: the same, by name.
    """
    with BUILDING:
        return make(*arguments, **settings)
