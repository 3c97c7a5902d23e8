"""Every experiment there is: found by glob, composed, each of its rows built, and one run."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from compress.experiment.definition import check_row, parse_experiment
from compress.job import blank_record
from compress.records.collect import collect
from compress.records.schema import FinishedRun, write_record
from compress.report.experiment import experiment_tables
from tests.configs import ROOT, TINY, compose_config, yaml_names
from tests.experiment.sweeps import sweep
from tests.slow import slow_but

SMALL_STUDENT = "experiment.options.student=['student=layers','student.keep=2']"
# Tiny models and files in the place of what an experiment would have from a hub.
OFFLINE = {
    "bert_imdb_kd_prune_int8": (SMALL_STUDENT, "task.source=offline"),
    "bert_sst2_six_rows": (SMALL_STUDENT, "task.path={glue}"),
    "bert_glue_structured": (
        "task=sst2", "task.path={glue}", "teacher.heads=8", "experiment.options.blocks=[2,3]",
        "experiment.options.rank_min=4",
    ),
    "distilbert_sst2_edge": ("task.path={glue}",),
    "banglabert_hate_kd_prune_quant": (
        SMALL_STUDENT, "task.path={csv}",
        "experiment.options.quantizer=['quantizer=rtn','quantizer.group_size=16']",
    ),
    "demo": (),
    "compare_pruners": ('experiment.cross=["pruner.sparsity=0.5"]',),
    "lm_quantizers": ("teacher.architecture=llama", "task.context=16", "task.path={text}"),
    "stsb_layers": ("teacher.layers=12", "task.path={pairs}"),
    "wanda_lm_table": ("teacher.architecture=llama", "task.context=16", "task.path={text}"),
}  # fmt: skip
EVERY = yaml_names("experiment")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    rows = [(f"a {('dull', 'glad')[i % 2]} film number {i}", i % 2) for i in range(120)]
    table = pd.DataFrame(rows, columns=["sentence", "label"])
    (tmp_path / "glue").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        own = table.assign(sentence=table["sentence"] + f" of {name}")  # no row is in both
        own.to_csv(tmp_path / "glue" / name, sep="\t", index=False)
    table.set_axis(["text", "label"], axis="columns").to_csv(tmp_path / "mine.csv", index=False)
    pairs = pd.DataFrame([(text, f"film {i}", i % 6) for i, (text, _) in enumerate(rows)])
    pairs.columns = ["sentence1", "sentence2", "score"]
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    (tmp_path / "text").mkdir()
    for name in ("train.txt", "valid.txt", "test.txt"):
        (tmp_path / "text" / name).write_text("".join(f" {text} \n" for text, _ in rows))
    return {
        "glue": str(tmp_path / "glue"),
        "csv": str(tmp_path / "mine.csv"),
        "pairs": str(tmp_path / "pairs.csv"),
        "text": str(tmp_path / "text"),
    }


def offline(name: str, files: dict[str, str]) -> list[str]:
    given = ("teacher=tiny_random", *OFFLINE[name])
    return [f"+experiment={name}", *(each.format(**files) for each in given)]


def test_every_experiment_is_tried_here() -> None:
    assert sorted(OFFLINE) == EVERY


@pytest.mark.parametrize("name", EVERY)
def test_it_says_what_it_is_and_how_to_run_it(name: str) -> None:
    lines = (ROOT / "conf" / "experiment" / f"{name}.yaml").read_text().splitlines()
    header = "\n".join(line for line in lines if line.startswith("#"))
    assert lines[0] == "# @package _global_"
    assert f"python run.py -m +experiment={name}" in header
    for word in ("Quick stand-in", "Downloads"):
        assert word in header


@pytest.mark.parametrize("name", slow_but(["bert_sst2_six_rows", "wanda_lm_table"], EVERY))
def test_every_row_builds_on_a_tiny_model(name: str, files: dict[str, str], tmp_path: Path) -> None:
    jobs = sweep(tmp_path / "out", *offline(name, files))
    settings = compose_config(*offline(name, files)).experiment
    rows = parse_experiment({**settings, "row": None}).rows
    assert settings.name == name
    assert [word for job in jobs for word in job if word.startswith("experiment.row=")] == [
        f"experiment.row={row}" for row in rows
    ]


def test_a_row_from_its_overrides_to_the_table(
    files: dict[str, str], tmp_path: Path, run_config: Callable[..., FinishedRun]
) -> None:
    given = [*offline("distilbert_sst2_edge", files), "experiment.row=student_int8"]
    [job] = sweep(tmp_path / "none", *given, *TINY[1:], "task.limit=32")
    overrides = [each for each in job if not each.startswith("hydra.")]
    cfg = compose_config(*overrides)
    record = run_config(*overrides)
    blank = blank_record(cfg, record.choices, tuple(overrides))
    check_row(blank.config["experiment"], blank.overrides)
    record = replace(record, config=blank.config, overrides=blank.overrides)
    (tmp_path / "out").mkdir()
    write_record(record, tmp_path / "out")
    [table] = experiment_tables(collect([tmp_path / "out"]))
    assert [line.status for line in table.lines] == [*["not run"] * 3, "ok"]
    assert [goal.met is None for goal in table.lines[-1].goals()] == [False, False]
    assert table.row_changes() == {}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "run.py", *arguments, *TINY[2:], f"hydra.sweep.dir={folder / 'out'}",
            f"cache.dir={folder / 'cache'}",
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


@pytest.mark.slow
def test_a_row_from_the_command_line(files: dict[str, str], tmp_path: Path) -> None:
    row = "experiment.row=student_int8"
    done = run(tmp_path, "-m", *offline("distilbert_sst2_edge", files), row, "task.limit=32")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Not run, or without a record: teacher, student, student_fp16." in done.stdout
    folder = tmp_path / "out" / "student_int8"
    record = json.loads((folder / "metrics.json").read_text())
    assert record["config"]["experiment"]["row"] == "student_int8"
    # What the model's card says makes it again is a run of its own.
    card = (folder / "model" / "README.md").read_text()
    [command] = [line for line in card.splitlines() if line.startswith("python run.py")]
    assert "experiment.cross" not in command
    again = run(tmp_path, *shlex.split(command)[2:], f"hydra.run.dir={tmp_path / 'again'}")
    assert again.returncode == 0, again.stdout + again.stderr
    assert (tmp_path / "again" / "metrics.json").is_file()


@pytest.mark.slow
def test_without_m_it_says_how(tmp_path: Path) -> None:
    done = run(tmp_path, "+experiment=distilbert_sst2_edge", f"hydra.run.dir={tmp_path / 'one'}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: experiment distilbert_sst2_edge is 4 runs (teacher, ")
    assert "started by python run.py -m +experiment=distilbert_sst2_edge" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_row_runs_on_a_tiny_model(name: str, files: dict[str, str], tmp_path: Path) -> None:
    done = run(tmp_path, "-m", *offline(name, files), "task.limit=32")
    assert done.returncode == 0, done.stdout + done.stderr
    [table] = experiment_tables(collect([tmp_path / "out"]))
    assert table.whole
