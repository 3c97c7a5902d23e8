"""Peak memory of a forward pass, counted tensor by tensor: the same figure every time."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Set
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from compress.interfaces import Runnable


def peak_memory(model: Runnable, batch: Mapping[str, Int[Tensor, "B L"]]) -> int:
    """Bytes of the weights plus the largest total of other tensors alive at once, inputs too.

    Counts the results of torch operators. Scratch space inside one operator, packed copies of
    weights and the allocator's slack are not in it, so the process takes more than this.
    """
    storages = [tensor.untyped_storage() for tensor in model.tensors()]
    weights = {storage.data_ptr(): storage.nbytes() for storage in storages}
    with LiveTensors(set(weights)) as live:
        for tensor in batch.values():
            live.add(tensor.untyped_storage())
        model.predict(batch)
    peak: int = sum(weights.values()) + live.peak
    return peak


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operators return, and takes each off when it dies.

    Attributes:
        peak: the largest total so far, in bytes.
    """

    def __init__(self, known: Set[int] = frozenset()) -> None:
        """Counts all but the storages at the `known` addresses."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = known  # views of weights are no new memory
        self._alive: set[int] = set()
        self._now = 0
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operator and counts what it returns."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf.untyped_storage())
        return result

    def add(self, storage: torch.UntypedStorage) -> None:
        """Counts a storage until it dies."""
        key = storage._cdata
        if key in self._alive or storage.data_ptr() in self._known:
            return
        self._alive.add(key)
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._remove, key, storage.nbytes())

    def _remove(self, key: int, nbytes: int) -> None:
        self._alive.discard(key)
        self._now -= nbytes
