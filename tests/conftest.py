"""Shared fixtures: a tiny transformer, its rows, and a way to execute a config in this process."""

from __future__ import annotations

import contextlib
import copy
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import transformers
from datasets import Dataset
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from compress.build import build_run
from compress.cache import StageStore
from compress.device.cpu import Cpu
from compress.interfaces import (
    CompressedModel,
    Quantizer,
    Runnable,
    Split,
    StageContext,
    Step,
    TrainingData,
)
from compress.measure.benchmark import Benchmark
from compress.measure.timed import Inputs
from compress.pipeline import execute
from compress.problem.classification import Classification
from compress.pruner.none import NoPruner
from compress.records import SCHEMA, RunRecord
from compress.runtime.torch import TorchRuntime
from compress.settings import Settings
from compress.task.text import TextSplit
from compress.teacher.tiny_random import TinyRandomTeacher
from compress.train import Training

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
TINY = (
    "teacher=tiny_random",
    "task.limit=64",
    "device.threads=1",
    "device.benchmark.seconds=0.02",
    "device.benchmark.shapes=[[1,8],[4,16]]",
    "device.benchmark.sittings=1",
    "device.benchmark.noise_floor=false",
    "device.benchmark.generation.prompt=6",
    "device.benchmark.generation.new_tokens=3",
)

ROWS = {"train": 24, "validation": 8, "calibration": 6}
IMAGE_ARCHITECTURES = ("vit", "deit")
# Tiny tensors gain nothing from threads, and two test processes share the cores.
torch.set_num_threads(1)

NO_TRAINING = Training(
    epochs=0, learning_rate=1e-3, batch_size=8, warmup_fraction=0.0, patience=None
)


# What sets a key within a group, which Hydra does when all files are composed.
SETTING = re.compile(r"[a-z]\w*(\.\w+)+=")


def compose_config(*overrides: str) -> DictConfig:
    """The config that these overrides compose.

    Files take Hydra most of a tenth of a second, values little: what is composed of files is kept.
    """
    values = [override for override in overrides if SETTING.match(override)]
    cfg = copy.deepcopy(_of_files(tuple(o for o in overrides if o not in values)))
    ConfigLoaderImpl._apply_overrides_to_config(
        OverridesParser.create().parse_overrides(values), cfg
    )
    return cfg


