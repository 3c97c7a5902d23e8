"""One saved model in every format: what is tried, what is not and why, and who wins."""

from __future__ import annotations

import argparse
import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel
from compress.quantizer.int8_dynamic import Int8Dynamic
from compress.quantizer.none import NoQuantizer
from compress.records.schema import (
    Comparison,
    Environment,
    FinishedRun,
    Latency,
    Speedup,
    read_record,
)
from compress.replay.probe import find_pairs, make_attempts
from compress.report.probe import (
    Probe,
    choose_shape,
    latencies,
    show_probe,
    winner_lines,
    write_probe,
)
from compress.serve.folder import read_manifest
from scripts.probe import probe
from tests.configs import TINY, yaml_names
from tests.records.test_schema import evaluated_by, make_metrics, make_record
from tests.replay.test_rebench import Sweep, quick, sweep
from tests.tiny import torch_export

__all__ = ["quick", "sweep"]  # fixtures

TORCH = ["cpu/none", "cpu/int8_dynamic", "cpu/qat_int8", "cuda/none"]


def try_pairs(
    model: Path, out: Path, *overrides: str, only: list[str] | None = None, shape: str | None = None
) -> tuple[int, str]:
    arguments = argparse.Namespace(
        folder=model, overrides=list(overrides), only=only or TORCH, shape=shape, out=out
    )
    shown = io.StringIO()
    code = probe(arguments, Console(file=shown, width=300))
    return code, shown.getvalue()


def test_every_pair_that_there_is_is_found() -> None:
    quantizers = yaml_names("quantizer")
    assert find_pairs(["cuda/*"]) == [f"cuda/{name}" for name in quantizers]
    assert find_pairs([]) == [f"{d}/{q}" for d in yaml_names("device") for q in quantizers]
    assert find_pairs(["cpu/none", "*/bf16"])[:2] == ["cpu/bf16", "cpu/none"]
    with pytest.raises(ConfigError, match="--only cpu matches no device/quantizer; devices are"):
        find_pairs(["cpu/none", "cpu"])


def test_a_pruned_model_is_tried_with_the_settings_of_its_run(
    sweep: Sweep, quick: None, tmp_path: Path
) -> None:
    run = sweep(("pruner=lowrank", "seed=3", "task.seed=1")) / "0"
    out = tmp_path / "probe"
    code, shown = try_pairs(run / "model", out, f"cache.dir={tmp_path / 'cache'}", shape="4x16")
    assert code == 0
    assert "1/2 cpu/int8_dynamic: " in shown
    assert "not tried cpu/qat_int8: it trains, and a probe only measures" in shown
    assert "not tried cuda/none: device=cuda: torch" in shown
    assert "cpu/int8_dynamic" in shown.partition("Shown to lose less than 1 point")[2]
    assert "4×16" in shown
    table = pd.read_csv(out / "probe.csv")
    assert table["status"].tolist() == ["ok", "ok", "not tried", "not tried"]
    assert {"latency_ms_1x8", "speedup_low_4x16", "p_value", "precision"} <= set(table)
    assert "## Not tried" in (out / "probe.md").read_text()
    old = read_record(run / "metrics.json")
    for name in ("cpu-none", "cpu-int8_dynamic"):
        record = read_record(out / name / "metrics.json")
        assert record.seed == 3
        assert record.config["task"] == old.config["task"]
        assert record.config["device"] == old.config["device"]
        assert record.choices["teacher"] == "artifact"
        assert record.data == old.data
        # The baseline is the run's model, low rank and all.
        assert record.baseline.score == old.metrics.score
        assert record.baseline.parameters == old.metrics.parameters
        stages = [step.stage for step in read_manifest(out / name / "model").history]
        assert stages == ["teacher", "pruner", "quantizer", "teacher", "quantizer"]
    assert (out / "cpu-none" / str(record.baseline_model)).is_dir()


