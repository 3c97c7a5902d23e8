"""Runs that differ in their seed alone stand as one row, with mean and standard deviation."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from compress.records.schema import FinishedRun
from compress.report.paper.latex import latex_tables
from compress.report.screen import show
from compress.report.sections import sections
from compress.report.seeds import seed_rows, seed_words
from compress.report.write import write_report
from tests.records.test_schema import evaluated_by, make_record
from tests.report.html.test_page import Markup
from tests.report.test_report import put


def of(name: str, seed: int, accuracy: float, **changes: object) -> FinishedRun:
    config = {"student": {"keep": name}, "pruner": {"sparsity": 0.5}}
    choices = {"teacher": "t", "student": name, "pruner": "none", "task": "rt"}
    record: FinishedRun = make_record(
        accuracy, seed=seed, config=config, choices=choices, overrides=(), **changes
    )
    return record


def sweep() -> dict[str, FinishedRun]:
    """The best recipe with three seeds, a worse one with three, and one with a single seed."""
    values = {"good": (0.90, 0.91, 0.92), "bad": (0.80, 0.82, 0.81), "one": (0.95,)}
    found = {}
    for name, accuracies in values.items():
        for seed, accuracy in enumerate(accuracies):
            found[f"{name}{seed}"] = of(name, seed, accuracy)
    return found


def test_rows_are_recipes_with_means_and_the_best_is_marked() -> None:
    [section] = sections((Path(name), record) for name, record in sweep().items())
    teacher, *rows = seed_rows(section)
    assert (teacher.recipe, teacher.score, teacher.change) == ("teacher t", "0.91 ± 0", "–")
    by_name = {row.recipe.split()[0]: row for row in rows}
    assert by_name["good"].score == "0.910 ± 0.010"
    assert by_name["good"].change == "0.000 ± 0.010"
    assert by_name["bad"].change == "-0.100 ± 0.010"
    assert (by_name["one"].score, by_name["one"].seeds, by_name["one"].p_words) == ("0.95", 1, "–")
    assert [row.recipe for row in rows if row.is_best] == ["good keep=good"]
    # differences of -0.1, -0.09, -0.11: t = -17.3 with 2 degrees of freedom
    assert by_name["bad"].p_words == "0.0033"
    assert "corrected for their number (Holm)" in seed_words(section)


def test_single_seeds_are_no_table() -> None:
    [section] = sections([(Path("a"), of("a", 0, 0.9)), (Path("b"), of("b", 0, 0.8))])
    assert seed_rows(section) == []
    assert "tab:seeds" not in latex_tables([section])


def test_perplexity_changes_by_its_logarithm() -> None:
    runs = [
        (Path(str(seed)), evaluated_by("perplexity", value, 20.0, seed=seed))
        for seed, value in enumerate((20.2, 20.4))
    ]
    [section] = sections(runs)
    [_, row] = seed_rows(section)
    assert row.change == "0.0149 ± 0.0070"
    assert "Change: of log perplexity" in seed_words(section)


@pytest.mark.usefixtures("undrawn")
def test_every_report_has_the_table(tmp_path: Path) -> None:
    put(tmp_path, **sweep())
    report = write_report([tmp_path], tmp_path)
    out = io.StringIO()
    show(report, Console(file=out, width=140))
    pages = {
        "screen": out.getvalue(),
        "markdown": (tmp_path / "results.md").read_text(),
        "latex": (tmp_path / "results.tex").read_text().replace(r"$\pm$", "±").replace("{-}", "-"),
        "page": Markup(report.page.read_text()).text,
    }
    for name, text in pages.items():
        assert "0.910 ± 0.010" in text, name
        assert "-0.100 ± 0.010" in text, name
        assert "0.0033" in text, name
    assert r"\textbf{0.910 ± 0.010}" in pages["latex"]
