"""The commands as a user types them, most in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from scripts.aggregate import main
from tests.commands import run_here
from tests.configs import ROOT, TINY

WRONG = "pruner.pattern=2:4 means sparsity 0.5, got sparsity=0.25; set pruner.sparsity=0.5"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def test_one_failing_run_of_a_sweep_loses_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main job on a tiny model; one of its runs must fail."""
    done = command(
        "run.py", "-m", *TINY, "pruner=wanda", "pruner.sparsity=0.25,0.5",
        "pruner.pattern=2:4,null", "quantizer=int8_dynamic", f"hydra.sweep.dir={tmp_path / 'out'}",
        f"cache.dir={tmp_path / 'cache'}",
    )  # fmt: skip
    folder = tmp_path / "out"
    records = [json.loads((folder / str(i) / "metrics.json").read_text()) for i in range(4)]
    assert [r["status"] for r in records] == ["failed", "ok", "ok", "ok"]
    assert records[0]["error"] == WRONG
    named = f"warning: 1 of 4 runs will fail: pruner.sparsity=0.25 pruner.pattern=2:4: {WRONG}"
    assert named in " ".join(done.stdout.split())
    assert done.returncode == 1, "a sweep with a failed run says so"
    assert "3 ok, 1 failed" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    groups = {"teacher", "student", "pruner", "quantizer", "task", "device", "cache", "tracker"}
    groups |= {"task/transfer"}
    assert set(records[0]["choices"]) == groups
    outcomes = [
        s["outcome"] for r in records for s in r.get("stages", ()) if s["name"] == "teacher"
    ]
    assert outcomes == ["computed", "cached", "cached"]
    # The sweep ends with its report.
    assert done.stdout.rstrip().endswith(str(folder / "report.html"))
    table = pd.read_csv(folder / "results.csv")
    assert table["status"].tolist() == ["failed", "ok", "ok", "ok"]
    assert table["sparsity"].dropna().round(2).between(0.25, 0.56).all()
    # And the script gives the same table again.
    again = tmp_path / "again"
    monkeypatch.setattr(sys, "argv", ["aggregate.py", str(folder), "--out", str(again)])
    assert main() == 0
    assert (again / "results.csv").read_text() == (folder / "results.csv").read_text()
    assert (again / "pareto.png").exists()


def test_aggregate_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["aggregate.py", str(tmp_path / "nothing")])
    with pytest.raises(SystemExit, match=r"error: .*nothing"):
        main()
    monkeypatch.setattr(sys, "argv", ["aggregate.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"error: there is no run, no metrics.json, in "):
        main()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_tracker_that_fails_costs_no_figures_and_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = command(
        "run.py", *TINY, "tracker=mlflow", f"tracker.dir={tmp_path / 'file'}",
        f"hydra.run.dir={tmp_path / 'out'}", f"cache.dir={tmp_path / 'cache'}",
    )  # fmt: skip
    assert done.returncode == 1
    assert "error: the run succeeded, but was not tracked: " in done.stderr
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["status"] == "ok"


def test_the_stock_optuna_sweeper_works_as_it_is(tmp_path: Path) -> None:
    run_here(
        "-m", "+search=optuna_stock", *TINY, "hydra.sweeper.n_trials=2",
        "student.distillation.epochs=0.1", "hydra/sweeper/sampler=tpe",
        f"hydra.sweep.dir={tmp_path}", f"cache.dir={tmp_path / 'cache'}",
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "results.csv")
    assert table["status"].tolist() == ["ok"] * 2
    assert (tmp_path / "optimization_results.yaml").exists()
    assert table["sparsity"].between(0.15, 0.85).all()
