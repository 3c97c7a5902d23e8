"""Exact tensor memory, by tracking torch storages."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that sums the live storages that operators return.

    Attributes:
        peak: the largest total so far, in bytes.
    """

    def __init__(self) -> None:
        """Starts at zero: existing storages are not counted."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._alive: set[int] = set()
        self._now = 0
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operator and counts the storages that it returns, inputs apart."""
        given = {storage._cdata for storage in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage._cdata not in given and storage._cdata not in self._alive:
                self.add(storage)
        return result

    def add(self, storage: torch.UntypedStorage) -> None:
        """Counts a storage until it is freed."""
        self._alive.add(storage._cdata)
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._remove, storage._cdata, storage.nbytes())

    def _remove(self, key: int, nbytes: int) -> None:
        self._alive.discard(key)
        self._now -= nbytes


def _storages(values: Any) -> Iterator[torch.UntypedStorage]:
    for leaf in tree_leaves(values):
        if isinstance(leaf, torch.Tensor):
            yield leaf.untyped_storage()
