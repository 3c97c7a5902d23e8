"""A report replaces and deletes what reports have written, and nothing else; so do scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.config.errors import UserError
from compress.report.write import write_report
from compress.report.written import LIST, check_page, replaced_files
from tests.folders import contents

REPORT = ("report.html", "results.csv", "results.md", "results.parquet", "results.tex")


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A folder with a run that was killed, which a report has nothing but a line on."""
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "pareto_final_for_paper.svg", "pareto.png", "pareto.svg", "pareto-2-mine.png",
        "pareto-1-sst2.png", "results.xlsx", "metrics.json", "notes/pareto.png",
    ],
)  # fmt: skip
def test_what_is_named_like_a_plot_stays(name: str, killed: Path) -> None:
    (killed / name).parent.mkdir(exist_ok=True)
    (killed / name).write_text("mine")
    for _ in range(2):
        write_report([killed], killed)
        assert (killed / name).read_text() == "mine"
    assert {path.name for path in killed.glob("re*")} >= set(REPORT)


@pytest.mark.parametrize("name", REPORT)
def test_a_file_of_a_reports_name_is_not_replaced(name: str, killed: Path) -> None:
    (killed / name).write_text("mine")
    before = contents(killed)
    with pytest.raises(UserError, match=rf"{name} was not written by a report"):
        write_report([killed], killed)
    assert contents(killed) == before


def test_files_of_an_earlier_report_go(tmp_path: Path) -> None:
    def write(*names: str) -> set[str]:
        with replaced_files(tmp_path, names):
            for name in names:
                (tmp_path / name).write_text("report")
        return {path.name for path in tmp_path.iterdir()} - {LIST}

    first = write("report.html", "pareto-1-a.png", "pareto-2-b.png", "pareto-2-b.svg")
    assert first == {"report.html", "pareto-1-a.png", "pareto-2-b.png", "pareto-2-b.svg"}
    assert write("report.html", "pareto.png") == {"report.html", "pareto.png"}


def test_a_report_that_breaks_is_the_reports_own(tmp_path: Path) -> None:
    def write() -> None:
        with replaced_files(tmp_path, ["pareto.png"]):
            (tmp_path / "pareto.png").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    with replaced_files(tmp_path, ["pareto-1-a.png"]):
        (tmp_path / "pareto-1-a.png").write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"pareto-1-a.png", LIST}


@pytest.mark.parametrize(
    "listed",
    ["../mine.txt", "mine.txt", "/etc/hostname", ".", "..", "", "pareto/../mine.txt", "\xff"],
)
def test_a_list_from_elsewhere_deletes_nothing(listed: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for path in (tmp_path / "mine.txt", out / "mine.txt"):
        path.write_text("mine")
    (out / LIST).write_bytes(f"{listed}\n".encode("latin-1"))
    with replaced_files(out, []):
        pass
    assert (tmp_path / "mine.txt").read_text() == (out / "mine.txt").read_text() == "mine"


def test_a_page_may_be_new_or_written_again(tmp_path: Path) -> None:
    check_page(tmp_path / "new.md", "# Title")
    (tmp_path / "old.md").write_text("# Title\n\nold")
    check_page(tmp_path / "old.md", "# Title")


def test_what_is_no_such_page_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    for path, words in (
        ("metrics.json", "exists and is not such a page"),
        ("folder", "is a directory"),
        ("nowhere/a.md", "is not a directory"),
    ):
        with pytest.raises(UserError, match=words):
            check_page(tmp_path / path, "# Title")


def test_a_report_needs_a_folder(killed: Path) -> None:
    (killed / "file").write_text("mine")
    with pytest.raises(UserError, match=r"--out must be a folder, got the file .*file"):
        write_report([killed], killed / "file")
    assert (killed / "file").read_text() == "mine"
