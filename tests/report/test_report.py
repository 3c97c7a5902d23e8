from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from compress.config.errors import UserError
from compress.records.recipe import recipe
from compress.records.schema import Comparison, RunRecord, Speedup, write_record
from compress.report.screen import show
from compress.report.write import write_report
from tests.records.test_schema import make_failed, make_record, shippable

PNG = b"\x89PNG\r\n\x1a\n"


def put(root: Path, **records: RunRecord) -> Path:
    for name, record in records.items():
        folder = root / name.lstrip("r")
        (folder / ".hydra").mkdir(parents=True)
        write_record(record, folder)
    return root


def screen(root: Path, width: int = 100) -> str:
    out = io.StringIO()
    show(write_report([root], root), Console(file=out, width=width))
    return out.getvalue()


def test_one_row_a_run_with_units_and_failures(tmp_path: Path) -> None:
    put(tmp_path, r0=make_record(), r1=make_record(0.8, 500, 2.0), r2=make_failed())
    report = write_report([tmp_path], tmp_path)
    table = pd.read_csv(tmp_path / "results.csv", dtype={"run": str})
    assert table["run"].tolist() == ["0", "1", "2"]
    assert table["accuracy"].tolist()[:2] == [0.9, 0.8]
    assert table["latency_ms_1x32"].tolist()[:2] == [5.0, 2.0]
    assert table["speedup_1x32"].tolist()[:2] == [2.0, 5.0]
    assert pd.isna(table["accuracy"][2])
    assert table["error"][2] == "no"
    assert table["target_sparsity"][0] == table["sparsity"][0] == 0.5
    assert table["saved_bytes"].tolist()[:2] == [1000, 1500]
    assert table["p_value"][0] == table["difference_1x32"][0] == 1
    assert table["runtime"].tolist()[:2] == ["torch", "torch"]
    assert report.summary() == "2 ok, 1 failed"
    text = (tmp_path / "results.md").read_text()
    assert "## Failed runs" in text
    assert text.count("\n| 0 ") == text.count("\n| 1 ") == 2, "in both tables"
    assert "\n| 2 " not in text
    assert (tmp_path / "pareto.png").read_bytes().startswith(PNG)


def test_one_run_and_no_run(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=f"there is no run, no metrics.json, in {empty}"):
        write_report([empty], empty)
    assert list(empty.iterdir()) == []
    (empty / "0" / ".hydra").mkdir(parents=True)  # a run that was killed
    assert write_report([empty], empty).plots == ()
    assert "nothing to recommend" in (empty / "report.html").read_text()
    put(tmp_path / "one", r0=make_record())
    assert [p.name for p in write_report([tmp_path / "one"], tmp_path).plots] == ["pareto.png"]


def test_tasks_data_and_machines_never_share_a_plot(tmp_path: Path) -> None:
    base = make_record()
    here = base.environment
    other_machine = replace(base, environment=replace(here, machine="cpu Y"))
    other_threads = replace(base, environment=replace(here, device="cpu, 1 thread"))
    other_task = replace(base, choices=base.choices | {"task": "imdb"})
    other_rows = replace(base, data=replace(base.data, digest="other"))
    put(
        tmp_path, r0=base, r1=other_machine, r2=other_threads, r3=other_task, r4=other_rows, r5=base
    )
    report = write_report([tmp_path], tmp_path)
    assert len(report.plots) == len(list(tmp_path.glob("pareto*.png"))) == 5
    assert {p.name.rpartition("-")[2] for p in report.plots} == {"rt.png", "imdb.png"}


