"""Most need no TeX: what pdflatex would trip over is looked for by hand."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from compress.records.schema import Comparison, RunRecord, Speedup
from compress.report.paper.latex import LETTERS, escaped, latex_tables
from compress.report.sections import sections
from compress.report.write import write_report
from tests.records.test_schema import evaluated_by, make_failed, make_record
from tests.report.test_report import put

EVIL = r"_&%$#{}~^\ <b> [x] *y --z `q` ×± 表 😀 é"


def tables_of(*records: RunRecord) -> str:
    return latex_tables(sections((Path(str(n)), record) for n, record in enumerate(records)))


def rows(page: str) -> list[list[str]]:
    """The cells of each row but the header."""
    lines = [line.strip() for line in page.splitlines() if line.endswith(r"\\")]
    cells = [re.split(r"(?<!\\)&", line.removesuffix(r"\\")) for line in lines]
    return [[cell.strip() for cell in row] for row in cells if row[0].strip() != "Recipe"]


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("int8_dynamic", r"int8\_dynamic"),
        ("50 % & more", r"50 \% \& more"),
        ("$5 #1", r"\$5 \#1"),
        ("{a}", r"\{a\}"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("a < b > c | d", r"a \textless{} b \textgreater{} c \textbar{} d"),
        ("[1] *", "{[}1{]} {*}"),  # after a row's end they would be its arguments
        ("--only", "{-}{-}only"),  # no dash
        ("1 × 32 ± 2 – 3", r"1 $\times$ 32 $\pm$ 2 -- 3"),
        ("Zoë", "Zoë"),
        ("表 😀", "{[}U+8868{]} {[}U+1F600{]}"),
        ("two\n lines\tand\x00", "two lines and{[}U+0000{]}"),
        ("", ""),
    ],
)
def test_text_is_no_markup(text: str, latex: str) -> None:
    assert escaped(text) == latex


def test_a_row_has_the_figures_of_a_paper() -> None:
    same = (Speedup(1, 32, 1.01, 0.98, 1.03, 1.02),)
    worse = make_record(0.8, 1_500_000, 2.0, comparison=Comparison(0.7, 30, 2, 1e-6))
    page = tables_of(worse, make_record(speedup=same, comparison=Comparison(0.9, 2, 1, 0.123)))
    assert rows(page) == [
        ["teacher t", "0.910 (0.860--0.960)", "0.0", "1", "--"],
        ["wanda sparsity=0.5", "0.800 (0.750--0.850)", "1.5", "5.00 (4.50--5.50)",
         r"\textless{} 0.001"],
        ["wanda sparsity=0.5", "0.900 (0.850--0.950)", "0.0",
         r"$\approx$1 (0.98--1.03)", "0.12"],
    ]  # fmt: skip
    caption = re.search(r"\\caption\{(.*)\}\n", page)
    assert caption is not None
    assert "rt, n = 100, on cpu X; cpu, 2 threads" in caption[1]
    assert r"at 1 $\times$ 32" in caption[1]


def test_sections_are_tables_of_their_own() -> None:
    one, other = make_record(), make_record(choices={"teacher": "t", "task": "imdb"})
    page = tables_of(one, other)
    assert page.count(r"\begin{tabular}") == page.count(r"\end{tabular}") == 2
    assert re.findall(r"\\caption\{(\w+), n", page) == ["imdb", "rt"]
    assert re.findall(r"\\label\{(.*)\}", page) == ["tab:results-1", "tab:results-2"]


def test_hostile_text_breaks_nothing() -> None:
    base = make_record()
    record = make_record(
        choices={"teacher": EVIL, "pruner": EVIL, "task": EVIL},
        environment=replace(base.environment, machine=EVIL, device=EVIL),
    )
    page = tables_of(record)
    assert [len(row) for row in rows(page)] == [5, 5]
    assert all(character.isascii() or character in LETTERS for character in page)
    body = re.sub(r"^(%|  .begin.tabular).*$", "", page, flags=re.MULTILINE)
    naked = re.sub(r"\\.", "", body)  # what is not escaped
    assert naked.count("{") == naked.count("}")
    assert not set('%#~^<>|"`') & set(naked.replace("``", ""))
    assert naked.count("$") % 2 == 0
    assert naked.count("_") == 0


@pytest.mark.usefixtures("undrawn")
def test_the_file_is_there_whatever_was_found(tmp_path: Path) -> None:
    put(tmp_path, r0=make_failed())
    write_report([tmp_path], tmp_path)
    page = (tmp_path / "results.tex").read_text()
    assert r"\begin{tabular}" not in page


@pytest.mark.parametrize(
    ("metric", "header", "figures", "caption"),
    [
        ("spearman", "Recipe & Spearman correlation & MB", "0.800 (0.760--0.840)",
         "p: a paired test of the change in Spearman correlation."),
        ("perplexity", "Recipe & Perplexity & MB", "0.80 (0.76--0.84)",
         "p: a paired test of the change in perplexity. Lower perplexity is better."),
    ],
)  # fmt: skip
def test_a_table_of_another_score(metric: str, header: str, figures: str, caption: str) -> None:
    found = Comparison(None, None, None, 0.01, "a paired test")
    page = tables_of(evaluated_by(metric, 0.8, 1.0, comparison=found))
    assert header in page
    assert figures in page
    assert f"{caption}}}" in page
    assert "accuracy" not in page.partition(r"\begin{table}")[2]


PAGE = r"""\documentclass{article}
\usepackage{array,booktabs}
\begin{document}
\input{results.tex}
\end{document}
"""


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_makes_a_page_of_it(tmp_path: Path) -> None:
    evil = make_record(choices={"teacher": EVIL, "pruner": EVIL, "task": EVIL})
    (tmp_path / "results.tex").write_text(tables_of(evil, make_record(0.8)))
    (tmp_path / "page.tex").write_text(PAGE)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
    done = subprocess.run(
        [*command, "page.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    assert "Overfull" not in done.stdout, "wider than the column of an article"
