from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.text
import pytest
from matplotlib.figure import Figure

from compress.records.schema import FinishedRun, Speedup
from compress.report.paper import plot
from compress.report.paper.axes import latency_axis, score_axis, size_axis
from compress.report.paper.plot import LISTED, SMALL, WIDTH, plot_pareto
from tests.records.test_schema import evaluated_by, make_record
from tests.report.test_controls import int8, tfidf

PNG = b"\x89PNG\r\n\x1a\n"


def runs_of(*records: FinishedRun) -> list[tuple[Path, FinishedRun]]:
    return [(Path(str(number)), record) for number, record in enumerate(records)]


def front_of(count: int) -> list[tuple[Path, FinishedRun]]:
    """Each is more accurate than the one before, and larger and slower."""
    return runs_of(*(make_record(0.5 + n / 1000, 1000 + n, 1.0 + n) for n in range(count)))


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What stands in each figure that is drawn; all of it is at least 8 points large."""
    found: list[str] = []
    draw = plot._bytes

    def spy(figure: Figure, *rest: object) -> bytes:
        shown = [t for t in figure.findobj(matplotlib.text.Text) if t.get_text().strip()]
        assert min(text.get_fontsize() for text in shown) >= SMALL >= 8
        numbers = [t.get_text() for t in shown if isinstance(t, matplotlib.text.Annotation)]
        found[:] = [t.get_text() for t in shown] + [f"number {number}" for number in numbers]
        return draw(figure, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(plot, "_bytes", spy)
    return found


def words(texts: Sequence[str]) -> str:
    return " ".join("\n".join(texts).split())


def test_a_figure_for_print_and_one_for_the_screen(tmp_path: Path, texts: list[str]) -> None:
    same = Speedup(1, 32, 1.01, 0.98, 1.03, 1.02)
    beaten = make_record(0.9, 1001, speedup=(same,))
    runs = runs_of(make_record(0.9), make_record(0.8, 500, 2.0), beaten)
    plot_pareto(runs, tmp_path / "pareto.png")
    drawn = (tmp_path / "pareto.png").read_bytes()
    assert drawn.startswith(PNG)
    width, _ = struct.unpack(">II", drawn[16:24])
    assert width == WIDTH * 150
    assert ElementTree.parse(tmp_path / "pareto.svg").getroot().tag.endswith("}svg")
    said = words(texts)
    assert "run 0 wanda sparsity=0.5: accuracy 0.900, 0.0 MB, speed-up: 2.00 " in said
    assert "run 1 wanda sparsity=0.5: accuracy 0.800, 0.0 MB, speed-up: 5.00 " in said
    assert "run 2 wanda sparsity=0.5: accuracy 0.900, 0.0 MB, speed-up: no measurable " in said
    assert texts.count("number 2") == 3, "of few runs, those off the fronts are named as well"
    assert "cpu X; cpu, 2 threads; torch 2. rows (n = 100)." in said


def test_controls_have_symbols_of_their_own(tmp_path: Path, texts: list[str]) -> None:
    controls = (tfidf(0.5, 3_000_000), int8(0.92, 9_000_000, 0.5))
    records = [make_record(0.9, controls=controls), make_record(0.8, 500, 2.0, controls=controls)]
    size, latency = size_axis(records), latency_axis(records, (1, 32))
    assert score_axis(records).controls.tolist() == [0.5, 0.92]
    assert size.controls.tolist() == [3.0, 9.0]
    assert latency.controls.tolist() == pytest.approx([math.nan, 20.0], nan_ok=True)
    assert size.ends == pytest.approx((0.0005 / 1.08**2, 9 * 1.08**2)), "all are in view"
    assert latency.ends == pytest.approx((0, 1.08 * 20)), "all are in view"
    plot_pareto(runs_of(*records), tmp_path / "pareto.png")
    said = words(texts)
    assert "control: TF-IDF + logistic regression" in said
    assert "control: teacher in int8" in said
    assert texts.count("number 1") == 3, "no control takes a run from its front"


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        plot_pareto(front_of(3), tmp_path / f"{name}.png")
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert "<dc:date>" not in (tmp_path / "a.svg").read_text()


def test_names_from_a_config_are_no_formulas_and_no_markup(
    tmp_path: Path, texts: list[str]
) -> None:
    evil = r"$\frac{x$ <b>&amp;</b> _{a}^ #1 %s"
    plot_pareto(
        runs_of(make_record(choices={"teacher": evil, "pruner": evil, "task": evil})),
        tmp_path / "pareto.png",
    )
    ElementTree.parse(tmp_path / "pareto.svg")
    assert f"{evil}: what accuracy costs" in texts
    assert f"teacher ({evil})" in words(texts)
    assert evil in words(texts)


def test_of_many_on_a_front_some_are_named_and_it_is_said(
    tmp_path: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot, "LISTED", 5)
    assert LISTED > 5
    monkeypatch.setattr(plot, "FEW", 4)
    beaten = make_record(0.1, 10_000, 9.0)
    plot_pareto([*front_of(7), (Path("beaten"), beaten)], tmp_path / "pareto.png")
    said = words(texts)
    assert "Of 7 runs on these fronts the 5 most accurate are named." in said
    assert "run 6 wanda" in said
    assert "run 2 wanda" in said
    assert "run 1 wanda" not in said
    assert texts.count("number 2") == 3, "in each of the panels"
    assert texts.count("number 1") == texts.count("number beaten") == 0


def test_equal_runs_have_a_scale_of_colors_all_the_same(tmp_path: Path) -> None:
    base = make_record()
    speed = replace(base.speedup[0], low=2.5, high=3.0)  # its ratio lies outside
    plot_pareto(runs_of(base, base, replace(base, speedup=(speed,))), tmp_path / "pareto.png")
    assert (tmp_path / "pareto.svg").is_file()


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        ("spearman", (0.9, 0.8), ("what Spearman correlation costs", "Spearman correlation 0.900",
                                  "on held-out rows", "left: Spearman correlation")),
        ("perplexity", (20.0, 2000.0), ("what low perplexity costs", "perplexity 20.00, ",
                                        "perplexity 2,000, ", "perplexity (lower is better)",
                                        "left: perplexity", "1,000 ")),
    ],
)  # fmt: skip
def test_another_score_is_drawn_in_its_own_unit(
    metric: str, values: tuple[float, ...], expected: tuple[str, ...], tmp_path: Path,
    texts: list[str],
) -> None:  # fmt: skip
    best, worst = (evaluated_by(metric, value, values[0]) for value in values)
    smaller = replace(worst, metrics=worst.metrics and replace(worst.metrics, size_bytes=500))
    plot_pareto(runs_of(smaller, best), tmp_path / "pareto.png")
    said = words(texts)
    assert all(each in said for each in expected)
    assert said.index("run 1 ") < said.index("run 0 "), "the best comes first"
    assert "accuracy" not in said
    assert "mathdefault" not in said


def test_runs_of_two_sweeps_are_told_apart(tmp_path: Path, texts: list[str]) -> None:
    runs = [(Path("a/0"), make_record(0.9)), (Path("b/0"), make_record(0.8, 500, 2.0))]
    plot_pareto(runs, tmp_path / "pareto.png")
    assert texts.count("number a/0") == texts.count("number b/0") == 3
