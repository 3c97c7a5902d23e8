"""One damaged record ends no report: it is named with its cause, and left out."""

from __future__ import annotations

import io
import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from compress.config.errors import UserError
from compress.config.legible import LONGEST_ERROR
from compress.records.collect import collect
from compress.records.schema import RunRecord, read_record, write_record
from compress.report.compare_page import compare_folders, comparison_markdown, show_comparison
from compress.report.screen import show
from compress.report.write import write_report
from tests.configs import ROOT
from tests.damage import Damage, damages, put_damaged, put_good, put_value, whole_record
from tests.records.test_schema import as_failed, make_failed, make_record
from tests.report.records import HOSTILE
from tests.report.test_report import put
from tests.slow import slow

# Markup of a terminal's library, controls of the terminal, a line's direction turned, two lines.
MARKUP = "[bold red]x[/] [a](http://b) $c$ ~~d~~"
EVIL = f"{HOSTILE} {MARKUP} \x1b[2J\x1b]0;owned\x07 \x9b31m \u202eab \x00 | `y` <b>\r\nnext"
CONTROLS = ("\x1b", "\x07", "\x9b", "\u202e", "\x00", "\r")


def script(name: str, *arguments: object) -> tuple[int, str]:
    """Runs a script in this process; its exit code and what it printed."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        patch.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "scripts" / name), run_name="__main__")
    code = ended.value.code
    return (code, out.getvalue()) if isinstance(code, int) else (1, f"{out.getvalue()}{code}")


def test_there_is_nothing_wrong_with_what_is_damaged_here(tmp_path: Path) -> None:
    put_good(tmp_path)
    put_damaged(tmp_path, lambda _: None)
    found = collect([tmp_path])
    assert (len(found.ok), len(found.failed), found.broken) == (3, 1, ())


@pytest.mark.parametrize(("damage", "said"), damages().values(), ids=damages())
def test_a_damaged_record_is_named_with_its_cause(
    damage: Damage, said: str, tmp_path: Path
) -> None:
    put_good(tmp_path)
    folder = put_damaged(tmp_path, damage)
    found = collect([tmp_path])
    assert (len(found.ok), len(found.failed)) == (2, 1)
    [reason] = found.broken
    assert reason.startswith(f"{folder / 'metrics.json'} ")
    assert said in reason
    assert "\n" not in reason
    assert len(reason) < 500
    assert found.unfinished == ()


@pytest.mark.usefixtures("undrawn")
def test_all_of_them_at_once_cost_no_report(tmp_path: Path) -> None:
    put_good(tmp_path)
    every = damages()
    for number, (damage, _) in enumerate(every.values()):
        put_damaged(tmp_path, damage, f"bad-{number}")
    code, said = script("aggregate.py", tmp_path)
    assert code == 1
    assert f"2 ok, 1 failed, {len(every)} unreadable" in said
    lines = [line for line in said.splitlines() if line.startswith("unreadable ")]
    assert len(lines) == len(every), "one line each"
    assert "Traceback" not in said
    for name in ("results.md", "report.html"):
        page = (tmp_path / name).read_text()
        assert all(f"bad-{number}/metrics.json" in page for number in range(len(every)))
    code, said = script("compare.py", tmp_path, tmp_path)
    assert code == 1
    assert said.count("Unreadable: ") == 2 * len(every)
    code, said = script("experiment_table.py", tmp_path)
    assert code == 1
    assert said.count("unreadable ") == len(every)
    assert "no run belongs to an experiment" in said
    code, said = script("rebench.py", tmp_path, "--out", tmp_path / "again")
    assert code == 1
    assert "no record says how to measure its model: " in said
    assert "Traceback" not in said


def texts(value: Any, key: str = "") -> list[str]:
    """The dotted keys of all texts that a record may have anything in."""
    if isinstance(value, dict):
        return [each for name, inner in value.items() for each in texts(inner, f"{key}.{name}")]
    if isinstance(value, list):
        return [each for n, inner in enumerate(value) for each in texts(inner, f"{key}.{n}")]
    return [key.lstrip(".")] if isinstance(value, str) else []


FIXED = ("status", "started", "metric", "outcome", "stage")


@pytest.mark.parametrize("record", [whole_record(), as_failed(whole_record())])
def test_no_text_of_a_record_is_markup_or_steers_a_terminal(
    record: RunRecord, tmp_path: Path
) -> None:
    path = tmp_path / "evil" / "metrics.json"
    path.parent.mkdir()
    write_record(record, path.parent)
    for key in texts(json.loads(path.read_text())):
        if key.rpartition(".")[2] not in FIXED:
            put_value(key, EVIL)(path)
    assert read_record(path).choices["pruner"] != "wanda"
    put(tmp_path, good=make_record())
    out = io.StringIO()
    report = write_report([tmp_path], tmp_path)
    assert report.collection.broken == ()
    show(report, Console(file=out, width=200))
    compared = compare_folders(tmp_path / "good", tmp_path / "evil")
    show_comparison(compared, Console(file=out, width=200))
    shown = out.getvalue()
    pages = [(tmp_path / name).read_text() for name in ("results.md", "results.tex")]
    pages.append(comparison_markdown(compared))
    assert "[bold red]x[/]" in shown, "as it is, not as a color"
    for page in (shown, *pages):
        assert not [each for each in CONTROLS if each in page]
    for page in (pages[0], pages[2]):  # Markdown
        assert not re.search(r"(?<!\\)[\[\]$~]", page)
    for page in pages:
        assert "<script>" not in page
        assert "<b>" not in page
    html = (tmp_path / "report.html").read_text()
    assert "<script>alert(1)" not in html
    assert "<img src=x" not in html


def test_names_of_folders_are_no_markup_either(tmp_path: Path) -> None:
    root = tmp_path / "a\x1b[2J[bold]b"
    put(root, **{"\x1b[31m[red]0": make_record(), "1\udcff": make_record()})
    (root / "\x1b[31m[red]0" / "metrics.json").write_text("{")
    out = io.StringIO()
    report = write_report([root], root)
    assert report.summary() == "1 ok, 0 failed, 1 unreadable"
    show(report, Console(file=out, width=300))
    assert "\x1b" not in out.getvalue()
    assert "[red]0/metrics.json is not valid JSON" in out.getvalue()


@pytest.mark.usefixtures("undrawn")
def test_a_huge_error_is_cut_when_written_and_when_shown(tmp_path: Path) -> None:
    huge = "x" * 10**8
    failed = make_failed(huge)
    (tmp_path / "0").mkdir()
    path = write_record(failed, tmp_path / "0")
    assert path.stat().st_size < 10_000
    raw = json.loads(path.read_text())
    assert raw["error"] == f"{'x' * LONGEST_ERROR}… (100,000,000 characters)"
    path.write_text(json.dumps({**raw, "error": huge}))
    report = write_report([tmp_path], tmp_path)
    assert report.summary() == "0 ok, 1 failed"
    for name in ("results.csv", "results.md", "report.html"):
        assert huge[: 2 * LONGEST_ERROR] not in (tmp_path / name).read_text()
    out = io.StringIO()
    show(report, Console(file=out))
    assert len(out.getvalue()) < 5_000


def test_a_file_that_is_no_record_by_its_size_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(UserError, match=r"has 1,000,000,000,000 bytes, a record has at most"):
        read_record(path)


def test_half_a_character_can_be_written_and_read(tmp_path: Path) -> None:
    """As in the name of a file that is not UTF-8."""
    record = make_failed("no \udcff.csv", config={"task": {"path": "a\udcff"}})
    read = read_record(write_record(record, tmp_path))
    assert read.error == "no \\udcff.csv"
    assert read.config == {"task": {"path": "a\\udcff"}}


@pytest.mark.parametrize(
    "config",
    [
        {}, {"pruner": {"sparsity": {"a": 1}}}, {"search": {"objectives": {"a": 1}}},
        {"pruner": {"sparsity": 10**400}}, {"decision": {"margin": "x", "a": 1}},
        *slow([
        {"pruner": None}, {"pruner": "wanda"}, {"pruner": []},
        {"teacher": {"path": 3}}, {"search": {"objectives": []}},
        {"search": {"objectives": {"size_bytes": "minimize"}, "constraints": [1], "split": "x"}},
        {"experiment": 3}, {"experiment": {"row": []}}, {"pruner": {"sparsity": 1e308}},
        ]),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("undrawn")
def test_a_strange_config_costs_no_report(config: dict[str, Any], tmp_path: Path) -> None:
    put(tmp_path, r0=make_record(), r1=make_record(config=config))
    (tmp_path / "front.json").write_text("{}")
    assert write_report([tmp_path], tmp_path).summary() == "2 ok, 0 failed"
    code, said = script("compare.py", tmp_path / "0", tmp_path / "1")
    assert (code, "Traceback" in said) == (0, False)
    code, said = script("experiment_table.py", tmp_path)
    assert code == 1
    if config.get("experiment"):
        assert "1/metrics.json: experiment must have cross, goals, metric" in said


def test_a_level_without_a_margin_is_refused(tmp_path: Path) -> None:
    put_good(tmp_path)
    code, said = script("aggregate.py", tmp_path, "--alpha", "0.1")
    assert (code, "--alpha needs --margin" in said) == (1, True)
