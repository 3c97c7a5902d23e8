from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.task.wikitext2 import WikiText2, joined_lines
from tests.configs import settings_of

LINES = " \n = A title = \n \n Some text , in words . \n"


def task(path: Path | None) -> WikiText2:
    return settings_of("task", "wikitext2", f"task.path={path or 'null'}")


def test_lines_are_joined_as_the_reference_implementations_join_the_hubs_rows() -> None:
    rows = ["", " = A title = \n", "", " Some text , in words . \n"]
    assert joined_lines(LINES) == "\n\n".join(rows)


def test_a_folder_and_the_hub_are_the_same_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text(f" {name} \n{LINES}")
    rows = {
        split: {"text": [f" {name} \n", "", " = A title = \n", "", " Some text , in words . \n"]}
        for split, name in (("train", "train"), ("validation", "valid"), ("test", "test"))
    }
    asked: list[Any] = []

    def load(*arguments: Any) -> Any:
        asked.append(arguments[:2])
        return rows

    monkeypatch.setattr("compress.task.wikitext2.load_hub_dataset", load)
    hub, folder = task(None).load(), task(tmp_path).load()
    assert asked == [("Salesforce/wikitext", "wikitext-2-raw-v1")]
    assert hub.training.digest == folder.training.digest
    assert hub.evaluation.digest == folder.evaluation.digest
    assert "Salesforce/wikitext" in hub.source
    assert folder.source.startswith("WikiText-2 from a local folder, lines joined")


def test_the_words_as_first_published_are_told_from_the_raw_text(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text("a guest @-@ starring <unk> \n")
    task(tmp_path).check()
    assert "with <unk> and @-@" in task(tmp_path).load().source
