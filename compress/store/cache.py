"""The stage cache: results of stages, stored under a hash of everything that determines them.

A key is the SHA-256 of the stage's settings and version, the digests of its inputs, the seed, the
kind of processor and the versions of the libraries that affect the result. An entry is written
under a temporary name and renamed when complete, so a killed run leaves no partial entry.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers
from filelock import FileLock
from pydantic.dataclasses import dataclass
from safetensors.torch import load_file, save_file
from torch import Tensor

from compress.config.errors import UserError
from compress.config.settings import Settings, within
from compress.core.model import Later
from compress.core.monitor import UNWATCHED, Monitor
from compress.interfaces import CompressedModel, Device
from compress.records.recipe import STAGES
from compress.records.schema import Outcome, StageRecord
from compress.serve.folder import read_manifest
from compress.store.artifact import read_model, write_model
from compress.store.cache_root import (
    CHECKSUM,
    KEY_LETTERS,
    OWN_FOLDER,
    TENSORS,
    check_root,
    delete_entry,
    delete_root,
    lock_of,
    open_root,
    whole_tensors,
)
from compress.store.kinds import TORCH
from compress.system.digests import file_digest
from compress.system.files import whole_folder
from compress.system.logs import DETAIL
from compress.system.packages import choice_name
from compress.transformer.processors import read_written_processor

log = logging.getLogger(__name__)

# Names on the terminal whatever became of them; others only if they took some seconds.
SHOWN = ("teacher", *STAGES)
SLOW_SECONDS = 2.0
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "datasets")


@dataclass(frozen=True, kw_only=True)
class Cache(Settings):
    """Stage cache settings.

    Attributes:
        dir: folder of the stage cache.
        reuse: whether to use results of earlier runs. If not, stages are stored in the run's folder
            and deleted at its end.
    """

    dir: str
    reuse: bool

    def check(self) -> None:
        """Checks that the folder can be a cache.

        Raises:
            UserError: it holds other files.
        """
        if self.reuse:
            check_root(Path(self.dir))

    @contextmanager
    def open(
        self, run_folder: Path, device: Device, seed: int, monitor: Monitor = UNWATCHED
    ) -> Iterator[StageStore]:
        """Opens the stage store of one run."""
        if self.reuse:
            yield StageStore(Path(self.dir), device, seed, monitor)
            return
        own = run_folder / OWN_FOLDER
        delete_root(own)  # left by a killed run
        try:
            yield StageStore(own, device, seed, monitor)
        finally:
            delete_root(own)


class StageStore:
    """Looks up stages, computes missing ones, and records the time of each."""

    def __init__(
        self, folder: Path, device: Device, seed: int, monitor: Monitor = UNWATCHED
    ) -> None:
        """Opens the store; its folder is created on first use. Keys depend on `device` and `seed`.

        Raises:
            UserError: the folder holds something other than a cache.
        """
        check_root(folder)
        versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
        arithmetic = [device.torch_device, str(device.training_dtype())]
        self._common = {"seed": seed, "versions": versions, "arithmetic": arithmetic}
        self._folder = folder
        self._seed, self._monitor = seed, monitor
        self.records: list[StageRecord] = []

    def model(
        self,
        stage: str,
        settings: Settings,
        inputs: Mapping[str, str],
        make: Callable[[], CompressedModel],
    ) -> CompressedModel:
        """The model that a stage computes from its inputs, read from the store or computed now.

        Every stage starts from the run's seed, so its result does not depend on whether earlier
        stages ran or were cached.
        """
        digests = (each.content_digest() for _, each in within(settings, Settings, stage))
        content = {"content": "-".join(filter(None, digests)), "inputs": dict(inputs)}
        key = self._key(stage, {**settings.describe(), **content})
        self._monitor.stage(stage)
        started = time.perf_counter()
        folder = self._folder / stage / key
        with _entry_lock(folder):
            found = _read(folder, key)
            if found is not None:
                self._note(stage, started, "cached")
                return found
            transformers.set_seed(self._seed)
            if (choice := choice_name(type(settings))) != "none":
                log.info("%s: %s …", stage, choice)
            made = make()
            if made.digest:
                # The stage returned its own input, which is stored already.
                self._note(stage, started, "skipped")
                return made
            with whole_folder(folder, equal=True) as temporary:
                write_model(made, temporary, TORCH)
            self._note(stage, started, "computed")
            # Read back, so that the next stage gets the same model as from the cache.
            stored = _read(folder, key)
            assert stored is not None, "it was just written"
            return stored

    def tensors(
        self, name: str, inputs: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Tensors of these inputs, read from the store or computed now."""
        folder = self._folder / name / self._key(name, inputs)
        started = time.perf_counter()
        with _entry_lock(folder):
            found = _read_tensors(folder)
            if found is not None:
                self._note(name, started, "cached")
                return found
            made = make()
            with whole_folder(folder, equal=True) as temporary:
                save_file(made, temporary / TENSORS)
                (temporary / CHECKSUM).write_text(file_digest(temporary / TENSORS))
            self._note(name, started, "computed")
            return made

    def _key(self, name: str, inputs: Mapping[str, Any]) -> str:
        text = json.dumps({"name": name, **inputs, **self._common}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LETTERS]

    def _note(self, name: str, started: float, outcome: Outcome) -> None:
        seconds = time.perf_counter() - started
        self.records.append(StageRecord(name=name, seconds=seconds, outcome=outcome))
        brief = name not in SHOWN and (outcome != "computed" or seconds < SLOW_SECONDS)
        detail = DETAIL if brief or outcome == "skipped" else None
        log.info("%s: %s in %.1f s", name, outcome, seconds, extra=detail)


@contextmanager
def _entry_lock(folder: Path) -> Iterator[None]:
    """Locks an entry inside the block; a second run waits and then finds it complete.

    The lock belongs to the operating system and ends with its process.
    """
    open_root(folder.parent.parent)
    folder.parent.mkdir(exist_ok=True)
    with FileLock(lock_of(folder)):
        yield


def _read(folder: Path, key: str) -> CompressedModel | None:
    """A stored model; None if there is none, or if it is damaged, which deletes it."""
    if not folder.exists():
        return None
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        log.warning("recomputing the cache entry: %s", error)
        delete_entry(folder)
        return None
    os.utime(folder)  # the age of an entry is counted from its last use
    module = Later(lambda: read_model(folder))
    tokenizer = Later(lambda: read_written_processor(folder))
    return CompressedModel(module, tokenizer, manifest.history, digest=key, folder=folder)


def _read_tensors(folder: Path) -> dict[str, Tensor] | None:
    """Stored tensors; None if there are none, or if they are damaged, which deletes them."""
    if not folder.exists():
        return None
    if whole_tensors(folder):
        os.utime(folder)
        return load_file(folder / TENSORS)
    log.warning("recomputing the cache entry: %s is damaged", folder)
    delete_entry(folder)
    return None