@pytest.mark.usefixtures("undrawn")
def test_broken_and_unfinished_runs_are_named_and_skipped(tmp_path: Path) -> None:
    put(tmp_path, r0=make_record(), r3=make_record(0.8))
    (tmp_path / "1" / ".hydra").mkdir(parents=True)
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "metrics.json").write_text('{"schema": 1, "stat')
    report = write_report([tmp_path], tmp_path)
    assert report.summary() == "2 ok, 0 failed, 1 unfinished, 1 unreadable"
    assert report.table["run"].tolist() == ["0", "3"]
    assert report.table["accuracy"].tolist() == [0.9, 0.8]
    assert "2/metrics.json is not valid JSON" in (tmp_path / "results.md").read_text()
    assert "unreadable" in screen(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_run_ten_comes_after_run_nine(tmp_path: Path) -> None:
    put(tmp_path, **{f"r{i}": make_record() for i in range(11)})
    runs = write_report([tmp_path], tmp_path).collection.runs
    assert [folder.name for folder, _ in runs] == [str(i) for i in range(11)]


@pytest.mark.usefixtures("undrawn")
def test_hostile_text_stays_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> | [bold]x[/bold]\nnext"
    record = make_failed(choices={"pruner": evil, "task": evil})
    put(
        tmp_path,
        r0=replace(record, error=evil),
        r1=make_record(overrides=("pruner.x=1",), config={"pruner": {"x": evil}}),
    )
    shown = screen(tmp_path, width=300)
    assert "[bold]x[/bold]" in shown
    text = (tmp_path / "results.md").read_text()
    assert "<script" not in text
    rows = [line for line in text.splitlines() if line.startswith("| 1 ")]
    assert [row.replace("\\|", "").count("|") for row in rows] == [14, 11]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is not a directory"):
        write_report([tmp_path / "nowhere"], tmp_path)


@pytest.mark.parametrize(
    ("choices", "config", "overrides", "words"),
    [
        ({}, {}, (), "teacher as it is"),
        ({"pruner": "wanda"}, {"pruner": {"sparsity": 0.5}}, (), "wanda sparsity=0.5"),
        ({"pruner": "wanda"}, {"pruner": {"sparsity": 0.50138168}}, (), "wanda sparsity=0.5014"),
        (
            {"student": "layers", "quantizer": "int8_dynamic"},
            {"student": {"keep": 2, "distillation": {"temperature": 4}}},
            ("student.distillation.temperature=4",),
            "layers keep=2 temperature=4 + int8_dynamic",
        ),
        (
            {"pruner": "wanda"},
            {"pruner": {"sparsity": 0.5, "pattern": "2:4"}},
            ("pruner.pattern='2:4'",),
            "wanda sparsity=0.5 pattern=2:4",
        ),
        ({"device": "cpu"}, {}, (), "teacher as it is"),
        # Equal ends are distinguished by what stands before them, and by no more than that.
        (
            {"pruner": "chain"},
            {"pruner": {"steps": {"heads": {"sparsity": 0.2}, "neurons": {"sparsity": 0.3}}}},
            ("pruner.steps.heads.sparsity=0.2", "pruner.steps.neurons.sparsity=0.3"),
            "chain heads.sparsity=0.2 neurons.sparsity=0.3",
        ),
        (
            {"pruner": "chain"},
            {"pruner": {"steps": {"a": {"x": {"n": 1}, "m": 3}, "b": {"x": {"n": 2}}}}},
            ("pruner.steps.a.x.n=1", "pruner.steps.b.x.n=2", "pruner.steps.a.m=3"),
            "chain a.x.n=1 b.x.n=2 m=3",
        ),
        # A whole path that another one ends with stays as it is.
        (
            {"pruner": "wanda"},
            {"pruner": {"sparsity": 0.5, "recovery": {"sparsity": 0.1}}},
            ("pruner.recovery.sparsity=0.1", "pruner.sparsity=0.5"),
            "wanda sparsity=0.5 recovery.sparsity=0.1",
        ),
        # The same key twice: the last one holds, and is in the config.
        (
            {"pruner": "heads"},
            {"pruner": {"round_to": 8}},
            ("pruner.round_to=4", "++pruner.round_to=8"),
            "heads round_to=8",
        ),
        (
            {"student": "layers", "task/transfer": "reviews", "task": "rt"},
            {"student": {"keep": 2}, "task": {"transfer": {"limit": 9, "corpus": "imdb"}}},
            ("task/transfer=reviews", "task.transfer.limit=9"),
            "layers keep=2, transfer reviews limit=9",
        ),
        ({"task/transfer": "none"}, {"task": {"transfer": {}}}, (), "teacher as it is"),
        (
            {"task": "sts", "quantizer": "bf16"},
            {"task": {"dimension": 64, "vectors": "int8"}},
            ("task.vectors=int8",),
            "bf16, index dimension=64 vectors=int8",
        ),
        ({}, {"task": {"dimension": None, "vectors": "float32"}}, (), "teacher as it is"),
        # Groups do not mix: each has its own names.
        (
            {"student": "layers", "pruner": "heads"},
            {"student": {"distillation": {"epochs": 1}}, "pruner": {"recovery": {"epochs": 2}}},
            ("student.distillation.epochs=1", "pruner.recovery.epochs=2"),
            "layers epochs=1 + heads epochs=2",
        ),
    ],
)
def test_recipes(
    choices: dict[str, str], config: dict[str, object], overrides: tuple[str, ...], words: str
) -> None:
    assert recipe(make_record(choices=choices, config=config, overrides=overrides)) == words


@pytest.mark.usefixtures("undrawn")
def test_screen_has_the_best_run_first_and_ends_with_what_to_ship(tmp_path: Path) -> None:
    better = make_record(0.9, 500, 2.5, config={"pruner": {"sparsity": 0.4}})
    put(tmp_path, r0=shippable(make_record(0.7)), r1=shippable(better))
    shown = screen(tmp_path)
    assert shown.index("0.900") < shown.index("0.700")
    plot, verdict, page = shown.rstrip().splitlines()[-3:]
    assert plot.endswith("pareto.png")
    assert verdict.startswith("Ship run 1: 0.0 MB instead of 0.0, 4.0 times as fast (3.6 to 4.4), ")
    assert page == f"Report: {tmp_path / 'report.html'}", "whole, however narrow the screen is"


@pytest.mark.usefixtures("undrawn")
def test_each_section_has_its_verdict_on_the_screen(tmp_path: Path) -> None:
    base = shippable(make_record())
    tasks = {f"r{i}": replace(base, choices=base.choices | {"task": f"t{i}"}) for i in range(6)}
    put(tmp_path, **tasks)
    *shown, more, _ = screen(tmp_path, width=300).rstrip().splitlines()
    expected = [f"t{i} on cpu X, cpu, 2 threads: Ship" for i in range(4)]
    assert [line[: len(expected[0])] for line in shown[-4:]] == expected
    assert more == "… and 2 more sections"


def test_a_recipe_names_the_runtime_that_ran_it_or_was_to() -> None:
    record = make_record(choices={"quantizer": "int8_static", "device": "cpu"})
    ran = replace(record, metrics=replace(record.metrics, runtime="openvino"))
    assert recipe(ran) == "int8_static on openvino"
    failed = make_failed(choices={"device": "cpu_onnxruntime"})
    assert recipe(failed) == "teacher as it is on onnxruntime"


@pytest.mark.usefixtures("undrawn")
def test_what_was_not_measured_is_a_dash(tmp_path: Path) -> None:
    record = make_record()
    unknown = replace(record.metrics, zipped_bytes=None, bitmask_bytes=None, resident_bytes=None)
    put(tmp_path, r0=replace(record, metrics=unknown))
    assert "0.900" in screen(tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert "(p = 1) | 0.0 | 50 % | 1×32 | 5.00 | 10.00 | 2.00 (1.80 to 2.20) |" in text
    assert "| 0.500 | 0.500 | 0.0 | 0.0 | – | – | – | 0.0 |" in text


@pytest.mark.usefixtures("undrawn")
def test_warnings_stand_above_the_table_and_words_below_it(tmp_path: Path) -> None:
    base = make_record()
    busy = replace(base, environment=replace(base.environment, busy="something took 2 of 2"))
    other = replace(base, environment=replace(base.environment, machine="cpu Y"))
    put(tmp_path, r0=base, r1=busy, r2=other)
    shown, text = screen(tmp_path, width=300), (tmp_path / "results.md").read_text()
    for said in (shown, text):
        assert "2 machines, whose times do not compare: cpu X, cpu, 2 threads (runs 0, 1)" in said
        busy_at = said.index("The machine was busy with something else at the start of run 1:")
        words_at = said.index("Runs 0, 1, 2: Half of the block weights are zero")
        assert busy_at < said.index("recipe") < words_at


@pytest.mark.usefixtures("undrawn")
def test_the_screen_tells_chance_and_noise_apart_from_change(tmp_path: Path) -> None:
    same = Speedup(1, 32, 1.01, 0.98, 1.03, 1.02)
    worse = make_record(0.7, comparison=Comparison(0.7, 30, 2, 1e-6))
    put(tmp_path, r0=make_record(speedup=(same,)), r1=worse)
    better, other = (line for line in screen(tmp_path).splitlines() if "wanda" in line)
    assert "p = 1 " in better
    assert "no measurable difference" in better
    assert "p < 0.001" in other
    assert "2.00 (1.80 to 2.20)" in other
