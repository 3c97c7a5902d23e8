"""`compress.run`, `sweep`, `results` and `load`, as a notebook uses them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.config.errors import UserError
from compress.records.schema import SCHEMA, write_record
from tests.commands import end_files
from tests.configs import ROOT, TINY
from tests.folders import copy_project
from tests.records.test_schema import make_record

SWEEP = ("pruner=magnitude", "pruner.sparsity=0.3,0.5")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging, "shutdown", end_files)


def test_a_sweep_is_a_table_and_its_models_load() -> None:
    before = list(logging.root.handlers)
    folder = compress.sweep([*TINY, *SWEEP])
    assert folder.parts[:2] == ("outputs", "sweeps")
    table = compress.results(folder)
    assert list(table["recipe"]) == ["magnitude sparsity=0.3", "magnitude sparsity=0.5"]
    assert list(table["status"]) == ["ok", "ok"]
    assert (folder / "report.html").is_file()
    model = compress.load(folder / "0" / "model")
    assert model.predict_proba(["a fine film"]).sum() == pytest.approx(1)
    assert logging.root.handlers == before


def test_a_run_returns_its_record_and_two_have_folders_of_their_own() -> None:
    first, second = (compress.run([*TINY, f"seed={seed}"]) for seed in (0, 1))
    assert (first.status, first.seed, second.seed) == ("ok", 0, 1)
    assert len(list(Path("outputs/runs").glob("*/*/metrics.json"))) == 2


@pytest.mark.slow
def test_a_folder_can_be_named() -> None:
    assert compress.run([*TINY, "hydra.run.dir=here"]).status == "ok"
    assert Path("here/model/manifest.json").is_file()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["prunner=wanda"], r"did you mean pruner\?"),
        (["pruner=wanda", "pruner.sparsity=2"], r"pruner\.sparsity must be in \[0, 1\), got 2"),
    ],
)
def test_a_mistake_is_an_error_in_one_line(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        compress.run([*TINY, *overrides])
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_runs_that_fail_end_no_sweep() -> None:
    """A pattern goes with one sparsity alone."""
    words = ["pruner=wanda", "pruner.sparsity=0.25,0.5", "pruner.pattern=2:4,null"]
    table = compress.results(compress.sweep([*TINY, *words]))
    assert sorted(table["status"]) == ["failed", "ok", "ok", "ok"]
    with pytest.raises(UserError, match=r"none was started: with student\.keep=9: "):
        compress.sweep([*TINY, "student=layers", "student.keep=1,9"])


@pytest.mark.parametrize("overrides", ["pruner=wanda", None, 5, [1], {"seed": 1}, [Path("x")]])
def test_overrides_are_a_list_of_texts(overrides: Any) -> None:
    with pytest.raises(UserError, match="overrides must be a list of strings"):
        compress.run(overrides)


@pytest.mark.parametrize("option", ["-m", "--help", "--version", "--cfg", "--info"])
def test_options_are_no_overrides(option: str) -> None:
    with pytest.raises(UserError, match=f"key=value settings, got the option {option}"):
        compress.sweep([option, *TINY])
    assert not list(Path().iterdir()), "a refused call leaves no folder"


def test_a_refused_call_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])
    before = (logging.raiseExceptions, os.environ.get("HYDRA_FULL_ERROR"))
    with pytest.raises(UserError, match="nonsense"):
        compress.run(word for word in ["nonsense.k=1"])  # type: ignore[arg-type]
    assert (logging.raiseExceptions, os.environ.get("HYDRA_FULL_ERROR")) == before
    assert sys.argv == []
    assert not list(Path("outputs/runs").glob("*/*"))


def test_a_folder_in_quotes_is_found_and_one_that_refers_elsewhere_is_refused() -> None:
    folder = compress.sweep([*TINY, "seed=0", "hydra.sweep.dir='a b'"])
    assert folder == Path("a b")
    assert len(compress.results(folder)) == 1
    with pytest.raises(UserError, match=r"hydra\.run\.dir must be a path without"):
        compress.run([*TINY, "hydra.run.dir=s${seed}"])


def test_records_that_cannot_be_read_are_named(caplog: pytest.LogCaptureFixture) -> None:
    Path("x").mkdir()
    write_record(make_record(), Path("x"))
    Path("y").mkdir()
    Path("y/metrics.json").write_text('{"schema": 3}')
    assert len(compress.results(".")) == 1
    assert f"has schema 3, this version reads {SCHEMA}" in caplog.text
    with pytest.raises(UserError, match="has schema 3"):
        compress.results("y")


@pytest.mark.slow
def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"import compress\nprint('once', compress.run({[*TINY]!r}).status)\n")
    command = [sys.executable, str(script)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("once ok") == done.stdout.count("once") == 1


def test_importing_is_quick() -> None:
    told = "import compress, sys; print('torch' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.slow
def test_a_wheel_has_every_yaml_and_every_template(tmp_path: Path) -> None:
    sources = copy_project(tmp_path / "sources")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--quiet",
        "-w",
        tmp_path,
        sources,
    ]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    yamls = {f"compress/{p.relative_to(ROOT)}" for p in (ROOT / "conf").rglob("*.yaml")}
    assert yamls <= names
    assert {"compress/report/html/page.html", "compress/report/html/page.css"} <= names


@pytest.mark.parametrize("name", ["run", "sweep", "results"])
def test_what_serves_a_model_names_the_extra_of_a_sweep(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    reason = rf"^compress\.{name} needs the package hydra; pip install 'compress\[sweep\]'$"
    with pytest.raises(UserError, match=reason):
        getattr(compress, name)("anything")
