"""Whole runs in this process: what is recorded, and that it repeats."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from torch import Tensor

from compress import load
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, Pruner, Quantizer, StageContext, TrainingData
from compress.records.schema import RunRecord, write_record
from compress.report.write import write_report
from compress.serve.folder import read_manifest
from compress.stage.stages import load_measured
from compress.transformer.blocks import block_linears
from compress.transformer.torch_model import TorchModel
from scripts.export import export
from tests.configs import settings_of
from tests.slow import slow
from tests.tiny import torch_export

Runs = Callable[..., RunRecord]
TIMES = {"latency", "speedup", "seconds", "measuring_seconds", "environment", "stages", "started"}
# What an operating system counts, in pages.
TIMES |= {"peak_memory_bytes", "resident_bytes"}
# The last bits of weights depend on how many threads trained them; other figures do not show it.
TIMES |= {"zipped_bytes", "loss", "validation_loss"}


def rounded(value: Any) -> Any:
    """Probabilities show the last bits of weights, which predictions do not."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def without_times(value: Any) -> Any:
    """The record with everything left out that a clock has touched."""
    if isinstance(value, dict):
        return {
            k: rounded(v) if k == "calibration" else without_times(v)
            for k, v in value.items()
            if k not in TIMES
        }
    if isinstance(value, (list, tuple)):
        return [without_times(item) for item in value]
    return value


