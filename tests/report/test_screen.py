"""Tables on narrow screens and in files: no figure is cut off."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from compress.records.schema import Comparison, FinishedRun, Speedup
from compress.records.scores import SCORES
from compress.records.words import NO_DIFFERENCE
from compress.system.terminal import PIPED, open_console
from tests.records.test_schema import evaluated_by, make_metrics, make_record
from tests.report.test_report import put, screen

pytestmark = pytest.mark.usefixtures("undrawn")

CHAIN = {"lowrank": {"sparsity": 0.25}, "heads": {"sparsity": 0.5}, "neurons": {"sparsity": 0.125}}


def long_record() -> FinishedRun:
    """Every cell is about as wide as it can get."""
    record: FinishedRun = make_record(
        0.8123,
        1_234_567_890,
        baseline=make_metrics(0.91, 2000, 12654.24),
        speedup=(Speedup(1, 32, 10.25, 10.17, 10.33, 1.02),),
        comparison=Comparison(0.7, 30, 2, 1e-6),
        choices={
            "teacher": "minilm_l6", "task": "rotten_tomatoes", "student": "layers",
            "pruner": "chain", "quantizer": "int8_weight_only",
        },
        config={"student": {"keep": 3}, "pruner": {"steps": CHAIN}},
        overrides=tuple(
            f"pruner.steps.{name}.{key}=0" for name, step in CHAIN.items() for key in step
        ),
    )  # fmt: skip
    return record


FIGURES = ("0.812", "p < 0.001", "1234.6", "1234.6", "10.25 (10.17 to 10.33)")
RECIPE = (
    "layers keep=3 + chain lowrank.sparsity=0.25 heads.sparsity=0.5 neurons.sparsity=0.125 + "
    "int8_weight_only"
)


@pytest.mark.parametrize("width", [80, 100, PIPED])
@pytest.mark.parametrize("name", ["7", "2026-01-02_03-04-05-a-run-of-mine"])
def test_no_figure_is_cut_off(name: str, width: int, tmp_path: Path) -> None:
    put(tmp_path, **{name: long_record()})
    lines = screen(tmp_path, width=width).partition("change: of")[0].splitlines()
    assert max(map(len, lines)) <= width
    (first,) = (number for number, line in enumerate(lines) if "0.812" in line)
    assert re.search(r"\s+".join(map(re.escape, FIGURES)), lines[first]), lines[first]
    # Names and recipes are folded; nothing of them is left out either.
    header = next(line for line in lines if "recipe" in line)
    left, right = header.index("recipe"), header.index("accuracy")
    assert "".join(line[:left].strip() for line in lines[first:]) == name
    folded = "".join(line[left:right].strip() for line in lines[first:])
    assert folded.replace(" ", "") == RECIPE.replace(" ", "")


def test_the_whole_table_of_a_sweep_fits(tmp_path: Path) -> None:
    """Each of 20 runs keeps its own figures at 80 columns."""
    sizes = {n: (10 + n) * 1_000_000 for n in range(20)}
    put(tmp_path, **{f"r{n}": make_record(0.9 - n / 1000, sizes[n], 5.0 + n) for n in sizes})
    shown = screen(tmp_path, width=80)
    for n in sizes:
        ratio = 10 / (5 + n)
        counts = 0.9 * ratio > 1.02 or 1.1 * ratio < 1 / 1.02
        interval = f"{ratio:.2f} ({0.9 * ratio:.2f} to {1.1 * ratio:.2f})"
        expected = (
            f"{n} ", f"{0.9 - n / 1000:.3f}", "p = 1", f"{10 + n:.1f}",
            f"{5 + n:.1f}" if counts else "≈10.0", interval if counts else NO_DIFFERENCE,
        )  # fmt: skip
        assert any(all(cell in line for cell in expected) for line in shown.splitlines()), expected


def test_times_agree_with_the_speed_ups(tmp_path: Path) -> None:
    """A run whose teacher took twice as long as beside the others was disturbed as well."""
    disturbed = make_record(0.8, ms=5.0, baseline=make_metrics(0.91, 2000, 20.0))
    fast = Speedup(1, 32, 4.0, 3.8, 4.2, 1.02)
    put(tmp_path, a=make_record(0.9), b=make_record(0.7), c=replace(disturbed, speedup=(fast,)))
    lines = screen(tmp_path).splitlines()
    (teacher,) = (line for line in lines if "teacher t on rt" in line)
    (shown,) = (line for line in lines if line.lstrip().startswith("c "))
    assert re.search(r"10\.0\s+1$", teacher.strip()), teacher
    assert re.search(r"2\.5\s+4\.00 \(3\.80 to 4\.20\)", shown), shown


def test_a_pipe_is_wider_than_a_small_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert open_console().width == PIPED > 80
    monkeypatch.setenv("COLUMNS", "90")
    assert open_console().width == 90


@pytest.mark.parametrize(
    ("metric", "best", "worst", "shown", "said"),
    [
        ("spearman", 0.9, 0.4, ("0.900", "0.400"), ()),
        ("perplexity", 20.0, 2000.0, ("20.00", "2,000"), ("perplexity: lower is better",)),
    ],
)
def test_the_best_of_another_score_comes_first(
    metric: str, best: float, worst: float, shown: tuple[str, str], said: tuple[str, ...],
    tmp_path: Path,
) -> None:  # fmt: skip
    put(tmp_path, **{f"r{n}": evaluated_by(metric, v, best) for n, v in enumerate((worst, best))})
    text = screen(tmp_path, width=80)
    assert text.index("\n 1 ") < text.index("\n 0 ")
    assert all(each in text for each in (*shown, *said))
    assert f"of {SCORES[metric].words} against the teacher" in " ".join(text.split())
    assert "accuracy" not in text
    assert max(map(len, text.partition("change: of")[0].splitlines())) <= 80


def test_two_scores_are_two_tables(tmp_path: Path) -> None:
    put(tmp_path, r0=make_record(0.9), r1=evaluated_by("perplexity", 20.0, 19.0))
    text = screen(tmp_path)
    assert text.index("accuracy") < text.index("0.900") < text.index("perplexity")
    assert text.index("perplexity") < text.index("20.00")
    page = (tmp_path / "results.md").read_text()
    assert "| computes in | accuracy | teacher |" in page
    assert "| computes in | perplexity (lower is better) | teacher |" in page
    assert "| 20.000 (19.00 to 21.00) | 19.000 | +5.3 %, no significant change (p = 1) |" in page
    assert len(list(tmp_path.glob("results.*"))) == 4
    table = pd.read_csv(tmp_path / "results.csv")
    assert table["metric"].tolist() == ["accuracy", "perplexity"]
    assert table["accuracy"].isna().tolist() == [False, True]
    assert table["perplexity"].isna().tolist() == [True, False]
    assert table["score_low"].tolist() == pytest.approx([0.85, 19.0])
    assert table["baseline_score"].tolist() == pytest.approx([0.91, 19.0])
    assert table["quality"].tolist() == pytest.approx([0.9, -math.log(20)])
