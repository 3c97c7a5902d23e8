"""README's recipe for a pruner, to the letter."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.configs import ROOT
from tests.folders import copy_project

RECIPE = re.compile(r'```python\n("""Random pruning.*?)```', re.DOTALL)
TESTS = ("tests/test_contract.py", "tests/pruner/test_patterns.py")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project with the recipe's two files in it."""
    copy_project(tmp_path)
    found = RECIPE.search((ROOT / "README.md").read_text())
    assert found is not None
    (tmp_path / "compress" / "pruner" / "random.py").write_text(found[1])
    yaml = (ROOT / "conf" / "pruner" / "magnitude.yaml").read_text().splitlines(keepends=True)
    text = "# Random pruning.\n" + "".join(yaml[1:])
    text = text.replace("compress.pruner.magnitude.Magnitude", "compress.pruner.random.Random")
    (tmp_path / "conf" / "pruner" / "random.yaml").write_text(text)
    return tmp_path


def done(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


@pytest.mark.slow
def test_it_lints_keeps_the_contract_and_runs(copy: Path) -> None:
    lint = done(copy, "-m", "ruff", "check", "compress/pruner/random.py")
    assert lint.returncode == 0, lint.stdout
    tests = done(copy, "-m", "pytest", "-k", "random", *TESTS)
    assert tests.returncode == 0, tests.stdout
    assert re.search(r"[1-9]\d* passed", tests.stdout)
    run = done(
        copy, "run.py", "pruner=random", "pruner.pattern='2:4'", "teacher=tiny_random",
        "task.limit=64", "device.benchmark.seconds=0.02", "device.benchmark.process_restarts=1",
        "device.benchmark.noise_floor=false", "device.benchmark.shapes=[[1,8]]",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    (record,) = copy.glob("outputs/runs/*/*/metrics.json")
    assert json.loads(record.read_text())["metrics"]["sparsity"] == 0.5
