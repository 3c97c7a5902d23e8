from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from torch import nn

from compress.build import build_run
from compress.config.errors import UserError
from compress.device.cuda import Cuda
from compress.pipeline import execute
from compress.pruner.components.masks import keep_highest
from compress.pruner.sparsegpt import prune_columns
from compress.quantizer.fp8 import Fp8Linear
from compress.records.schema import FinishedRun
from compress.transformer.second_order import inverse_factor_
from tests.configs import TINY, blank_record, compose_config, needed, settings_of, yaml_names

ON_GPU = [
    *(("quantizer", name) for name in ("fp16", "bf16", "fp8", "int8_weight_only", "nf4")),
    ("quantizer", "rtn"),
    *(("pruner", name) for name in yaml_names("pruner")),
    *(("student", name) for name in ("layers", "scratch")),
]
SHORT = (
    "student.distillation.epochs=1", "pruner.schedule.epochs=1", "pruner.recovery.epochs=1",
    "student.layers=2", "student.hidden=16", "student.heads=2", "student.neurons=null",
)  # fmt: skip

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
OnGpu = Callable[..., FinishedRun]


@pytest.fixture
def run_on_gpu(tmp_path: Path, cache_dir: Path) -> OnGpu:
    def run(*overrides: str) -> FinishedRun:
        tiny = [setting for setting in TINY if not setting.startswith("device.threads")]
        cfg = compose_config("device=cuda", *tiny, f"cache.dir={cache_dir}", *overrides)
        record = execute(build_run(cfg), tmp_path, tmp_path, blank_record(cfg))
        assert record.environment.device.startswith("cuda, ")
        return record

    return run


def cuda() -> Cuda:
    made = settings_of("device", "cuda")
    assert isinstance(made, Cuda)
    return made


def test_no_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=r"device=cuda: torch \(.*\) finds no GPU; set device=cpu"):
        cuda().check()


def test_fp8_on_an_older_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: (8, 0))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA A100")
    with pytest.raises(UserError, match=r"fp8 needs a GPU of .* 8\.9 or later, got NVIDIA A100"):
        cuda().runtime.check(settings_of("quantizer", "fp8"), cuda())  # type: ignore[arg-type]


@needs_gpu
@pytest.mark.parametrize(("group", "name"), ON_GPU)
def test_a_whole_run_on_a_gpu(group: str, name: str, run_on_gpu: OnGpu) -> None:
    keys = compose_config(f"{group}={name}", *needed(group, name))[group]
    short = [s for s in SHORT if s.split(".")[0] == group and s.split(".")[1] in keys]
    record = run_on_gpu(f"{group}={name}", *needed(group, name), *short)
    assert record.metrics.peak_memory_bytes is not None


@needs_gpu
def test_a_language_model_on_a_gpu(run_on_gpu: OnGpu) -> None:
    record = run_on_gpu("teacher.architecture=llama", "task=wikitext2", "pruner=sparsegpt")
    assert record.metrics.generation is not None


@needs_gpu
@pytest.mark.parametrize("quantizer", ["none", "bf16", "fp8"])
def test_a_compiled_run_on_a_gpu(quantizer: str, run_on_gpu: OnGpu) -> None:
    run_on_gpu(f"quantizer={quantizer}", "device.runtime.compile=true")


@needs_gpu
@pytest.mark.parametrize("columns", [96, 112])
def test_sparsegpt_is_the_same_on_both(columns: int) -> None:
    """In blocks of 32: with and without a rest."""
    transformers.set_seed(0)
    inputs, weight = torch.randn(500, columns), torch.randn(64, columns)
    factor = inverse_factor_(inputs.T @ inputs, damping=0.01)

    def choose(score: torch.Tensor) -> torch.Tensor:
        return keep_highest(score, 0.5)

    here, there = (
        prune_columns(weight.to(where), factor.to(where), 32, 32, choose)
        for where in ("cpu", "cuda")
    )
    assert (here[1] == there[1].cpu()).float().mean() > 0.999
    same = here[1] == there[1].cpu()
    torch.testing.assert_close(there[0].cpu()[same], here[0][same], atol=1e-3, rtol=1e-3)


@needs_gpu
def test_fp8_products_are_the_same_on_both() -> None:
    transformers.set_seed(0)
    layer = Fp8Linear.of(nn.Linear(64, 48))
    x = torch.randn(5, 7, 64, dtype=torch.bfloat16)
    here = layer(x)
    there = layer.cuda()(x.cuda()).cpu()
    torch.testing.assert_close(there, here, atol=0.02, rtol=0.02)
