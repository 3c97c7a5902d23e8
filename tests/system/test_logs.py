from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from compress.system.logs import DETAIL, Lines, Shown, shown_path


@pytest.fixture
def terminal() -> Iterator[io.StringIO]:
    """What the terminal's handler writes, while the root logger takes what a run's does."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    handler.setFormatter(Lines())
    handler.addFilter(Shown())
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def say() -> None:
    logging.getLogger("compress.store.cache").info("teacher: computed in %.1f s", 91.5)
    logging.getLogger("compress.store.cache").info("tokenizer: cached", extra=DETAIL)
    logging.getLogger("compress.measure").warning("the machine is busy")
    logging.getLogger("some_library").info("Statistics collection")
    logging.getLogger("compressed_tensors").info("not ours")
    logging.getLogger("elsewhere").error("out of memory")


def test_own_lines_and_others_warnings_are_shown(terminal: io.StringIO) -> None:
    say()
    assert terminal.getvalue().splitlines() == [
        "teacher: computed in 91.5 s",
        "warning: the machine is busy",
        "error: out of memory",
    ]


def test_verbose_shows_all_of_it_with_its_module(terminal: io.StringIO) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    say()
    lines = terminal.getvalue().splitlines()
    assert len(lines) == 6
    assert lines[1].endswith("[compress.store.cache][INFO] - tokenizer: cached")
    assert lines[3].endswith("[some_library][INFO] - Statistics collection")


def test_paths_are_relative_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert shown_path(tmp_path / "here" / "outputs" / "0") == "outputs/0"
    assert shown_path(Path("outputs/../outputs/0")) == "outputs/0"
    assert shown_path(tmp_path / "there") == str(tmp_path / "there")
