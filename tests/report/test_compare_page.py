"""Two sweeps side by side: the command, the screen and the page."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from compress.report.compare_page import compare_folders, comparison_markdown, show_comparison
from scripts.compare import main
from tests.configs import ROOT
from tests.records.test_schema import as_failed, make_metrics, make_record
from tests.report.test_compare import HERE, with_sparsity
from tests.report.test_report import put


def compare(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts/compare.py", *arguments]
    environment = os.environ | {"COLUMNS": "120"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_two_sweeps_from_the_command_line(tmp_path: Path) -> None:
    evil = "<b> | [bold]x"
    elsewhere = replace(HERE, machine=evil)
    a = put(tmp_path / "a", r0=with_sparsity(0.3), r1=with_sparsity(0.5), r2=with_sparsity(0.9))
    b = put(
        tmp_path / "b",
        r0=with_sparsity(0.5, environment=elsewhere, metrics=make_metrics(0.7)),
        r1=as_failed(with_sparsity(0.3)),
    )
    (b / "3").mkdir()
    (b / "3" / "metrics.json").write_text("{")
    page = tmp_path / "page.md"
    done = compare(a, b, "--markdown", page)
    assert (done.returncode, done.stderr) == (1, ""), "a record was left out"
    shown, text = " ".join(done.stdout.split()), page.read_text()
    for said in (
        "Only in A: run 2, wanda sparsity=0.9",
        "3/metrics.json is not valid JSON",
        "B failed, so there are no figures: no",
        "These do not compare: speed-up, memory; machines differ: cpu X, cpu, 2 threads; ",
        "-0.2000 (-0.2707 to -0.1293)",
    ):
        assert said in shown
        assert said.replace("_", "\\_") in text
    assert "wanda sparsity=0.5 (A run 1, B run 0)" in shown
    assert evil in shown
    assert "&lt;b&gt; \\| \\[bold\\]x" in text
    assert "<b>" not in text


def test_what_cannot_be_compared_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = put(tmp_path / "a", r0=make_record()), put(tmp_path / "b")
    b.mkdir()
    monkeypatch.setattr(sys, "argv", ["compare.py", str(a), str(b)])
    with pytest.raises(SystemExit, match=f"error: {b} has no readable run"):
        main()


def test_what_holds_for_every_pair_is_said_once(tmp_path: Path) -> None:
    newer = replace(HERE, versions={"torch": "3"})
    a = put(tmp_path / "a", r0=with_sparsity(0.3), r1=with_sparsity(0.5))
    b = put(
        tmp_path / "b",
        r0=with_sparsity(0.3, environment=newer),
        r1=with_sparsity(0.5, environment=newer, seed=1),
    )
    compared = compare_folders(a, b)
    assert [each.key for each in compared.shared] == ["version torch"]
    shown = io.StringIO()
    show_comparison(compared, Console(file=shown, width=80))
    for text in (shown.getvalue(), comparison_markdown(compared)):
        assert text.count("version torch") == 1
        assert text.count("In every pair") == 1
    # At 80 columns figures are folded at spaces only.
    assert max(map(len, shown.getvalue().splitlines())) <= 80
    assert {"0.9000", "2.00", "2.20)", "(-0.0707", "+0.0707)", "1.22)"} <= set(
        shown.getvalue().split()
    )
