"""Saved models measured again: the same figures, new times, and nothing made."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from pydantic.dataclasses import dataclass
from rich.console import Console

from compress.build import build_run
from compress.config.compose import without_targets
from compress.config.errors import UserError
from compress.interfaces import TaskData
from compress.job import blank_record, recorded
from compress.measure.run import LoadedModel, MeasureContext, Measured
from compress.measure.score import predict_all, score
from compress.measure.sparsity import count_weights
from compress.pipeline import execute
from compress.records.collect import collect
from compress.records.schema import Latency, ModelMetrics, Speedup, read_record
from compress.runtime.torch import TorchRuntime
from scripts.rebench import rebench
from tests.configs import TINY, compose_config
from tests.task.tables import write
from tests.test_pipeline import without_times

Sweep = Callable[..., Path]
WRITTEN = {"results.csv", "results.md", "pareto.png", "report.html"}
PARTS = (
    "metrics", "baseline", "comparison", "validation_comparison", "data", "history", "seed",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OtherRuntime(TorchRuntime):
    """One that exports as torch does, under a name of its own."""

    compile: bool = False


def quick_measure(
    candidate: LoadedModel, baseline: LoadedModel, data: TaskData, ctx: MeasureContext
) -> Measured:
    """As `measure`, with made-up times: every candidate is twice as fast as its baseline."""
    evaluation, device = data.evaluation, ctx.device
    rows = device.benchmark.scoring_batch
    key = {"model": baseline.digest}
    kept = ctx.store.tensors(
        "logits", key, lambda: {"logits": predict_all(baseline.model, evaluation, rows)}
    )
    pair = [predict_all(candidate.model, evaluation, rows), kept["logits"]]
    loaded_models = (candidate, baseline)
    metrics = []
    for loaded, logits, ms in zip(loaded_models, pair, (2.0, 4.0), strict=True):
        count = count_weights(loaded.model.weights(), loaded.compressible)
        metrics.append(
            ModelMetrics(
                score=score(logits, evaluation, rows, data.training.problem),
                parameters=count.total,
                nonzero_parameters=count.total - count.zeros,
                sparsity=count.compressible_zeros / count.compressible,
                model_sparsity=count.zeros / count.total,
                size_bytes=sum(path.stat().st_size for path in loaded.folder.glob("*.safet*")),
                latency=tuple(
                    Latency(*shape, 5, ms, 0.1, None, None, 1.0)
                    for shape in device.benchmark.shapes
                ),
                peak_memory_bytes=None,
                precision=loaded.model.precision,
            )
        )
    speeds = tuple(Speedup(*shape, 2.0, 1.9, 2.1) for shape in device.benchmark.shapes)
    found = data.training.problem.compare(*pair, evaluation.labels)
    return Measured(*metrics, speeds, found, found)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("compress.pipeline", "compress.replay.rebench"):
        monkeypatch.setattr(f"{module}.measure", quick_measure)
    # Plots take seconds, and one is drawn where figures are really measured.
    monkeypatch.setattr("compress.report.write.plot_pareto", lambda _, path: path.write_bytes(b""))


@pytest.fixture
def sweep(tmp_path: Path, cache_dir: Path) -> Sweep:
    """Executes a sweep: one run a list of overrides."""

    def run(*runs: Iterable[str]) -> Path:
        folder = tmp_path / "sweep"
        for number, overrides in enumerate(runs):
            words = (*TINY, f"cache.dir={cache_dir}", *overrides)
            cfg = compose_config(*words)
            choices = {key: value for key, _, value in (w.partition("=") for w in words)}
            choices = {"device": "cpu", "task": "rotten_tomatoes"} | choices
            blank = blank_record(cfg, {k: v for k, v in choices.items() if "." not in k}, words)
            own = folder / str(number)
            own.mkdir(parents=True)
            recorded(
                blank, own,
                lambda record, cfg=cfg, own=own: execute(build_run(cfg), own, folder, record),
            )  # fmt: skip
        return folder

    return run


def again(folder: Path, *overrides: str, out: Path | None = None) -> tuple[int, str, Path]:
    """Exit code, what was shown, and the folder with the new records."""
    shown = io.StringIO()
    before = set((folder / "rebench").glob("*"))
    code = rebench(folder, list(overrides), out, Console(file=shown, width=200))
    made = out or (set((folder / "rebench").glob("*")) - before).pop()
    return code, shown.getvalue(), made


def test_the_same_figures_from_a_sweep_that_moved(
    sweep: Sweep, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sweep(
        ("pruner=wanda",), ("pruner=lowrank",), ("pruner=wanda", "pruner.sparsity=2"),
        ("quantizer=int8_dynamic",),
    ).rename(tmp_path / "moved")  # fmt: skip
    monkeypatch.setattr("compress.store.cache.StageStore.model", None)
    code, shown, out = again(folder, "device.benchmark.seconds=0.5")
    assert code == 0
    assert f"left out {folder / '2'}, which failed: pruner.sparsity must be" in shown
    assert "3 ok, 0 failed" in shown
    assert {path.name for path in out.iterdir()} >= WRITTEN
    for number in (0, 1, 3):
        old, new = (read_record(root / str(number) / "metrics.json") for root in (folder, out))
        for part in PARTS:
            pair = [without_times(asdict(record)[part]) for record in (old, new)]
            assert pair[0] == pair[1]
        assert old.choices | {"device": "cpu"} == new.choices
        assert new.config == old.config | {"device": new.config["device"]}
        assert new.config["device"]["benchmark"]["seconds"] == 0.5
        assert new.config["device"]["benchmark"]["shapes"] == [[1, 8], [4, 16]]
        composed = OmegaConf.to_container(compose_config(*new.overrides).device)
        assert without_targets(composed) == new.config["device"]
        assert (out / str(number) / str(new.model)).resolve() == folder / str(number) / "model"
        assert (out / str(number) / str(new.baseline_model)).is_dir()
    assert len(collect([folder]).runs) == 4, "new records are no part of the old sweep"
    assert len(collect([out]).runs) == 3
    assert again(out, out=tmp_path / "third")[0] == 0


@pytest.mark.slow
def test_really_measured_again(sweep: Sweep) -> None:
    folder = sweep(("pruner=heads", "quantizer=int8_dynamic")) / "0"
    old = read_record(folder / "metrics.json")
    code, _, out = again(folder)
    new = read_record(out / "0" / "metrics.json")
    assert code == 0
    assert (out / "pareto.png").stat().st_size > 0
    assert (new.metrics.score, new.comparison) == (old.metrics.score, old.comparison)
    assert new.metrics.size_bytes == old.metrics.size_bytes
    assert new.metrics.latency != old.metrics.latency
    assert len(new.speedup) == 2


@pytest.mark.slow
def test_a_damaged_model_fails_alone(sweep: Sweep, quick: None) -> None:
    folder = sweep((), ("quantizer=int8_dynamic",), ("pruner=wanda",))
    (folder / "0" / "model" / "runtime.json").write_text("{}")
    weights = folder / "1" / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    code, shown, out = again(folder)
    assert code == 1
    assert "1 ok, 2 failed" in shown
    records = [read_record(out / str(i) / "metrics.json") for i in range(3)]
    assert [record.status for record in records] == ["failed", "failed", "ok"]
    assert "runtime.json is damaged" in str(records[0].error)
    assert "weights.safetensors is damaged" in str(records[1].error)


def test_what_cannot_be_measured_is_refused_at_once(
    sweep: Sweep, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sweep(("quantizer=none",))
    monkeypatch.setattr("compress.replay.rebench.load_measured", None)
    for overrides, said in (
        (["task.limit=3"], "only settings of device can be given, got task.limit=3"),
        (["device.runtime.x=1"], "models are measured as they are"),
        (["device=cuda"], "finds no GPU"),
        (["device.threads=0"], "device.threads must be > 0 or null, got 0"),
        (["device.benchmark.shapes=[[1,1000]]"], "has length 1000, the teacher takes at most 512"),
    ):
        with pytest.raises(UserError) as caught:
            again(folder, *overrides, out=tmp_path / "out")
        assert said in str(caught.value)
    (tmp_path / "full" / "x").mkdir(parents=True)
    with pytest.raises(UserError, match="is not empty"):
        again(folder, out=tmp_path / "full")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no run succeeded, so there is nothing to measure"):
        again(tmp_path / "empty")
    assert not (tmp_path / "out").exists()


def test_a_device_with_another_runtime_is_refused(
    sweep: Sweep, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(Path(__file__).parents[2] / "conf", conf)
    other = (conf / "device" / "cpu.yaml").read_text().replace(
        "compress.runtime.torch.TorchRuntime", "compress.runtime.other.OtherRuntime"
    )  # fmt: skip
    (conf / "device" / "other.yaml").write_text(other)
    monkeypatch.setattr("compress.replay.rebench.CONF", conf)
    monkeypatch.setitem(sys.modules, "compress.runtime.other", sys.modules[__name__])
    folder = sweep(())
    with pytest.raises(UserError) as caught:
        again(folder, "device=other")
    words = str(caught.value)
    assert words.startswith("device=other runs OtherRuntime, ")
    assert "model was exported for torch; allowed: cpu, cuda" in words
    assert again(folder, "device=cpu")[0] == 0


def test_a_sweep_without_its_baseline_is_refused(sweep: Sweep, quick: None) -> None:
    folder = sweep(())
    record = folder / "0" / "metrics.json"
    raw = json.loads(record.read_text())
    baseline = folder / "0" / raw["baseline_model"]
    (baseline / "config.json").unlink()
    with pytest.raises(UserError, match=r"baseline-.*config\.json is missing"):
        again(folder)
    shutil.rmtree(baseline)
    with pytest.raises(UserError, match=r"baseline-.* has no manifest\.json"):
        again(folder)
    del raw["baseline_model"]
    record.write_text(json.dumps(raw))
    with pytest.raises(UserError, match=r"status is ok, but baseline_model is missing"):
        again(folder)


@pytest.mark.slow
def test_the_folds_of_a_run_are_measured_one_by_one(
    sweep: Sweep, quick: None, tmp_path: Path
) -> None:
    path = write(tmp_path / "mine.csv")
    folder = sweep(("task=csv", f"task.path={path}", "task.split.folds=2"))
    code, shown, out = again(folder)
    assert code == 0
    assert "2 ok, 0 failed" in shown
    assert len(collect([folder]).runs) == 1
    for name in ("0/fold-1", "0/fold-2"):
        old, new = (read_record(root / name / "metrics.json") for root in (folder, out))
        for part in ("metrics", "data", "history"):
            pair = [without_times(asdict(record)[part]) for record in (old, new)]
            assert pair[0] == pair[1]