@functools.cache
def _of_files(overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf")):
        return compose("config", list(overrides))


def blank_record(cfg: DictConfig | None = None) -> RunRecord:
    """A record of a run that has not begun."""
    groups = cfg or {}
    return RunRecord(
        schema=SCHEMA,
        status="failed",
        error=None,
        started="2026-01-01T00:00:00+00:00",
        seconds=0.0,
        seed=0,
        choices={str(name): "tiny" for name in groups},
        overrides=(),
        config={},
    )


@pytest.fixture(autouse=True)
def _quiet_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach for a network."""
    monkeypatch.setattr("compress.sources.hub_answers", lambda: False)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One stage cache for the whole test session."""
    return tmp_path_factory.mktemp("cache")


Runs = Callable[..., RunRecord]


class StillPair:
    """Stands in for the two processes in which models are timed: a pass takes a millisecond."""

    def wake(self, which: int) -> StillPair:
        return self

    def prepare(self, inputs: Inputs, seconds: float) -> float:
        return 1.0

    def time_block(self, passes: int) -> list[float]:
        return [1.0] * passes

    def resident_memory(self, inputs: Inputs) -> int:
        return 1000

    def peak_memory(self, inputs: Inputs) -> int:
        return 2000


@pytest.fixture
def run_apart(tmp_path: Path, cache_dir: Path) -> Runs:
    """Executes tiny configs, sharing one stage cache, and really times their models."""

    def run(*overrides: str, folder: Path | None = None, cache: Path = cache_dir) -> RunRecord:
        cfg = compose_config(*TINY, f"cache.dir={cache}", *overrides)
        folder = folder or tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        folder.mkdir(exist_ok=True)
        return execute(build_run(cfg), folder, folder, blank_record(cfg))

    return run


@pytest.fixture
def run_config(run_apart: Runs, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Executes tiny configs with made-up times: starting processes takes most of a tiny run."""
    monkeypatch.setattr(
        "compress.measure.latency.open_pair", lambda *_: contextlib.nullcontext(StillPair())
    )
    monkeypatch.setattr("compress.measure.environment.WINDOW_SECONDS", 0.01)
    return run_apart


@pytest.fixture(scope="session")
def device() -> Cpu:
    benchmark = Benchmark(
        shapes=((1, 8), (2, 16)),
        seconds=0.02,
        interval_width=0.02,
        sittings=1,
        noise_floor=False,
        scoring_batch=8,
    )
    return Cpu(
        threads=1, training_threads=None, runtime=TorchRuntime(compile=False), benchmark=benchmark
    )


def make_split(count: int, name: str = "train") -> TextSplit:
    """Rows whose label is whether the text is glad."""
    moods = ("a sad dull film", "a glad bright film with a good end")
    rows = [(f"{moods[i % 2]} number {i}", i % 2) for i in range(count)]
    return TextSplit(name, pd.DataFrame(rows, columns=["text", "label"]), max_length=32)


@pytest.fixture(scope="session")
def data() -> TrainingData:
    splits = {name: make_split(count, name) for name, count in ROWS.items()}
    return TrainingData(problem=Classification(("sad", "glad")), **splits)


@pytest.fixture(scope="session")
def images() -> TrainingData:
    splits = {name: ImageSplit(count, name) for name, count in ROWS.items()}
    return TrainingData(problem=Classification(("dark", "bright")), **splits)


class ImageSplit(Split):
    """Noise of 8 × 8 pixels whose brightness is its label."""

    def __init__(self, count: int, name: str) -> None:
        self.name, self.digest = name, f"images-{name}-{count}"
        noise = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(count))
        self._labels = torch.arange(count) % 2
        self._pixels = noise / 2 + self._labels[:, None, None, None] / 2

    @property
    def labels(self) -> torch.Tensor:
        return self._labels

    def encode(self, tokenizer: Any) -> Dataset:
        columns = {"pixel_values": self._pixels.tolist(), "length": [5] * len(self._labels)}
        return Dataset.from_dict(columns)

    def collate(self, tokenizer: Any, rows: Sequence[Any]) -> dict[str, torch.Tensor]:
        return {"pixel_values": torch.tensor([row["pixel_values"] for row in rows])}


def tiny_teacher(architecture: str = "bert", layers: int = 4) -> TinyRandomTeacher:
    heads = 4 if architecture == "llama" else 2
    return TinyRandomTeacher(
        architecture=architecture, layers=layers, hidden=16, heads=heads, finetune=NO_TRAINING
    )


def tiny_image_model(architecture: str) -> CompressedModel:
    """A random ViT or DeiT for 8 × 8 images."""
    transformers.set_seed(0)
    config = transformers.AutoConfig.for_model(
        architecture,
        num_hidden_layers=4,
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
        num_labels=2,
    )
    kinds = {
        "vit": transformers.ViTForImageClassification,
        "deit": transformers.DeiTForImageClassification,
    }
    processor = transformers.ViTImageProcessorPil(size={"height": 8, "width": 8})
    step = Step("teacher", {"class": "tests.conftest.tiny_image_model"})
    return CompressedModel(kinds[architecture](config).eval(), processor, (step,))


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


def settings_of(group: str, name: str, *overrides: str) -> Settings:
    """The object that a yaml constructs."""
    from hydra.utils import instantiate

    from compress.cli import TRUSTED_TARGETS

    choice = f"{group}={name}"
    cfg = compose_config("teacher=tiny_random", choice, *overrides)
    made = instantiate(cfg[group], _convert_="all", _execution_whitelist_=TRUSTED_TARGETS)
    assert isinstance(made, Settings)
    return made


def yaml_names(group: str) -> Sequence[str]:
    """Every choice of a config group, found by glob."""
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def torch_export(model: CompressedModel, quantizer: Quantizer, folder: Path) -> Runnable:
    """Writes a model folder for torch on the CPU; the model in memory that it was written from.

    Torch formats are not calibrated, so there are no rows.
    """
    device = settings_of("device", "cpu")
    ctx = StageContext(model, None, device, 0, None)  # type: ignore[arg-type]
    return TorchRuntime(compile=False).export(model, quantizer, folder, ctx).reference
