"""Controls stand beside the runs in every report, and are none of them."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import compress
from compress.records.collect import Collection
from compress.records.schema import Comparison, Control, FinishedRun, Speedup
from compress.report.controls import control_rows, controls_of
from compress.report.html.page import render_page
from compress.report.paper.latex import latex_tables
from compress.report.plotted import control_columns
from compress.report.recommend import advise
from compress.report.screen import show
from compress.report.sections import sections
from compress.report.write import write_report
from tests.records.test_schema import make_metrics, make_record, shippable
from tests.report.html.test_page import Markup
from tests.report.test_report import put

TFIDF, INT8 = "TF-IDF + logistic regression", "teacher in int8"
WHY = "the model has no Linear layers"


def tfidf(accuracy: float = 0.8, size: int = 300) -> Control:
    metrics = replace(make_metrics(accuracy, size), latency=(), runtime="scikit-learn")
    return Control(TFIDF, "words", metrics, (), Comparison(0.8, 12, 1, 0.003))


def int8(accuracy: float = 0.905, size: int = 700, ratio: float = 4.0) -> Control:
    speed = Speedup(1, 32, ratio, 0.95 * ratio, 1.05 * ratio, 1.02)
    metrics = make_metrics(accuracy, size, 10 / ratio)
    return Control(INT8, "int8_dynamic embeddings=int8", metrics, (speed,),
                   Comparison(0.99, 2, 1, 1.0))  # fmt: skip


ABSENT = Control(INT8, absent=WHY)


def run(*controls: Control, **changes: Any) -> FinishedRun:
    """0.9 of accuracy, 1,000 bytes, twice as fast; its teacher has 0.91, 2,000 bytes, 10 ms."""
    return shippable(make_record(controls=controls, **changes))


def page_of(*records: FinishedRun) -> tuple[str, str]:
    """The page, and its text as one line."""
    runs = tuple((Path("sweep") / str(n), record) for n, record in enumerate(records))
    advice = [advise(section, Path("sweep")) for section in sections(runs)]
    page = render_page(Collection(runs, (), ()), advice, Path("sweep"), "")
    return page, " ".join(Markup(page).text.split())


def verdict(*records: FinishedRun) -> str:
    [section] = sections((Path("sweep") / str(n), record) for n, record in enumerate(records))
    return advise(section, Path("sweep")).words[0]


def test_the_runs_of_a_sweep_share_their_controls() -> None:
    records = [run(tfidf(), int8()), make_record(0.8, controls=(tfidf(), int8()))]
    assert [control.name for control, _ in controls_of(records)] == [TFIDF, INT8]
    [untimed, timed] = control_rows(records)
    assert math.isnan(untimed.latency(records, (1, 32)))
    assert timed.latency(records, (1, 32)) == 2.5, "the teacher's 10 ms over a speed-up of 4"
    assert math.isnan(timed.latency(records, (1, 8)))
    other = make_record(controls=(int8(0.7),))
    assert len(controls_of([*records, other])) == 3, "of another seed's teacher"
    assert controls_of([make_record()]) == []


def test_tables_have_them_below_the_teacher(tmp_path: Path) -> None:
    put(tmp_path, r0=run(tfidf(), int8()), r1=make_record(0.8, 500, controls=(tfidf(), int8())))
    report = write_report([tmp_path], tmp_path)
    out = io.StringIO()
    show(report, Console(file=out, width=120))
    lines = out.getvalue().splitlines()
    places = {
        words: [n for n, line in enumerate(lines) if words in line]
        for words in ("teacher t on rt", f"control: {TFIDF}", f"control: {INT8}", "wanda")
    }
    (teacher,), (first,), (second,), runs = places.values()
    assert teacher < first < second < runs[0]
    assert re.search(r"regression +0\.800 +p = 0\.003 +0\.0 +– +– *$", lines[first])
    assert re.search(r"int8 +0\.905 +p = 1 +0\.0 +2\.5 +4\.00 \(3\.80 to 4\.20\) *$", lines[second])
    text = (tmp_path / "results.md").read_text()
    assert re.search(r"\| – \| rt \| control: TF-IDF.*\| 0\.8000 .*\| – \| 10\.00 \| – \|", text)
    assert re.search(r"\| – \| rt \| control: teacher in int8 .*\| 2\.50 \| 10\.00 \| 4\.00", text)
    tex = (tmp_path / "results.tex").read_text()
    middle = tex.split(r"\midrule")[1]
    assert r"control: TF{-}IDF + logistic regression & 0.800 (0.750--0.850) & 0.0 & -- & 0.003" in (
        middle
    )
    assert r"control: teacher in int8 & 0.905 (0.855--0.955) & 0.0 & 4.00 (3.80--4.20) &" in middle


@pytest.mark.usefixtures("undrawn")
def test_they_are_no_runs(tmp_path: Path) -> None:
    put(tmp_path, r0=run(tfidf(0.94, 10), int8(0.94, 20, 9.0)))
    report = write_report([tmp_path], tmp_path)
    assert report.summary() == "1 ok, 0 failed"
    assert len(report.table) == len(compress.results(tmp_path)) == 1
    assert "control" not in (tmp_path / "results.csv").read_text()
    [advice] = report.advice
    assert (advice.ship, [pick.name for pick in advice.picks]) == ("0", ["0"])


def test_the_page_has_rows_a_symbol_and_how_they_were_made() -> None:
    page, text = page_of(run(tfidf(), int8()), make_record(0.8, controls=(tfidf(), int8())))
    assert (
        "the teacher0.9100 (0.860 to 0.960) 0.0 MB 10.00 ms 1 "
        f"control: {TFIDF}0.8000 (0.750 to 0.850)-0.1100 (p = 0.003) 0.0 MB – not timed "
        f"control: {INT8}0.9050 (0.855 to 0.955)-0.0050, no significant change (p = 1) 0.0 MB "
        "2.50 ms 4.00 (3.80 to 4.20) "
    ) in text
    assert f"{TFIDF}: words; not timed. teacher in int8: int8_dynamic embeddings=int8." in text
    assert page.count("</svg> control") == 1
    assert '"value":"triangle"' in page
    assert "2 of 2 runs shown" in page


def test_a_page_without_them_says_nothing_of_them() -> None:
    page, text = page_of(make_record())
    assert "control:" not in text
    assert "</svg> control" not in page
    page, text = page_of(run(ABSENT))
    assert f"No {INT8}: {WHY}." in text
    assert "</svg> control" not in page


def test_the_plots_have_a_place_for_each_that_was_timed() -> None:
    found = control_columns([run(tfidf(), int8())], (1, 32))
    assert found["run"] == [f"control: {TFIDF}", f"control: {INT8}"]
    assert found["score"] == [0.8, 0.905]
    assert found["mb"] == [0.0003, 0.0007]
    assert math.isnan(found["latency"][0])
    assert found["latency"][1] == 2.5


def test_latex_has_them_between_the_teacher_and_the_runs() -> None:
    runs = [(Path("0"), run(int8()))]
    before = latex_tables(sections([(Path("0"), run())]))
    after = latex_tables(sections(runs))
    assert len(after.splitlines()) == len(before.splitlines()) + 1


@pytest.mark.parametrize(
    ("controls", "said"),
    [
        ((), ""),
        ((ABSENT,), ""),
        (
            (int8(0.9, 1000, 2.0),),  # the same costs
            " But the control teacher in int8 (0.0 MB, 2.00 times as fast (1.90 to 2.10)) is "
            "admitted too and no worse in the product of size and time.",
        ),
        ((int8(0.5, 700, 4.0),), ""),  # it loses more than may be lost
        ((int8(0.95, 1500, 2.0),), ""),
        ((int8(0.95, 700, 0.5),), ""),
        ((tfidf(0.5),), ""),
        (
            (tfidf(0.9), int8(0.5)),
            " But the control TF-IDF + logistic regression (0.0 MB, not timed) is admitted too and "
            "no worse in the product of size and time.",
        ),
    ],
)
def test_the_headline_says_if_one_is_admitted_and_costs_no_more_than_the_run_to_ship(
    controls: tuple[Control, ...], said: str
) -> None:
    assert verdict(run(*controls)) == verdict(run()) + said


def test_the_headline_names_one_where_no_run_is_shipped() -> None:
    same = (Speedup(1, 32, 1.0, 0.98, 1.02),)
    kept = shippable(make_record(0.91, 2000, speedup=same))
    assert verdict(kept).startswith("Keep the teacher: ")
    found = verdict(replace(kept, controls=(int8(0.91, 700, 4.0), tfidf(0.9))))
    assert found == verdict(kept) + (
        " But the control teacher in int8 (0.0 MB, 4.0 times as fast (3.8 to 4.2)) is admitted."
    )
    slow = int8(0.91, 700, 0.5)
    assert verdict(replace(kept, controls=(slow,))) == verdict(kept)


def test_a_control_that_rows_are_too_few_for_is_named_where_no_run_is_near() -> None:
    """The run lost 41 of 100 rows and the control one of 100."""
    far = shippable(make_record(0.5, 1000, comparison=Comparison(0.5, 41, 0, 1e-9)))
    far = replace(far, config={"decision": {"margin": 0.01, "alpha": 0.05}})
    assert verdict(far).startswith("Keep the teacher: ")
    near = replace(int8(0.9, 700, 4.0), comparison=Comparison(0.97, 2, 1, 1.0))
    words = verdict(replace(far, controls=(near, tfidf(0.1))))
    assert words.startswith(verdict(far))
    assert words.removeprefix(verdict(far)).startswith(
        " The control teacher in int8 has 0.0 MB, 4.0 times as fast (3.8 to 4.2): it lost 1.0 "
        "points on 100 test rows, which are too few to show that it would lose less than 1 point "
        "of accuracy"
    )


def test_until_rows_decide_a_control_is_taken_before_the_teacher() -> None:
    strict = {"decision": {"margin": 0.02, "alpha": 0.05}}
    undecided = replace(run(), config=strict)
    assert verdict(undecided).endswith(" Until then keep the teacher.")
    certain = replace(int8(0.91, 700, 4.0), comparison=Comparison(1.0, 0, 0, 1.0))
    control = replace(
        undecided, controls=(certain,), config={"decision": {"margin": 0.04, "alpha": 0.05}}
    )
    assert verdict(control).endswith(
        " Until then take the control teacher in int8 (0.0 MB, 4.0 times as fast (3.8 to 4.2)), "
        "which is admitted."
    )