def test_a_broken_pair_costs_that_pair_only(
    sweep: Sweep, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such kernel")

    model = sweep(()) / "0" / "model"
    monkeypatch.setattr(Int8Dynamic, "quantized", broken)
    out = tmp_path / "probe"
    code, shown = try_pairs(
        model, out, f"cache.dir={tmp_path / 'cache'}", only=["cpu/none", "cpu/int8_d*"]
    )
    assert code == 1
    assert "failed cpu/int8_dynamic: RuntimeError: no such kernel" in shown
    assert "Shown to lose less than 1 point of accuracy, on " in shown
    assert "## Failed" in (out / "probe.md").read_text()
    assert read_record(out / "cpu-int8_dynamic" / "metrics.json").status == "failed"


def test_without_a_record_the_task_must_be_named(
    teacher: CompressedModel, quick: None, tmp_path: Path
) -> None:
    torch_export(teacher, NoQuantizer(), tmp_path / "model")
    with pytest.raises(UserError, match=r"metrics\.json does not exist, so no task is known; name"):
        make_attempts(tmp_path / "model", ["cpu/none"], [])
    words = ["task=imdb", *(each for each in TINY if each.startswith(("task", "device")))]
    [attempt], _ = make_attempts(tmp_path / "model", ["cpu/none"], words)
    assert attempt.run.task.describe()["corpus"] == "imdb"
    assert attempt.start.overrides[-len(words) :] == tuple(words)


@pytest.mark.slow
def test_what_cannot_be_probed_is_refused_at_once(
    sweep: Sweep, teacher: CompressedModel, quick: None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = sweep(("quantizer=int8_dynamic",), ())
    out = tmp_path / "out"
    monkeypatch.setattr("compress.replay.probe.execute", None)
    for model, options, said in (
        (run / "0" / "model", {}, "is quantized"),
        (tmp_path, {}, "is not a compress model folder"),
        (run / "1" / "model", {"shape": "1x9"}, "are timed, 1x8, 4x16; got 1x9"),
        (run / "1" / "model", {"only": ["cuda/*"]}, "no pair of device and quantizer can be tried"),
    ):
        with pytest.raises(UserError) as caught:
            try_pairs(model, out, **options)  # type: ignore[arg-type]
        assert said in str(caught.value)
    for override, said in (
        ("pruner=wanda", "only settings of task, device, cache, seed can be given"),
        ("device=cpu", "choose among them with --only"),
    ):
        with pytest.raises(UserError, match=said):
            try_pairs(run / "1" / "model", out, override)
    assert not out.exists()


def result(
    device: str, baseline_ms: float, ratio: float, accuracy: float = 0.9, p_value: float = 1.0
) -> FinishedRun:
    """At 1 × 32 the ratio, at 8 × 64 the tenth of it."""
    shapes, ratios = ((1, 32), (8, 64)), (ratio, ratio / 10)
    latency = tuple(Latency(*shape, 5, baseline_ms, 0.1, None, None, 1.0) for shape in shapes)
    return make_record(
        environment=Environment("m", device, None, {"torch": "2"}),
        metrics=replace(make_metrics(accuracy), latency=latency),
        baseline=replace(make_metrics(0.91), latency=latency),
        speedup=tuple(
            Speedup(*shape, r, r - 0.1, r + 0.1) for shape, r in zip(shapes, ratios, strict=True)
        ),
        comparison=Comparison(0.9, 2, 1, p_value),
    )  # type: ignore[no-any-return]


def test_latencies_compare_across_runs_and_devices() -> None:
    """On cpu the baselines' median is 12 ms: 12 / 2 and 12 / 3, whatever else ran meanwhile."""
    records = {
        "a": result("cpu", 10.0, 2.0),
        "b": result("cpu", 14.0, 3.0),
        "c": result("gpu", 1.0, 0.5, accuracy=0.8, p_value=0.01),
    }
    assert latencies(records, (1, 32)) == {"a": 6.0, "b": 4.0, "c": 2.0}
    assert latencies(records, (8, 64)) == {"a": 60.0, "b": 40.0, "c": 20.0}
    assert list(Probe(records, {}, (1, 32)).ok) == ["c", "b", "a"]


def on_validation(record: FinishedRun, rows: int, regressed: int, improved: int) -> FinishedRun:
    """The record with counts on validation rows; the teacher has 0.91 on them."""
    theirs = replace(record.baseline.score, split="validation", samples=rows, value=0.91)
    ours = replace(theirs, value=0.91 + (improved - regressed) / rows)
    return replace(
        record,
        metrics=replace(record.metrics, validation=ours),
        baseline=replace(record.baseline, validation=theirs),
        validation_comparison=Comparison(0.9, regressed, improved, 0.5),
    )


def test_winners_are_those_of_the_rule_on_validation_rows() -> None:
    """By point estimates of the test rows all have lost one point, and "c" gained some."""
    records = {
        "a": on_validation(result("cpu", 10.0, 2.0), 1000, 3, 2),
        "b": on_validation(result("cpu", 10.0, 3.0), 1000, 40, 35),
        "c": on_validation(result("cpu", 10.0, 4.0, accuracy=0.95), 1000, 70, 10),
    }
    lines = list(winner_lines(Probe(records, {}, (1, 32))))
    assert lines == [
        "Shown to lose less than 1 point of accuracy, on 1,000 validation rows: "
        "fastest a (speed-up 2.00 (1.90 to 2.10), -1.0 points), "
        "smallest a (0.0 MB, -1.0 points); too few rows to decide on b",
        "Shown to lose less than 3 points of accuracy, on 1,000 validation rows: "
        "fastest b (speed-up 3.00 (2.90 to 3.10), -1.0 points), "
        "smallest b (0.0 MB, -1.0 points)",
    ]


def test_a_probe_that_found_nothing_is_shown(tmp_path: Path) -> None:
    found = Probe({}, {"cpu/x": "because [it] <is>", "cpu/y": "because [it] <is>"}, (1, 32))
    shown = io.StringIO()
    show_probe(found, Console(file=shown, width=100))
    assert shown.getvalue() == "not tried cpu/x, cpu/y: because [it] <is>\n"
    _, page = write_probe(found, tmp_path)
    assert "cpu/x, cpu/y: because [it] <is>" in page.read_text()


def test_shapes_by_name() -> None:
    shapes = [(1, 32), (8, 64)]
    assert (choose_shape(None, shapes), choose_shape("8x64", shapes)) == ((1, 32), (8, 64))
    with pytest.raises(ConfigError, match="1x32, 8x64; got 8×64"):
        choose_shape("8×64", shapes)


@pytest.mark.parametrize(
    ("metric", "values", "shown", "page"),
    [
        (
            "spearman", (0.9, 0.895),
            "Shown to lose less than 0.01 of Spearman correlation, on 100 test rows: fastest b "
            "(speed-up 3.00 (2.90 to 3.10), -0.0050), smallest b (0.0 MB, -0.0050)",
            "The change is of its Spearman correlation, of which higher is better; p is a test",
        ),
        (
            "perplexity", (20.0, 20.1),
            "Shown to raise perplexity by less than 1 %, on 100 test rows: fastest b (speed-up "
            "3.00 (2.90 to 3.10), +0.5 %), smallest b (0.0 MB, +0.5 %)",
            "The change is of its perplexity, of which lower is better; p is a test of that",
        ),
    ],
)  # fmt: skip
def test_a_probe_by_another_score(
    metric: str, values: tuple[float, float], shown: str, page: str, tmp_path: Path
) -> None:
    records = {}
    for name, value, ratio in (("a", values[0], 2.0), ("b", values[1], 3.0)):
        timed, evaluated = result("cpu", 10.0, ratio), evaluated_by(metric, value, values[0])
        scores = {
            part: replace(getattr(timed, part), score=getattr(evaluated, part).score)
            for part in ("metrics", "baseline")
        }
        comparison = Comparison(None, None, None, 0.5, "a test", standard_error=0.001)
        records[name] = replace(timed, **scores, comparison=comparison)
    found = Probe(records, {}, (1, 32))
    out = io.StringIO()
    show_probe(found, Console(file=out, width=200))
    assert shown in out.getvalue()
    table, text = write_probe(found, tmp_path)
    assert page in text.read_text()
    assert "accuracy" not in out.getvalue() + text.read_text() + table.read_text()
    row = pd.read_csv(table).set_index("format").loc["b"]
    assert row[metric] == values[1]
    assert row[f"{metric}_change"] == pytest.approx(values[1] - values[0])
