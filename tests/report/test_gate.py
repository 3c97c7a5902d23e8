"""Continuous integration asks whether a model may be shipped, and is answered by the exit code."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from compress.analysis.decision import Rule, rule_of_options
from compress.config.errors import UserError
from compress.records.schema import FinishedRun, write_record
from compress.report.gate import read_gate
from tests.configs import ROOT
from tests.records.test_schema import make_failed
from tests.report.test_recommend import run


def put(folder: Path, record: FinishedRun) -> Path:
    folder.mkdir()
    write_record(record, folder)
    return folder


def gate(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and the only line that is printed."""
    done = subprocess.run(
        [sys.executable, "scripts/gate.py", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    [line] = (done.stdout + done.stderr).splitlines()
    return done.returncode, line


def test_the_exit_code_says_whether_the_loss_is_within_the_margin(tmp_path: Path) -> None:
    good = put(tmp_path / "good", run("a", lost=12, won=10))
    bad = put(tmp_path / "bad", run("b", lost=150))
    assert gate(good) == (
        0,
        "passed: layers lost 0.1 points on 2,000 validation rows; a loss of 1 point of accuracy or "
        "more is excluded (p = 0.0011)",
    )
    assert gate(bad, "--margin", "0.02") == (
        1,
        "failed: layers lost 7.0 points on 2,000 validation rows: more than 2 points of accuracy "
        "(p < 0.001)",
    )
    code, line = gate(good, "--split", "test")
    assert code == 1
    assert "on 100 test rows, which are too few to show that it would lose less than" in line
    assert gate(tmp_path / "none")[0] == 1


def test_seeds_are_one_recipe(tmp_path: Path) -> None:
    folders = [put(tmp_path / str(n), run("a", won=10 + n, seed=n)) for n in range(3)]
    found = read_gate(folders, Rule(), None)
    assert (found.seeds, found.passes) == (3, True)
    assert found.evidence.change == pytest.approx(0.0005)


@pytest.mark.parametrize(
    ("record", "split", "message"),
    [
        (run("b", seed=1), None, "differs from .* in more than its seed"),
        (
            replace(run("a", seed=1), data=replace(run("a").data, digest="other")), None,
            "b has other rows than .*a$",
        ),
        (run("a", seed=0), None, "the runs must have different seeds, got 0, 0"),
        (make_failed("no rows"), None, "is of a run without figures: failed: no rows"),
        (
            replace(run("a", seed=1), validation_comparison=None), "validation",
            "was not scored on validation rows; take --split test",
        ),
    ],
)  # fmt: skip
def test_what_is_no_gate(
    record: FinishedRun, split: str | None, message: str, tmp_path: Path
) -> None:
    folders = [put(tmp_path / "a", run("a")), put(tmp_path / "b", record)]
    with pytest.raises(UserError, match=message):
        read_gate(folders, Rule(), split)


def test_a_folder_that_is_not_a_run_says_which_ones_are(tmp_path: Path) -> None:
    first = put(tmp_path / "0", run("a"))
    model = first / "model"
    model.mkdir()
    with pytest.raises(UserError, match=f"it has no metrics.json; its runs: {first}$"):
        read_gate([tmp_path], Rule(), None)
    with pytest.raises(UserError, match=f"it has no metrics.json; its run: {first}$"):
        read_gate([model], Rule(), None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty is not a run, it has no metrics.json$"):
        read_gate([tmp_path / "empty"], Rule(), None)


@pytest.mark.parametrize("margin", ["1", "2.5"])
def test_a_margin_that_every_model_meets(margin: str, tmp_path: Path) -> None:
    """A loss of all points or more is excluded by the rows, whatever they are."""
    bad = put(tmp_path / "bad", run("b", lost=150))
    code, line = gate(bad, "--margin", margin)
    assert code == 0
    assert line.startswith("passed: layers lost 7.0 points on 2,000 validation rows")


def test_options_out_of_range_are_named_as_they_were_given() -> None:
    for name, value in (("margin", "nan"), ("margin", "0"), ("alpha", "0.7"), ("alpha", "-1")):
        with pytest.raises(UserError, match=f"--{name} must be .*, got {value}"):
            rule_of_options(**{"margin": 0.01, "alpha": 0.05, name: float(value)})
