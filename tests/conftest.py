"""Shared fixtures: a tiny transformer, its rows, and a way to execute a config in this process."""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from compress.build import build_run
from compress.core.benchmark import Benchmark
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, StageContext, TrainingData
from compress.measure.timed import Columns, Inputs
from compress.measure.worker import PRELOADED
from compress.pipeline import execute
from compress.problem.classification import Classification
from compress.pruner.none import NoPruner
from compress.records.schema import FinishedRun
from compress.runtime.torch import TorchRuntime
from compress.store.cache import StageStore
from compress.system.processes import start_server
from tests.configs import TINY, blank_record, compose_config
from tests.search.engine import PRELOAD
from tests.tiny import (
    IMAGE_ARCHITECTURES,
    ROWS,
    ImageSplit,
    make_split,
    tiny_image_model,
    tiny_teacher,
)

# Tiny tensors gain nothing from threads, and several test processes share the cores.
torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """Readies a process of several for all tests.

    What was imported is taken out of every search for garbage, of which each training makes one.
    And the server that processes are forked from has what all of them need: it imports what the
    first caller names, after which those of others would import the rest one by one.
    """
    gc.collect()
    gc.freeze()
    if "PYTEST_XDIST_WORKER" in os.environ:
        start_server([*PRELOADED, *PRELOAD])


@pytest.fixture(autouse=True)
def _quiet_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach for a network."""
    monkeypatch.setattr("compress.system.sources.hub_answers", lambda: False)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One stage cache for the whole test session."""
    return tmp_path_factory.mktemp("cache")


Runs = Callable[..., FinishedRun]


class StillPair:
    """Stands in for the two processes in which models are timed: a pass takes a millisecond."""

    def wake(self, which: int) -> StillPair:
        return self

    def prepare(self, inputs: Inputs, seconds: float) -> float:
        return 1.0

    def time_block(self, passes: int) -> list[float]:
        return [1.0] * passes

    def tokenize(self, batches: Sequence[Columns], max_length: int, seconds: float) -> list[float]:
        return [0.5]

    def resident_memory(self, inputs: Inputs) -> int:
        return 1000

    def peak_memory(self, inputs: Inputs) -> int:
        return 2000


@pytest.fixture
def run_apart(tmp_path: Path, cache_dir: Path) -> Runs:
    """Executes tiny configs, sharing one stage cache, and really times their models."""

    def run(*overrides: str, folder: Path | None = None, cache: Path = cache_dir) -> FinishedRun:
        cfg = compose_config(*TINY, f"cache.dir={cache}", *overrides)
        folder = folder or tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        folder.mkdir(exist_ok=True)
        return execute(build_run(cfg), folder, folder, blank_record(cfg))

    return run


@pytest.fixture
def run_config(run_apart: Runs, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Executes tiny configs with made-up times: starting processes takes most of a tiny run."""
    for module in ("latency", "tokenization"):
        monkeypatch.setattr(
            f"compress.measure.{module}.open_pair", lambda *_: contextlib.nullcontext(StillPair())
        )
    monkeypatch.setattr("compress.measure.environment.WINDOW_SECONDS", 0.01)
    return run_apart


@pytest.fixture(scope="session")
def device() -> Cpu:
    benchmark = Benchmark(
        shapes=((1, 8), (2, 16)),
        seconds=0.02,
        target_ci_width=0.02,
        process_restarts=1,
        noise_floor=False,
        scoring_batch=8,
        share=True,
    )
    return Cpu(
        threads=1, training_threads=None, runtime=TorchRuntime(compile=False), benchmark=benchmark
    )


@pytest.fixture
def float32_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, and the logits that it learns, in float32, whatever the processor has."""
    monkeypatch.setattr(Cpu, "training_dtype", lambda _: torch.float32)


@pytest.fixture(scope="session")
def data() -> TrainingData:
    splits = {name: make_split(count, name) for name, count in ROWS.items()}
    return TrainingData(problem=Classification(("sad", "glad")), **splits)


@pytest.fixture(scope="session")
def images() -> TrainingData:
    splits = {name: ImageSplit(count, name) for name, count in ROWS.items()}
    return TrainingData(problem=Classification(("dark", "bright")), **splits)


@pytest.fixture(scope="session")
def teachers(
    data: TrainingData, device: Cpu, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], CompressedModel]:
    """A stored tiny teacher of an architecture, in a copy that may be changed."""
    store = StageStore(tmp_path_factory.mktemp("teachers"), device, seed=0)

    @functools.cache
    def stored(architecture: str) -> CompressedModel:
        if architecture in IMAGE_ARCHITECTURES:
            made, inputs = NoPruner(), {"images": architecture}
            return store.model("teacher", made, inputs, lambda: tiny_image_model(architecture))
        settings = tiny_teacher(architecture)
        return store.model("teacher", settings, {}, lambda: settings.load(data, device, 0))

    def get(architecture: str = "bert") -> CompressedModel:
        found = stored(architecture)
        return replace(found, module=copy.deepcopy(found.module))

    return get


@pytest.fixture
def teacher(teachers: Callable[[str], CompressedModel]) -> CompressedModel:
    return teachers("bert")


@pytest.fixture
def context(
    data: TrainingData, images: TrainingData, device: Cpu, tmp_path: Path
) -> Callable[[CompressedModel], StageContext]:
    """The context that a stage gets with a given teacher, on an empty store."""

    def make(teacher: CompressedModel) -> StageContext:
        transformers.set_seed(0)
        store = StageStore(tmp_path / "store", device, seed=0)
        sees = teacher.module.config.model_type in IMAGE_ARCHITECTURES
        return StageContext(teacher, images if sees else data, device, 0, store)

    return make
