"""Staged searches as users start them: `python run.py -m +search=frontier …` on tiny models."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from compress.records.collect import collect
from tests.commands import refusal, run_here
from tests.configs import TINY
from tests.search.test_sweeper import begin, folders, run

SEARCH = (
    "-m", "+search=frontier", *TINY, "device=cpu", "quantizer=int8_dynamic", "task.max_length=32",
    "student.layers=2", "student.choices.depths=[1]", "student.choices.neurons=[32]",
    "student.shape.vocabulary=null", "student.shape.positions=32", "student.supernet.epochs=1",
    "student.sub.depth=1,2", "student.sub.neurons=32,64", "search.frontier.finalists=2",
    "search.frontier.minutes=0", "search.frontier.max_error=100", "search.constraints=null",
)  # fmt: skip
MEASURED = (*SEARCH, "search.frontier.minutes=0.01")


def finalists(folder: Path) -> list[dict[str, object]]:
    raw = json.loads((folder / "search" / "finalists.json").read_bytes())
    found: list[dict[str, object]] = raw["finalists"]
    return found


def test_only_finalists_are_run_and_found_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(*MEASURED, *folders(tmp_path))
    # An hour is more than this needs: the epochs are as many as there may be, but for those named.
    output = capsys.readouterr().out
    assert "student.distillation.epochs=8" in output
    assert "epochs of the super-net" not in output
    found = collect([tmp_path / "search"])
    assert len(found.ok) == 2
    assert not found.failed
    wanted = [each["point"] for each in finalists(tmp_path)]
    for number, point in enumerate(wanted):
        [record] = [r for folder, r in found.ok if folder.name == str(number)]
        assert isinstance(point, dict)
        wanted_words = {f"{key}={value}" for key, value in point.items()}
        assert {*wanted_words, "student.distillation.epochs=8"} <= set(record.overrides)
    run_here(*MEASURED, *folders(tmp_path))
    assert "2 finalists were found before" in capsys.readouterr().out
    (tmp_path / "search" / "finalists.json").write_text("{")
    assert "finalists.json is damaged" in refusal(*MEASURED, *folders(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("search.frontier.faster=[25]",), "search.frontier.faster must be a mapping"),
        (("search.frontier.faster={9x9:25}",), "must be of a shape that is timed, 1x8, 4x16"),
        (("search.frontier.finalists=0",), "search.frontier.finalists must be > 0, got 0"),
        (
            ("student.distillation.learning_rate=interval(0.001,0.1)",),
            "needs a finite search.space",
        ),
        (("student.sub.depth=3,4",), "no point is possible: "),
        (("search.seed_points=[{student.sub.depth: 1}]",), "search.seed_points must be empty"),
        (("cache=off",), "a table of costs is kept in the stage cache: set cache=on"),
        ((), "a fit needs"),
        (
            ("search.frontier.minutes=6", "hydra.sweeper.max_hours=0.1"),
            "hydra.sweeper.max_hours must be longer than search.frontier.minutes=6, got 0.1",
        ),
    ],
)
def test_refusals(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    assert words in refusal(*SEARCH, *folders(tmp_path), *arguments)
    assert not (tmp_path / "search" / "finalists.json").exists()


def test_predictions_that_are_far_off_end_the_search(tmp_path: Path) -> None:
    words = refusal(*MEASURED, *folders(tmp_path), "search.frontier.max_error=1e-12")
    assert "too much to rank shapes by. On an idle machine the same command measures" in words
    assert words.endswith("search.frontier.max_error=1e-12 is where a search ends")
    files = list(tmp_path.rglob("costs-*.json"))
    assert len(files) == 2
    assert all(str(file) in words for file in files)


def test_an_interrupt_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("compress.frontier.propose.make_table", interrupt)
    assert refusal(*MEASURED, *folders(tmp_path)) == "130"
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: interrupted: the same command resumes ")
    assert last.endswith("search after the stages that have ended")


@pytest.mark.slow
def test_a_killed_search_goes_on_with_its_finalists(tmp_path: Path) -> None:
    with begin(tmp_path, *MEASURED) as process:
        deadline = time.monotonic() + 240
        while not list((tmp_path / "search").glob("[0-9]*/metrics.json")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    before = (tmp_path / "search" / "finalists.json").read_bytes()
    done = run(tmp_path, *MEASURED)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "search" / "finalists.json").read_bytes() == before
    records = collect([tmp_path / "search"]).ok
    points = {json.dumps(each["point"], sort_keys=True) for each in finalists(tmp_path)}
    assert len(records) == len(points) == 2