def test_a_record_has_all_its_figures(run_apart: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    record = run_apart("pruner=wanda", "quantizer=int8_dynamic", folder=folder)
    assert record.status == "ok"
    assert record.metrics.sparsity >= 0.5
    assert record.baseline.sparsity == 0.0
    assert record.metrics.parameters == record.baseline.parameters
    assert record.metrics.nonzero_parameters < record.baseline.nonzero_parameters
    told = ("manifest.json", "README.md")
    needed = [p for p in (folder / "model").iterdir() if p.name not in told]
    assert record.metrics.size_bytes == sum(path.stat().st_size for path in needed)
    assert record.metrics.size_bytes < record.baseline.size_bytes
    assert record.metrics.score.samples == 64
    assert record.data.truncated is not None
    assert 0 <= record.data.truncated < 0.5
    assert [(s.batch, s.length) for s in record.speedup] == [(1, 8), (4, 16)]
    assert all(s.low <= s.ratio <= s.high for s in record.speedup)
    assert [step["stage"] for step in record.history] == ["teacher", "pruner", "quantizer"]
    covered = [step["notes"]["covered_fraction"] for step in record.history[1:]]
    assert 0 < covered[0] < covered[1] < 1, "the quantizer has the classifier as well"
    model = load(folder / "model")
    assert model.logits(["good film"]).shape == (1, 2)
    assert record.metrics.tokenizer == model.tokenizer
    assert record.baseline.tokenizer == "transformers"
    for timed in (*record.metrics.latency, *record.baseline.latency):
        assert timed.tokenize_ms is not None
        assert timed.text_to_label_ms == timed.median_ms + timed.tokenize_ms
    # Each comparison is of its own split: `n_improved - n_regressed` is the change on it.
    ours, theirs = record.metrics, record.baseline
    for found, mine, other in (
        (record.comparison, ours.score, theirs.score),
        (record.validation_comparison, ours.validation, theirs.validation),
    ):
        assert found is not None
        assert mine is not None
        assert other is not None
        change = mine.samples * (mine.value - other.value)
        assert found.n_improved - found.n_regressed == round(change)


def test_a_classifiers_folder_has_its_temperature_and_its_run_the_rows_that_flipped(
    run_config: Runs, tmp_path: Path
) -> None:
    learns = ("teacher.finetune.epochs=8", "teacher.finetune.learning_rate=0.01")
    record = run_config(*learns, "pruner=magnitude", "pruner.sparsity=0.9", folder=tmp_path / "run")
    assert record.status == "ok"
    assert record.comparison.n_regressed, "the case needs rows that flip"
    ours, compared = record.metrics, record.comparison
    assert ours.calibration is not None
    assert record.baseline.calibration is not None
    assert read_manifest(tmp_path / "run" / "model").temperature == ours.calibration.temperature
    assert ours.calibration.scaled != ours.calibration.plain
    assert sum(map(sum, ours.confusion)) == sum(each.support for each in ours.classes) == 64
    hits = sum(row[place] for place, row in enumerate(ours.confusion))
    assert hits / 64 == pytest.approx(ours.score.value)
    model = load(tmp_path / "run" / "model")
    texts = ["good film", "dull", "good"] * 30
    likely = softmax(model.logits(texts) / ours.calibration.temperature, axis=-1)
    assert np.allclose(model.predict_proba(texts), likely, atol=1e-5)
    for found, row in zip(model.classify(texts), likely.tolist(), strict=True):
        assert found["label"] == ours.classes[row.index(max(row))].name
        assert found["score"] == pytest.approx(max(row), abs=1e-5)
    flips = pd.read_csv(tmp_path / "run" / "flips.csv")
    assert (flips["change"] == "regressed").sum() == compared.n_regressed
    assert (flips["change"] == "improved").sum() == compared.n_improved
    assert (flips["label"] == flips["teacher"]).sum() == compared.n_regressed
    assert flips["text"].notna().all()


def test_a_run_on_images_has_its_figures(run_config: Runs, tmp_path: Path) -> None:
    sizes = ("image_size=8", "layers=2", "hidden=16", "heads=2", "training.epochs=1")
    record = run_config(
        "task=digits",
        "teacher=vit_scratch",
        *(f"teacher.{size}" for size in sizes),
        "pruner=heads",
        "pruner.recovery.epochs=1",
        "quantizer=int8_dynamic",
        "objectives=[accuracy,top5]",
        folder=tmp_path / "run",
    )
    assert record.status == "ok"
    assert record.metrics.score.value <= record.metrics.score.others["top5"] <= 1
    assert record.metrics.latency[0].tokens_per_second is None
    assert (record.metrics.tokenizer, record.metrics.latency[0].tokenize_ms) == (None, None)
    assert record.data.truncated is None
    assert load(tmp_path / "run" / "model").processor.size["height"] == 8


def test_the_same_run_twice_and_after_others_gives_the_same(
    run_config: Runs, tmp_path: Path
) -> None:
    overrides = (
        "student=layers", "pruner=wanda", "pruner.recovery.epochs=0.5", "quantizer=int8_dynamic",
    )  # fmt: skip
    caches = [tmp_path / name for name in ("a", "b")]
    for cache in caches:
        cache.mkdir()
    first = run_config(*overrides, cache=caches[0])
    again = run_config(*overrides, cache=caches[0])
    run_config("pruner=magnitude", "pruner.sparsity=0.9", "device.threads=null", cache=caches[1])
    after = run_config(*overrides, cache=caches[1])
    off = run_config(*overrides, "cache=off")
    records = [without_times(asdict(record)) for record in (first, again, after, off)]
    assert records[0] == records[1] == records[2] == records[3]


def test_an_artifact_can_be_the_next_teacher(run_config: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "first"
    first = run_config("pruner=wanda", "pruner.sparsity=0.25", folder=folder)
    model = ("teacher=local", f"teacher.path={folder / 'model'}", "teacher.finetune.epochs=0")
    second = run_config("quantizer=int8_dynamic", *model)
    assert second.baseline.score == first.metrics.score
    assert second.baseline.sparsity == first.metrics.sparsity


def test_a_folder_used_again_holds_the_new_model_alone(run_config: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    sizes = []
    for quantizer in ("int8_dynamic", "none", "int8_dynamic"):
        metrics = run_config(f"quantizer={quantizer}", folder=folder).metrics
        assert metrics is not None
        sizes.append(metrics.size_bytes)
    assert sizes[0] == sizes[2] < sizes[1]


@pytest.mark.parametrize("umask", slow([0o027, 0o022, 0o077, 0o002]), ids=oct)
def test_all_that_a_run_writes_follows_the_umask(
    umask: int, run_config: Runs, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    before = os.umask(umask)
    try:
        record = run_config(
            "quantizer=nf4", "measure_stages=true", cache=cache, folder=tmp_path / "run"
        )
        run_config("cache=off", "pruner=wanda", folder=tmp_path / "off")
        write_record(record, tmp_path / "run")
        write_report([tmp_path / "run"], tmp_path / "report")
        target = export(tmp_path / "run", tmp_path / "export")
    finally:
        os.umask(before)
    assert (target / "weights.safetensors").is_file()
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert len(found) > 50
    for path, mode in found.items():
        assert oct(mode) == oct((0o777 if path.is_dir() else 0o666) & ~umask), path


def test_the_seed_matters(run_config: Runs) -> None:
    first, other = (run_config("student=layers", f"seed={seed}") for seed in (0, 1))
    assert first.metrics != other.metrics


def test_no_stage_can_reach_the_evaluation_split() -> None:
    names = {*StageContext.__annotations__, *TrainingData.__annotations__}
    assert names == {
        "teacher", "data", "device", "seed", "store", "monitor",
        "train", "validation", "calibration", "problem", "unlabeled",
    }  # fmt: skip


@pytest.mark.parametrize("quantizer", ["none", "bf16", "int8_dynamic", "nf4"])
@pytest.mark.parametrize("pruner", ["none", "lowrank", "layers", "chain"])
def test_a_folder_says_which_weights_are_compressible(
    pruner: str, quantizer: str, teacher: CompressedModel, device: Cpu,
    context: Callable[[CompressedModel], StageContext], tmp_path: Path,
) -> None:  # fmt: skip
    prune, form = settings_of("pruner", pruner), settings_of("quantizer", quantizer)
    assert isinstance(prune, Pruner)
    assert isinstance(form, Quantizer)
    model = prune.prune(teacher, context(teacher))
    torch_export(model, form, tmp_path / "model")
    found = load_measured(tmp_path / "model", device).compressible
    assert found == {f"{name}.weight" for name in block_linears(model.module)}


def test_a_broken_expectation_fails_the_run(
    run_config: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_zeros(weight: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(weight, dtype=torch.int8), weight.abs().amax(dim=1)

    monkeypatch.setattr("compress.quantizer.components.linears.quantize_per_channel", no_zeros)
    monkeypatch.setattr("compress.transformer.rounding.check_rounding", lambda *_: None)
    with pytest.raises(AssertionError, match=r"zeros, \d+ were expected"):
        run_config("pruner=wanda", "quantizer=int8_dynamic")


def test_a_model_that_reloads_as_another_fails_the_run(
    run_config: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TorchModel.predict
    calls = iter(range(1000))
    monkeypatch.setattr(
        TorchModel, "predict", lambda self, batch: original(self, batch) + 1e-3 * next(calls)
    )
    with pytest.raises(
        AssertionError, match=r"logits of the reloaded model differ by up to 0\.001"
    ):
        run_config("pruner=wanda", "pruner.sparsity=0.1")
